"""HTTP/2 over real sockets: requests and answers, 1xx, windows, early answers."""

from __future__ import annotations

import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame

from penstock.server.edge.asgi import INFORMATIONAL, Message, Receive, Scope, Send
from penstock.server.edge.h2_link import (
    CONNECTION_CREDIT,
    CONNECTION_WINDOW,
    FIRST_WINDOW,
    LARGEST_WINDOW,
    MAX_STREAMS,
)
from penstock.server.settings import KIB, MIB
from tests.server.edge.h2_apps import Held, Routes, WaitsForTheEnd, answer, count_body, refuse_early, wait
from tests.server.edge.h2_client import H2Client, talking

# Requests and responses


async def test_a_request_and_its_answer() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await answer(send, 201, b"made", [(b"X-Kind", b"test"), (b"connection", b"close"), (b"te", b"gzip")])

    async with talking(app) as (client, serving):
        got = await client.ask("POST", "/a%20b?c=%20d", headers=[(b"accept", b"*/*")], body=b"")
    assert (got.status, bytes(got.body)) == (201, b"made")
    assert got.headers[b"x-kind"] == b"test"
    assert got.headers[b"server"] == b"penstock"
    assert b"date" in got.headers
    assert not {b"connection", b"te"} & set(got.headers)
    [scope] = scopes
    assert (scope["type"], scope["http_version"], scope["method"], scope["scheme"]) == (
        "http",
        "2",
        "POST",
        "http",
    )
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"c=%20d")
    assert scope["headers"] == [(b"host", b"localhost:8005"), (b"accept", b"*/*")]
    assert scope["state"] == {"shared": 1}
    assert scope["state"] is not serving.info.state
    assert INFORMATIONAL in scope["extensions"]
    assert "http.response.push" not in scope["extensions"]
    assert (serving.info.kind, serving.info.requests, serving.info.reason) == ("http/2", 1, "peer gone")


async def test_it_announces_its_limits_and_no_extended_connect() -> None:
    async with talking(count_body) as (client, _):
        await client.ask()
        settings = client.settings
    assert settings[SettingCodes.MAX_CONCURRENT_STREAMS] == 100
    assert settings[SettingCodes.MAX_HEADER_LIST_SIZE] == 64 * KIB
    assert not settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)
    assert client.window_bytes(0) == 8 * MIB - FIRST_WINDOW


async def test_a_body_arrives_whole_and_in_order() -> None:
    body = bytes(range(256)) * 4096  # 1 MiB: more than any first window
    got = bytearray()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            got.extend(message["body"])
            more = message["more_body"]
        await answer(send)

    async with talking(app) as (client, _):
        assert (await client.ask("PUT", body=body)).status == 200
        assert client.pings == 0  # there is nothing to be reset
    assert got == body


async def test_bodies_that_come_mixed_arrive_each_whole_and_in_order() -> None:
    got: dict[str, bytes] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        got[scope["path"]] = body
        await answer(send)

    async with talking(app) as (client, _):
        await client.ping()  # for the connection's window
        bodies = {client.request("PUT", f"/{name}", end=False): name * 30_000 for name in "abc"}
        for start in range(0, 30_000, 700):
            for stream_id, body in bodies.items():
                piece = body[start : start + 700].encode()
                client.machine.send_data(stream_id, piece, end_stream=start + 700 >= len(body))
        for stream_id in bodies:
            assert (await client.answer(stream_id)).status == 200
    assert got == {f"/{name}": name.encode() * 30_000 for name in "abc"}


@pytest.mark.parametrize("pieces", [[b"x" * 200_000], [b"x" * 100_000, b"", b"x" * 100_000, b""]])
async def test_a_response_body_larger_than_the_window(pieces: list[bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    async with talking(app) as (client, _):
        got = await client.ask()
    assert got.body == b"x" * 200_000
    assert got.reset is None


async def test_head_and_204_carry_no_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 204 if scope["path"] == "/none" else 200, b"text", [(b"content-length", b"4")])

    async with talking(app) as (client, _):
        head = await client.ask("HEAD", "/")
        none = await client.ask("GET", "/none")
    assert (head.status, head.body, head.headers[b"content-length"]) == (200, b"", b"4")
    assert (none.status, none.body) == (204, b"")


async def test_receive_after_the_body_waits_for_the_disconnect() -> None:
    app = WaitsForTheEnd()
    async with talking(app) as (client, _):
        client.request()
        await client.flush()
        await wait(app.started)
        await client.ping()
        assert app.told == ["http.request"]
        client.machine.reset_stream(1, ErrorCodes.CANCEL)
        await client.flush()
        await wait(app.ended)
    assert app.told == ["http.request", "http.disconnect"]


async def test_receive_after_the_answer_is_a_disconnect() -> None:
    told: list[Message] = []
    late, ended = trio.Event(), trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send)
        await late.wait()
        told.append(await receive())
        with pytest.raises(RuntimeError):
            await send({"type": "http.response.body"})
        ended.set()

    async with talking(app) as (client, _):
        client.mute = True
        stream_id = client.request("POST", end=False)
        assert (await client.answer(stream_id)).status == 200
        client.machine.send_data(stream_id, b"nobody wants this")
        await client.ping()
        late.set()
        await wait(ended)
    assert told == [{"type": "http.disconnect"}]


async def test_a_cancelled_receive_loses_no_byte() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with trio.CancelScope() as scope_:
            scope_.cancel()
            await receive()
        await count_body(scope, receive, send)

    async with talking(app) as (client, _):
        assert (await client.ask("PUT", body=b"x" * 1000)).body == b"1000"


# 1xx


async def test_100_continue_is_sent_when_the_body_is_first_asked_for() -> None:
    held = Held()
    async with talking(Routes(held=held, early=refuse_early)) as (client, _):
        expect = [(b"expect", b"100-continue"), (b"content-length", b"3")]
        early = client.request("PUT", "/early", expect, end=False)
        assert (await client.answer(early)).informational == []
        stream_id = client.request("PUT", "/held", expect, end=False)
        await client.ping()
        assert held.started.is_set()
        assert client.answers[stream_id].informational == []
        held.gate.set()
        await client.until(lambda: client.answers[stream_id].informational)
        await client.send_body(stream_id, b"abc")
        got = await client.answer(stream_id)
    assert (got.status, got.informational, got.body) == (200, [100], b"3")


async def test_no_100_for_a_body_that_came_by_itself() -> None:
    held = Held()
    async with talking(held) as (client, _):
        stream_id = client.request("PUT", "/", [(b"expect", b"100-continue")], end=False)
        await client.send_body(stream_id, b"abc", end=False)
        await client.ping()
        held.gate.set()
        await client.ping()
        await client.send_body(stream_id, b"")
        got = await client.answer(stream_id)
    assert (got.body, got.informational) == (b"3", [])


async def test_informational_answers_are_forwarded() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for status in (103, 104):
            await send({"type": INFORMATIONAL, "status": status, "headers": [(b"upload-offset", b"7")]})
        with pytest.raises(RuntimeError):
            await send({"type": INFORMATIONAL, "status": 200, "headers": []})
        await answer(send, 201)

    async with talking(app) as (client, _):
        got = await client.ask()
    assert (got.informational, got.status) == ([103, 104], 201)


# Back-pressure and windows


async def test_a_held_stream_keeps_64_kib_while_a_sibling_moves_100_mib() -> None:
    held = Held()
    async with talking(Routes(held=held)) as (client, _):
        stuck = client.request("PUT", "/held", end=False)
        client.machine.send_data(stuck, b"h" * 16384)
        for _ in range(2):
            client.machine.send_data(stuck, b"h" * 16384)
        client.machine.send_data(stuck, b"h" * (FIRST_WINDOW - 3 * 16384))
        moving = client.request("PUT", "/", end=False)
        for _ in range(100):
            await client.send_body(moving, bytes(MIB), end=False)
        await client.send_body(moving, b"")
        assert (await client.answer(moving)).body == str(100 * MIB).encode()
        assert client.machine.local_flow_control_window(stuck) == 0
        assert client.window_bytes(stuck) == 0
        held.gate.set()
        await client.send_body(stuck, b"more")
        assert (await client.answer(stuck)).body == str(FIRST_WINDOW + 4).encode()


async def test_the_window_grows_to_1_mib_for_a_stream_that_consumes() -> None:
    async with talking(count_body) as (client, _):
        stream_id = client.request("PUT", end=False)
        await client.send_body(stream_id, bytes(8 * MIB), end=False)
        await client.ping()
        in_flight = 8 * MIB - client.window_bytes(stream_id)
        outstanding = FIRST_WINDOW - in_flight
        # What is not credited yet is less than a quarter window.
        assert LARGEST_WINDOW * 3 // 4 < outstanding <= LARGEST_WINDOW
        await client.send_body(stream_id, b"")
        assert (await client.answer(stream_id)).body == str(8 * MIB).encode()


async def test_windows_are_credited_in_large_steps() -> None:
    async with talking(count_body) as (client, _):
        stream_id = client.request("PUT", end=False)
        await client.send_body(stream_id, bytes(16 * MIB), end=False)
        await client.ping()
        mine = [update.delta or 0 for update in client.windows if update.stream_id == stream_id]
        # Once the window is 1 MiB, nothing under a quarter of it.
        assert min(mine[-40:]) >= LARGEST_WINDOW // 4
        assert len(mine) <= 16 * 4 + 4 * 4
        assert len(client.windows) - len(mine) <= 16 * MIB // CONNECTION_CREDIT + 1
        await client.send_body(stream_id, b"")
        await client.answer(stream_id)


async def test_the_growth_of_all_streams_is_bounded_and_comes_back() -> None:
    async with talking(count_body) as (client, _):

        async def windows(count: int) -> int:
            """All that `count` consuming streams may send at once."""
            ids = [client.request("PUT", end=False) for _ in range(count)]
            for stream_id in ids:
                await client.send_body(stream_id, bytes(3 * MIB), end=False)
            await client.ping()
            total = sum(client.window_bytes(i) + FIRST_WINDOW - 3 * MIB for i in ids)
            for stream_id in ids:
                await client.send_body(stream_id, b"")
                await client.answer(stream_id)
            return total

        unused = (MAX_STREAMS - 4) * FIRST_WINDOW
        first = await windows(4)
        assert 2 * MIB * 3 // 4 < first <= 8 * MIB - unused
        assert await windows(4) > 2 * MIB * 3 // 4


async def test_padding_is_credited_too() -> None:
    async with talking(count_body) as (client, _):
        stream_id = client.request("PUT", end=False)
        for _ in range(4 * FIRST_WINDOW // 257):
            while client.machine.local_flow_control_window(stream_id) < 257:
                await client.pump()
            client.machine.send_data(stream_id, b"x", pad_length=255)
            await client.flush()
        await client.send_body(stream_id, b"")
        assert (await client.answer(stream_id)).body == str(4 * FIRST_WINDOW // 257).encode()


async def test_ten_early_answers_leave_the_connection_whole() -> None:
    async with talking(Routes(early=refuse_early)) as (client, _):
        for _ in range(10):
            stream_id = client.request("POST", "/early", end=False)
            await client.until(lambda: client.answers[stream_id].reset is not None)  # noqa: B023
            early = client.answers[stream_id]
            assert (early.status, early.body, early.reset) == (413, b"too much", ErrorCodes.NO_ERROR)
            await send_late_data(client, stream_id, 4)
        assert (await client.ask("POST", "/", body=bytes(200_000))).body == b"200000"
        assert client.machine.outbound_flow_control_window > CONNECTION_WINDOW // 2


async def send_late_data(client: H2Client, stream_id: int, frames: int) -> None:
    """64 KiB that were under way when the answer came: they count for the connection's window."""
    for _ in range(frames):
        await client.send_frames(DataFrame(stream_id, data=bytes(16384)))
        client.machine.outbound_flow_control_window -= 16384


async def test_data_of_answered_streams_is_credited_to_the_connection() -> None:
    async with talking(Routes(early=refuse_early)) as (client, _):
        for _ in range(40):  # 10 MiB: more than the connection's window
            stream_id = client.request("POST", "/early", end=False)
            await client.until(lambda: client.answers[stream_id].reset is not None)  # noqa: B023
            await send_late_data(client, stream_id, 16)
        await client.ping()
        assert client.window_bytes(0) > 8 * MIB
        assert (await client.ask("POST", "/", body=b"fine")).body == b"4"


async def test_an_early_answer_is_not_reset_before_the_peer_has_seen_it() -> None:
    """curl 7.88 drops a response that comes together with RST_STREAM."""
    early = 1
    async with talking(Routes(early=refuse_early)) as (client, _):
        client.mute = True
        assert client.request("POST", "/early", end=False) == early
        await client.answer(early)
        client.machine.send_data(early, bytes(16384))
        await client.ping()
        assert client.answers[early].reset is None
        await client.send_frames(PingFrame(0, opaque_data=bytes(8), flags=["ACK"]))  # not the one
        await client.ping()
        assert client.answers[early].reset is None
        await client.send_frames(PingFrame(0, opaque_data=early.to_bytes(8, "big"), flags=["ACK"]))
        await client.until(lambda: client.answers[early].reset == ErrorCodes.NO_ERROR)


async def test_a_request_that_ends_after_its_early_answer_is_not_reset() -> None:
    async with talking(Routes(early=refuse_early)) as (client, _):
        client.mute = True
        stream_id = client.request("POST", "/early", end=False)
        await client.answer(stream_id)
        client.machine.send_data(stream_id, bytes(16384), end_stream=True)
        await client.send_frames(PingFrame(0, opaque_data=stream_id.to_bytes(8, "big"), flags=["ACK"]))
        await client.ping()
        assert client.answers[stream_id].reset is None


async def test_data_after_an_early_answer_in_one_segment() -> None:
    """The frames that ended hypercorn (its #197): DATA when the response is already complete."""
    async with talking(Routes(early=refuse_early)) as (client, _):
        stream_id = client.request("POST", "/early", end=False)
        await client.flush()
        await client.until(lambda: client.answers[stream_id].ended)
        await client.send_frames(
            DataFrame(stream_id, data=b"late"),
            DataFrame(stream_id, data=b"later", flags=["END_STREAM"]),
        )
        again = client.request("POST", "/early", end=False)
        client.machine.send_data(again, b"with it", end_stream=True)
        assert (await client.answer(again)).status == 413
        assert (await client.ask("POST", "/", body=b"fine")).body == b"4"


async def test_late_trailers_of_an_answered_stream_are_harmless() -> None:
    async with talking(Routes(early=refuse_early)) as (client, _):
        stream_id = client.request("POST", "/early", end=False)
        await client.until(lambda: client.answers[stream_id].reset is not None)
        trailers = client.machine.encoder.encode([(b"x-late", b"1")])
        await client.send_frames(HeadersFrame(stream_id, data=trailers, flags=["END_HEADERS", "END_STREAM"]))
        assert (await client.ask()).status == 200
