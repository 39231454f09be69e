"""HTTP/2 over real sockets: limits, deadlines, hostile and broken peers, the h2c upgrade."""

from __future__ import annotations

import base64
from contextlib import suppress

import h11
import pytest
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from penstock.server.edge import http2
from penstock.server.edge.asgi import Headers, Receive, Scope, Send
from penstock.server.edge.h2_link import FIRST_WINDOW, MAX_STREAMS
from penstock.server.edge.http2 import CALM_EVENTS
from penstock.server.peer import PeerGone, PeerTooSlow
from penstock.server.settings import KIB, MIB, Settings
from tests.server.edge.h2_apps import Held, Routes, WaitsForTheEnd, answer, count_body, drain, wait
from tests.server.edge.h2_client import Answer, H2Client, connected, talking

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Headers = [(b":method", b"PUT"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]


# Requests and streams


@pytest.mark.parametrize("limit", [1000, None])
async def test_1100_requests_while_an_upload_runs(limit: int | None) -> None:
    settings = Settings(keep_alive_max_requests=limit) if limit else Settings()
    async with talking(count_body, settings) as (client, serving):
        upload = client.request("PUT", end=False)
        done = 0
        while done < 1100 and not client.goaway:
            assert (await client.ask()).status == 200
            await client.send_body(upload, b"x" * 100, end=False)
            done += 1
        if limit:
            assert client.goaway is not None
            assert (client.goaway.error_code, client.goaway.last_stream_id) == (0, 2 * limit - 1)
            assert (await client.ask()).reset == ErrorCodes.REFUSED_STREAM
        await client.send_body(upload, b"x" * 200_000)
        assert (await client.answer(upload)).body == str(done * 100 + 200_000).encode()
        assert done == (limit - 1 if limit else 1100)
        if limit:
            await client.until_closed()
            assert serving.info.reason == "request limit"


async def test_a_client_that_says_goaway_still_gets_its_answers() -> None:
    held = Held()
    async with talking(held) as (client, serving):
        stream_id = client.request("PUT", end=False)
        await client.send_frames(GoAwayFrame(0))
        await client.ping()
        held.gate.set()
        await client.send_body(stream_id, b"x" * 100_000)
        assert (await client.answer(stream_id)).body == b"100000"
        await client.until_closed()
        assert serving.info.reason == "peer is leaving"


async def test_bodies_of_refused_requests_are_credited_to_the_connection() -> None:
    async with talking(count_body, Settings(keep_alive_max_requests=1)) as (client, _):
        upload = client.request("PUT", end=False)
        await client.until(lambda: client.goaway)
        for _ in range(200):  # 9.4 MiB: more than the connection's window
            refused = client.request("PUT", end=False)
            for _ in range(3):
                client.machine.send_data(refused, bytes(16384))
            assert (await client.answer(refused)).reset == ErrorCodes.REFUSED_STREAM
        await client.send_body(upload, b"abc")
        assert (await client.answer(upload)).body == b"3"


async def test_streams_that_were_reset_count_until_their_application_ends() -> None:
    gate = trio.Event()

    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()

    async with talking(Routes(deaf=deaf)) as (client, _):
        for _ in range(MAX_STREAMS):
            client.machine.reset_stream(client.request("PUT", "/deaf", end=False), ErrorCodes.CANCEL)
        assert (await client.ask()).reset == ErrorCodes.REFUSED_STREAM
        gate.set()
        await client.ping()
        assert (await client.ask()).status == 200


async def test_more_than_100_open_streams_end_the_connection() -> None:
    app = WaitsForTheEnd()
    async with talking(app) as (client, _):
        await client.ping()
        client.machine.remote_settings.max_concurrent_streams = 1000
        client.machine.remote_settings.acknowledge()
        for _ in range(MAX_STREAMS):
            client.request("PUT", end=False)
        await client.ping()
        client.request("PUT", end=False)
        await client.until_closed()
        assert client.goaway is not None
        assert client.goaway.error_code == ErrorCodes.PROTOCOL_ERROR
        await wait(app.ended)


@pytest.mark.parametrize("end", [True, False])
async def test_connect_is_refused(end: bool) -> None:
    async with talking(count_body, validate=False) as (client, _):
        fields = [(b":method", b"CONNECT"), (b":authority", b"elsewhere:443")]
        got = await client.answer(client.open(fields, end=end))
        assert got.status == 501
        assert (await client.ask()).status == 200


async def test_extended_connect_is_refused() -> None:
    async with talking(count_body, validate=False) as (client, _):
        fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *HEAD[1:]]
        assert (await client.answer(client.open(fields, end=False))).status == 501


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b":method", b"\xff"),
        (b":method", b"A B"),
        (b":path", b"relative"),
        (b":path", b"/\xe4"),
        (b":path", b"/a b"),
    ],
)
async def test_a_request_line_http1_would_not_take_is_a_400(name: bytes, value: bytes) -> None:
    async with talking(count_body, validate=False) as (client, _):
        got = await client.answer(client.open([(k, value if k == name else v) for k, v in HEAD]))
        assert got.status == 400
        assert (await client.ask()).status == 200


@pytest.mark.parametrize(
    "field",
    [
        (b"X-Upper", b"1"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"te", b"gzip"),
        (b"a b", b"1"),
        (b"x", b"a\r\nb"),
        (b":late", b"1"),
        (b"host", b"another"),
        (b"content-length", b"-1"),
    ],
)
async def test_bad_header_fields_end_the_connection(field: tuple[bytes, bytes]) -> None:
    async with talking(count_body, validate=False) as (client, serving):
        client.open([*HEAD, field])
        await client.until_closed()
        assert client.goaway is not None
        assert client.goaway.error_code == ErrorCodes.PROTOCOL_ERROR
        assert serving.info.requests == 0


async def test_a_header_list_over_64_kib_ends_the_connection() -> None:
    async with talking(count_body) as (client, _):
        client.request(headers=[(b"x-%d" % i, b"v" * 4000) for i in range(17)])
        await client.until_closed()
        assert client.goaway is not None
        assert client.goaway.error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_the_peers_header_table_does_not_become_our_memory() -> None:
    """A peer may allow a table of 4 GiB; every unique response header would stay in it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, b"", [(b"x-unique", scope["raw_path"] * 100)])

    async with talking(app) as (client, _):
        await client.send_frames(SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 2**32 - 1}))
        client.machine.decoder.max_allowed_table_size = 2**32 - 1
        for number in range(20):
            got = await client.ask("GET", f"/{number:04}")
            assert got.headers[b"x-unique"] == b"/%04d" % number * 100
        assert client.machine.decoder.header_table_size <= 4096


# Bodies that do not keep their word


async def test_less_than_content_length_resets_the_stream_only() -> None:
    told: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.append(await drain(receive))

    async with talking(Routes(short=app), validate=False) as (client, _):
        length = [(b"content-length", b"10")]
        bare = client.request("PUT", "/short", length)
        trailed = client.request("PUT", "/short", length, end=False)
        client.machine.send_data(trailed, b"half")
        client.machine.send_headers(trailed, [(b"x-trailer", b"1")], end_stream=True)
        assert (await client.answer(bare)).reset == ErrorCodes.PROTOCOL_ERROR
        assert (await client.answer(trailed)).reset == ErrorCodes.PROTOCOL_ERROR
        assert (await client.ask("PUT", body=b"fine")).body == b"4"
    assert told == [-1, -1]


async def test_more_than_content_length_ends_the_connection() -> None:
    app = WaitsForTheEnd()
    async with talking(app) as (client, _):
        stream_id = client.request("PUT", "/", [(b"content-length", b"3")], end=False)
        await client.ping()
        client.machine.send_data(stream_id, b"four")
        await client.until_closed()
        assert client.goaway is not None
        await wait(app.ended)


async def test_a_reset_in_mid_body_is_told_after_the_bytes_and_harms_no_sibling() -> None:
    app = WaitsForTheEnd()
    async with talking(Routes(cut=app)) as (client, _):
        other = client.request("PUT", end=False)
        stream_id = client.request("PUT", "/cut", end=False)
        client.machine.send_data(stream_id, b"some")
        client.machine.reset_stream(stream_id, ErrorCodes.CANCEL)
        await client.flush()
        await wait(app.ended)
        assert app.told == ["http.request", "http.disconnect"]
        await client.send_body(other, b"abc")
        assert (await client.answer(other)).body == b"3"


async def test_sending_to_a_reset_stream_says_that_the_peer_is_gone() -> None:
    raised: list[OSError] = []
    app_ended = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await drain(receive)
        try:
            await answer(send)
        except OSError as error:
            raised.append(error)
        app_ended.set()

    async with talking(app) as (client, _):
        client.machine.reset_stream(client.request("PUT", end=False), ErrorCodes.CANCEL)
        await client.flush()
        await wait(app_ended)
    assert [type(error) for error in raised] == [PeerGone]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_response_that_waits_for_the_window_learns_of_the_end_at_once(whole: bool) -> None:
    raised: list[OSError] = []
    app_ended = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await answer(send, 200, bytes(2 * FIRST_WINDOW))
        except OSError as error:
            raised.append(error)
        app_ended.set()

    async with talking(app, take_bodies=False) as (client, _):
        stream_id = client.request()
        await client.until(lambda: len(client.answers[stream_id].body) == FIRST_WINDOW)
        if whole:
            await client.stream.aclose()
        else:
            client.machine.reset_stream(stream_id, ErrorCodes.CANCEL)
            await client.flush()
        await wait(app_ended)
    assert [type(error) for error in raised] == [PeerGone]


async def test_a_closed_connection_is_told_to_every_stream() -> None:
    app = WaitsForTheEnd()
    async with talking(app) as (client, serving):
        client.request("PUT", end=False)
        await client.flush()
        await wait(app.started)
        await client.stream.aclose()
        await wait(app.ended)
        await wait(serving.ended)
        assert serving.info.reason == "peer gone"


async def test_an_application_that_does_not_end_is_cancelled_after_the_drain_time() -> None:
    started, cancelled = trio.Event(), trio.Event()

    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with talking(deaf, Settings(drain_timeout_s=0.01)) as (client, serving):
        client.request()
        await client.flush()
        await wait(started)
        await client.stream.aclose()
        await wait(serving.ended)
    assert cancelled.is_set()


async def test_cancelling_the_serving_ends_every_task() -> None:
    started, cancelled = trio.Event(), trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        try:
            await receive()
        finally:
            cancelled.set()

    async with talking(app) as (client, serving):
        client.request("PUT", end=False)
        await client.flush()
        await wait(started)
        serving.scope.cancel()
        await wait(serving.ended)
    assert cancelled.is_set()


# Applications that fail


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/late":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
    if scope["path"] == "/header":
        await answer(send, 200, b"", [(b"x-good", b"1"), (b"x-bad", b"a\r\nb: c")])
    if scope["path"] != "/silent":
        raise ExceptionGroup("several", [ValueError("bad"), KeyError("worse")])


@pytest.mark.parametrize("path", ["/early", "/silent", "/header"])
async def test_a_failed_application_is_a_500(path: str) -> None:
    async with talking(Routes(early=fails, silent=fails, header=fails)) as (client, _):
        other = client.request("PUT", end=False)
        got = await client.ask("GET", path)
        assert got.status == 500
        assert got.headers[b"content-type"] == b"application/problem+json"
        assert b"worse" not in got.body
        await client.send_body(other, b"abc")
        assert (await client.answer(other)).body == b"3"


async def test_a_failure_in_mid_answer_resets_the_stream() -> None:
    async with talking(Routes(late=fails)) as (client, _):
        got = await client.ask("GET", "/late")
        assert (got.status, got.body, got.reset) == (200, b"half", ErrorCodes.INTERNAL_ERROR)
        assert (await client.ask()).status == 200


# Deadlines


async def test_a_body_that_stops_coming_is_a_408() -> None:
    app = WaitsForTheEnd()
    async with talking(app, Settings(body_idle_timeout_s=0.02)) as (client, _):
        got = await client.answer(client.request("PUT", end=False))
        assert (got.status, got.reset or 0) == (408, ErrorCodes.NO_ERROR)
    assert app.told == ["http.disconnect"]


async def test_no_byte_comes_after_the_disconnect() -> None:
    told: list[str] = []
    late = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.append((await receive())["type"])
        await late.wait()
        told.append((await receive())["type"])

    async with talking(app, Settings(body_idle_timeout_s=0.02)) as (client, _):
        stream_id = client.request("PUT", end=False)
        await client.flush()
        with trio.fail_after(10):
            while not told:
                await client.ping()
        await client.send_body(stream_id, b"late", end=False)
        await client.ping()
        late.set()
        assert (await client.answer(stream_id)).status == 408
    assert told == ["http.disconnect", "http.disconnect"]


async def test_no_preface_in_time_ends_the_connection() -> None:
    async with connected(count_body, Settings(head_timeout_s=0.02, linger_s=0.02)) as (stream, serving):
        await wait(serving.ended)
        assert serving.info.reason == "idle"
        assert GoAwayFrame(0).serialize() in await stream.receive_some()


async def test_a_connection_without_streams_ends_with_goaway() -> None:
    settings = Settings(keep_alive_timeout_s=0.05)
    held = Held()
    async with talking(Routes(held=held), settings) as (client, serving):
        await client.ask()
        stream_id = client.request("PUT", "/held", end=False)
        await client.flush()
        await wait(held.started)
        await trio.sleep(3 * settings.keep_alive_timeout_s)  # that nothing happens is the condition
        await client.ping()
        held.gate.set()
        await client.send_body(stream_id, b"")
        assert (await client.answer(stream_id)).status == 200
        await client.until_closed()
        assert client.goaway is not None
        assert (client.goaway.error_code, client.goaway.last_stream_id) == (0, 3)
        assert serving.info.reason == "idle"


async def test_a_peer_that_opens_no_window_loses_that_stream() -> None:
    raised: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await answer(send, 200, bytes(MIB))
        except PeerGone as error:
            raised.append(error)
            raise

    settings = Settings(send_timeout_s=0.05)
    async with talking(Routes(big=app), settings, take_bodies=False) as (client, _):
        got = await client.ask("GET", "/big")
        assert (len(got.body), got.reset) == (FIRST_WINDOW, ErrorCodes.CANCEL)
        assert [type(error) for error in raised] == [PeerTooSlow]
        client.machine.increment_flow_control_window(1000)
        assert (await client.ask()).body == b"0"


async def test_a_response_goes_on_when_the_window_opens() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, bytes(3 * FIRST_WINDOW))

    async with talking(app, take_bodies=False) as (client, _):
        stream_id = client.request()
        got = client.answers[stream_id]
        await client.until(lambda: len(got.body) == FIRST_WINDOW)
        client.machine.increment_flow_control_window(2, stream_id)
        await client.ping()
        assert len(got.body) == FIRST_WINDOW
        client.machine.increment_flow_control_window(1)
        await client.until(lambda: len(got.body) == FIRST_WINDOW + 1)
        client.machine.increment_flow_control_window(10 * FIRST_WINDOW)
        await client.until(lambda: len(got.body) == FIRST_WINDOW + 2)
        await client.send_frames(
            SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 3 * FIRST_WINDOW})
        )
        client.machine.local_settings.initial_window_size = 3 * FIRST_WINDOW
        await client.until(lambda: len(got.body) == 3 * FIRST_WINDOW)


async def test_a_peer_that_does_not_read_loses_the_connection() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": bytes(64 * KIB), "more_body": True})
            sent += 64 * KIB

    async with talking(app, Settings(send_timeout_s=0.1), small_buffers=True) as (client, serving):
        open_windows(client, client.request())
        await client.flush()
        await wait(serving.ended)
        assert serving.info.reason == "peer too slow"
    assert sent < MIB  # 128 KiB here, the rest in the kernel


async def test_a_large_response_passes_a_small_backlog() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, bytes(4 * MIB))

    async with talking(app, take_bodies=False) as (client, _):
        stream_id = client.request()
        open_windows(client, stream_id)
        assert len((await client.answer(stream_id)).body) == 4 * MIB


def open_windows(client: H2Client, stream_id: int) -> None:
    client.machine.increment_flow_control_window(2**30)
    client.machine.increment_flow_control_window(2**30, stream_id)


# Frames out of place


async def test_a_window_overflow_resets_its_stream() -> None:
    async with talking(Routes(wait=WaitsForTheEnd())) as (client, _):
        stream_id = client.request("PUT", "/wait", end=False)
        await client.send_frames(WindowUpdateFrame(stream_id, window_increment=2**31 - 1))
        assert (await client.answer(stream_id)).reset == ErrorCodes.FLOW_CONTROL_ERROR
        assert (await client.ask()).status == 200


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (WindowUpdateFrame(0, window_increment=2**31 - 1), ErrorCodes.FLOW_CONTROL_ERROR),
        (DataFrame(77, data=b"to nobody"), ErrorCodes.PROTOCOL_ERROR),
        (
            SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**31}),
            ErrorCodes.FLOW_CONTROL_ERROR,
        ),
        (HeadersFrame(2, data=b"\x82", flags=["END_HEADERS"]), ErrorCodes.PROTOCOL_ERROR),
        (HeadersFrame(77, data=b"\xff\xff\xff", flags=["END_HEADERS"]), ErrorCodes.PROTOCOL_ERROR),
    ],
)
async def test_a_broken_frame_ends_the_connection_with_its_code(frame: Frame, code: ErrorCodes) -> None:
    app = WaitsForTheEnd()
    async with talking(app) as (client, serving):
        client.request("PUT", end=False)
        await client.ping()
        await client.send_frames(frame)
        await client.until_closed()
        assert client.goaway is not None
        assert client.goaway.error_code == code
        await wait(app.ended)
        assert serving.info.reason == "protocol error"


async def test_more_data_than_the_window_ends_the_connection() -> None:
    held = Held()
    async with talking(held, Settings(drain_timeout_s=0.01)) as (client, _):
        stream_id = client.request("PUT", end=False)
        await client.send_frames(*[DataFrame(stream_id, data=bytes(16384))] * 5)
        await client.until_closed()
        assert client.goaway is not None
        assert client.goaway.error_code == ErrorCodes.FLOW_CONTROL_ERROR


@pytest.mark.parametrize(
    "frame",
    [
        RstStreamFrame(77),
        RstStreamFrame(1),
        WindowUpdateFrame(1, window_increment=5),
        DataFrame(1, data=b"stray"),
        DataFrame(1, data=b"", flags=["END_STREAM"]),
    ],
)
async def test_stray_frames_for_ended_streams_are_harmless(frame: Frame) -> None:
    async with talking(count_body) as (client, _):
        await client.ask()
        await client.send_frames(frame)
        assert (await client.ask("PUT", body=b"abc")).body == b"3"


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1] + b"x", b"\x16\x03\x01\x02\x00"])
async def test_a_bad_preface_is_answered_with_goaway(first: bytes) -> None:
    async with connected(count_body) as (stream, _):
        await stream.send_all(first)
        client = H2Client(stream)
        client.machine.initiate_connection()
        client.machine.data_to_send()
        await client.until_closed()
        assert client.goaway is not None
        assert client.goaway.error_code == ErrorCodes.PROTOCOL_ERROR


async def test_a_preface_byte_by_byte_and_partly_read_by_the_caller() -> None:
    async with connected(count_body, initial=PREFACE[:5]) as (stream, _):
        client = H2Client(stream)
        client.machine.initiate_connection()
        for byte in client.machine.data_to_send()[5:]:
            await stream.send_all(bytes([byte]))
        assert (await client.ask("PUT", body=b"abc")).body == b"3"


# Floods


async def test_rapid_resets_end_the_connection() -> None:
    async with talking(count_body) as (client, serving):
        for _ in range(CALM_EVENTS):
            client.machine.reset_stream(client.request("PUT", end=False), ErrorCodes.CANCEL)
        await client.until_closed()
        assert client.goaway is not None
        assert client.goaway.error_code == ErrorCodes.ENHANCE_YOUR_CALM
        assert serving.info.reason == "too many resets"


async def test_a_ping_flood_is_not_read_while_its_answers_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MAX_BACKLOG", 64 * KIB)
    pings = PingFrame(0, opaque_data=b"12345678").serialize() * 30_000
    async with talking(count_body, Settings(send_timeout_s=0.3), small_buffers=True) as (client, serving):
        with suppress(trio.BrokenResourceError):
            await client.stream.send_all(pings)
        await wait(serving.ended)
        assert serving.info.reason == "peer too slow"
    # Each answer is as long as its ping: the backlog, one read beyond it, and what the kernel took.
    assert serving.traffic.bytes_read < 64 * KIB + 64 * KIB + 128 * KIB < len(pings)


# Upgrade from HTTP/1.1


def upgrade(settings: bytes, method: str = "GET") -> h11.Request:
    headers: Headers = [
        (b"Host", b"localhost:8005"),
        (b"Connection", b"Upgrade, HTTP2-Settings"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", settings),
        (b"X-Kind", b"test"),
    ]
    return h11.Request(method=method, target="/up?a=1", headers=headers)


async def test_an_upgraded_request_is_answered_on_stream_1() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await count_body(scope, receive, send)

    window = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1})
    header = base64.urlsafe_b64encode(window.serialize_body()).rstrip(b"=")
    async with connected(app, upgraded=upgrade(header)) as (stream, _):
        client = H2Client(stream)
        client.machine.initiate_upgrade_connection()
        client.answers[1] = Answer()
        got = await client.answer(1)
        assert (got.status, got.body) == (200, b"0")
        assert (await client.ask("PUT", body=b"abc")).body == b"3"
    assert scopes[0]["headers"] == [(b"host", b"localhost:8005"), (b"x-kind", b"test")]
    assert (scopes[0]["raw_path"], scopes[0]["query_string"]) == (b"/up", b"a=1")
    assert scopes[0]["http_version"] == "2"


@pytest.mark.parametrize("header", [b"A", b"AAAA", b"AAT_____"])
async def test_broken_upgrade_settings_end_the_connection(header: bytes) -> None:
    async with connected(count_body, upgraded=upgrade(header)) as (stream, serving):
        client = H2Client(stream)
        client.machine.initiate_connection()
        await client.until_closed()
        assert serving.info.reason == "protocol error"
