"""Packets, payloads and their limits (section B3)."""

from __future__ import annotations

import pytest

from tests.conformance.engineio.client import (
    SEPARATOR,
    TRANSPORTS,
    UNKNOWN_SID,
    Engine,
    body_of,
    echoes,
    ends,
    refusal_of,
)
from tests.conformance.lines import engineio as line
from tests.conformance.websocket import BINARY, TEXT, Closed

INVALID_DATA = 1007
TOO_BIG = 1009


@line("P1", "M")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("message", ["4hello", "4", "44", "4€ 😀", '4{"a":[1]}', "4 x\n"])
async def test_engineio_P1_a_message_is_a_four_and_its_data(
    engine: Engine, transport: str, message: str
) -> None:
    async with engine.peer(transport) as peer:
        await peer.send(message)
        assert await peer.next() == message


@line("P2", "M")
async def test_engineio_P2_a_post_of_several_and_a_get_of_all_that_waits(engine: Engine) -> None:
    session = await engine.polling()
    body = SEPARATOR.join(["4test1", "4test2", "4test3"])
    assert body_of(await session.post(body)) == "ok"
    assert await session.poll() == body
    await session.send("4one")
    await session.send("4two", "4three")
    assert await session.poll() == SEPARATOR.join(["4one", "4two", "4three"])


@line("P3", "M")
async def test_engineio_P3_binary_is_base64_in_a_poll(engine: Engine) -> None:
    session = await engine.polling()
    body = SEPARATOR.join(["4hello", "bAQIDBA==", "b"])
    assert body_of(await session.post(body)) == "ok"
    assert await session.poll() == body


@line("P3", "M")
async def test_engineio_P3_binary_is_a_frame_of_its_own_on_a_websocket(engine: Engine) -> None:
    async with engine.websocket() as socket:
        await socket.send(b"\x01\x02\x03\x04", b"", "4between", b"4")
        assert [await socket.next() for _ in range(4)] == [b"\x01\x02\x03\x04", b"", "4between", b"4"]


@line("P4", "C")
async def test_engineio_P4_a_post_is_answered_ok(engine: Engine) -> None:
    answer = await (await engine.polling()).post("4hello")
    assert answer.status == 200
    assert answer["content-type"].partition(";")[0] == "text/html"
    assert answer.body == b"ok"


@line("P5", "C")
async def test_engineio_P5_a_post_of_octets_ends_the_session(engine: Engine) -> None:
    session = await engine.polling()
    answer = await engine.post(session.sid, b"4hello", [("Content-Type", "application/octet-stream")])
    assert answer.status == 400
    assert await session.ended() == []


@line("P6", "C")
@pytest.mark.parametrize(
    "body",
    ["", "abc", "7", "4a\x1e", "\x1e4a", "４a", "-1", "B", "\x1e", "null", "\x004a", b"\xff4a", b"4\xc3"],
)
async def test_engineio_P6_a_bad_packet_ends_a_polling_session(engine: Engine, body: str | bytes) -> None:
    session = await engine.polling()
    answer = await session.post(body)
    assert answer.status == 400 or body_of(answer) == "ok"
    assert refusal_of(await session.get()) == UNKNOWN_SID


@line("P6", "C")
@pytest.mark.parametrize("frame", ["", "abc", "7", "４a", "-1", "B", "\x004a"])
async def test_engineio_P6_a_bad_packet_ends_a_session_on_a_websocket(engine: Engine, frame: str) -> None:
    async with engine.websocket() as socket:
        await ends(socket, frame)


@line("P6", "C")
async def test_engineio_P6_who_waits_for_an_answer_learns_of_it(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.pending(session.sid) as get:
        await session.post("abc")
        assert body_of(await get.answer()) == "1"
    assert refusal_of(await session.get()) == UNKNOWN_SID


@line("P7", "C")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_engineio_P7_what_follows_a_bad_packet_is_not_read(engine: Engine, transport: str) -> None:
    async with engine.peer(transport) as peer:
        await peer.send("4a", "abc", "4b")
        assert "4b" not in await peer.ended()


@line("P8", "C")
async def test_engineio_P8_a_post_may_be_as_long_as_announced_and_no_longer(engine: Engine) -> None:
    session = await engine.polling()
    most = session.opening["maxPayload"]
    assert (await session.post("4" + "x" * most)).status == 413
    assert (await session.post("4" + "é" * (most // 2))).status == 413  # bytes count, not characters
    assert body_of(await session.post("4" + "x" * (most - 1))) == "ok"
    assert len(await session.poll()) == most
    await echoes(session)


@line("P8", "C")
async def test_engineio_P8_a_body_in_pieces_counts_as_well(engine: Engine) -> None:
    session = await engine.polling()
    most = session.opening["maxPayload"]
    pieces = [b"4", *[b"x" * 10_000] * (most // 10_000)]
    assert (await engine.target.ask("POST", engine.address(sid=session.sid), [], pieces)).status == 413
    await echoes(session)


@line("P8", "C")
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_engineio_P8_a_message_on_a_websocket_that_is_too_long(engine: Engine, opcode: int) -> None:
    async with engine.websocket() as socket:
        most = socket.opening["maxPayload"]
        with_type = most - 1 if opcode == TEXT else most
        longest = "4" + "x" * with_type if opcode == TEXT else b"x" * with_type
        await socket.send(longest)
        assert await socket.next() == longest
        await socket.send("4" + "é" * (most // 2) if opcode == TEXT else b"x" * (most + 1))
        assert await socket.websocket.closed() == TOO_BIG


@line("P8", "C")
async def test_engineio_P8_what_is_announced_as_too_long_is_not_waited_for(engine: Engine) -> None:
    session = await engine.polling()
    size = 10**9
    async with engine.target.exchange("POST", engine.address(sid=session.sid), [], length=size) as post:
        await post.send(b"4" + b"x" * session.opening["maxPayload"])
        assert (await post.answer()).status == 413
    await echoes(session)


@line("P9", "U")
async def test_engineio_P9_there_is_no_limit_to_the_number_of_packets(engine: Engine) -> None:
    session = await engine.polling()
    frames = [f"4{number}" for number in range(1000)]
    await session.send(*frames)
    assert [await session.next() for _ in frames] == frames


@line("P9", "U")
async def test_engineio_P9_no_answer_is_longer_than_what_may_be_posted(engine: Engine) -> None:
    session = await engine.polling()
    most = session.opening["maxPayload"]
    frames = [f"4{number}" + "x" * (most // 2) for number in range(2)]
    for frame in frames:
        await session.send(frame)
    assert [await session.poll() for _ in frames] == frames


@line("P10", "U")
async def test_engineio_P10_a_text_frame_that_is_no_text(engine: Engine) -> None:
    async with engine.websocket() as socket:
        await socket.websocket.send_raw(TEXT, b"4\xff")
        assert await socket.websocket.closed() == INVALID_DATA


@line("P10", "U")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("data", ["b@@@@", "bAQI", "bAQIDBA=", "bAQ==ID", "bAQID\n", "b-_-_", "bAQIDé"])
async def test_engineio_P10_base64_is_base64(engine: Engine, transport: str, data: str) -> None:
    async with engine.peer(transport) as peer:
        await ends(peer, data)


@line("P11", "C")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("frame", ["2", "2probe"])
async def test_engineio_P11_pings_come_from_the_server(engine: Engine, transport: str, frame: str) -> None:
    async with engine.peer(transport) as peer:
        await ends(peer, frame)


@line("P11", "C")
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("frame", ["0", '0{"sid":"x"}', "5", "6", "3", "3probe"])
async def test_engineio_P11_what_means_nothing_here_is_ignored(
    engine: Engine, transport: str, frame: str
) -> None:
    async with engine.peer(transport) as peer:
        await peer.send(frame, "4and on")
        try:
            assert await peer.next() == "4and on"
        except Closed as closed:
            raise AssertionError("it was not ignored") from closed
