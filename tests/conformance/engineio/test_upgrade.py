"""From polling to a WebSocket (section B6), and how a WebSocket ends (B7)."""

from __future__ import annotations

import pytest
from wsproto.frame_protocol import CloseReason

from tests.conformance.engineio.client import (
    BAD_REQUEST,
    NOOP,
    PING,
    PONG,
    SEPARATOR,
    Engine,
    body_of,
    decode,
    echoes,
    refusal_of,
    until_unknown,
)
from tests.conformance.lines import engineio as line
from tests.conformance.websocket import ABNORMAL, Frame


@line("U1", "M")
async def test_engineio_U1_probe_then_change_over(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.probed(session.sid) as websocket:
        assert await session.poll() == NOOP
        await websocket.send("5", "4hello")
        assert await websocket.next() == "4hello"


@line("U2", "M")
async def test_engineio_U2_the_pending_get_is_let_go(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.pending(session.sid) as get, engine.probed(session.sid):
        assert body_of(await get.answer()) == NOOP


@line("U2", "C")
async def test_engineio_U2_and_so_is_every_other_until_it_has_changed_over(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.pending(session.sid) as get, engine.probed(session.sid) as websocket:
        assert body_of(await get.answer()) == NOOP
        for _ in range(5):
            while (body := await session.poll()) == PING:
                await session.send(PONG)
            assert body == NOOP
        await websocket.send("5", "4hello")
        assert await websocket.next() == "4hello"


@line("U3", "C")
async def test_engineio_U3_polling_carries_it_until_then(engine: Engine) -> None:
    session = await engine.polling()
    await session.send("4before")
    async with engine.probed(session.sid) as websocket:
        await session.send("4during")
        assert [frame for frame in decode(await session.poll()) if frame != NOOP] == ["4before", "4during"]
        await session.send("4waits", b"\x00\x01")
        await websocket.send("5", "4after")
        assert [await websocket.next() for _ in range(3)] == ["4waits", b"\x00\x01", "4after"]


@line("U4", "C")
async def test_engineio_U4_nothing_is_said_about_it(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.probed(session.sid) as websocket:
        await websocket.send("5")
        for number in range(3):
            await websocket.send(f"4{number}")
            assert await websocket.next() == f"4{number}"


@line("U5", "C")
@pytest.mark.parametrize("frame", ["4x", "2", "2prob", "3probe", "5", "1", "abc", "", b"2probe"])
async def test_engineio_U5_a_wrong_first_packet_closes_the_websocket_only(
    engine: Engine, frame: Frame
) -> None:
    session = await engine.polling()
    async with engine.upgrading(session.sid) as websocket:
        await websocket.send(frame)
        await websocket.closed()
    await echoes(session)
    await _changes_over(engine, session.sid)


@line("U5", "C")
@pytest.mark.parametrize("frame", ["4x", "2probe", "5x", "1", b"5"])
async def test_engineio_U5_so_does_a_wrong_one_after_the_probe(engine: Engine, frame: Frame) -> None:
    session = await engine.polling()
    async with engine.probed(session.sid) as websocket:
        await websocket.send(frame)
        await websocket.closed()
    await echoes(session)
    await _changes_over(engine, session.sid)


@line("U5", "C")
@pytest.mark.parametrize("after", ["handshake", "probe"])
async def test_engineio_U5_a_websocket_that_goes_away(engine: Engine, after: str) -> None:
    session = await engine.polling()
    async with engine.as_far_as(after, session.sid) as websocket:
        await websocket.close()
    await echoes(session)
    await _changes_over(engine, session.sid)


@line("U5", "C")
@pytest.mark.parametrize("after", ["handshake", "probe"])
async def test_engineio_U5_an_upgrade_has_its_time(impatient: Engine, after: str) -> None:
    session = await impatient.polling()
    async with impatient.as_far_as(after, session.sid) as websocket:
        await websocket.closed()
    async with impatient.pending(session.sid) as get:  # nobody is waited for any more
        await session.post("4hello")
        assert body_of(await get.answer()) == "4hello"
    await _changes_over(impatient, session.sid)


@line("U6", "M")
async def test_engineio_U6_afterwards_polling_is_over(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.probed(session.sid) as websocket:
        await websocket.send("5", "4over")
        assert await websocket.next() == "4over"
        assert refusal_of(await session.get()) == BAD_REQUEST
        assert refusal_of(await session.post("4lost")) == BAD_REQUEST
        async with engine.upgrading(session.sid) as second:
            await second.closed()
        await websocket.send("4hello")
        assert await websocket.next() == "4hello"


@line("U6", "M")
async def test_engineio_U6_also_for_a_client_that_waits_for_no_answer(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.upgrading(session.sid) as websocket:
        await websocket.send("2probe", "5")
        await engine.settle()
        assert refusal_of(await session.get()) == BAD_REQUEST
        async with engine.upgrading(session.sid) as second:
            await second.closed()
        assert await websocket.next() == "3probe"


@line("U6", "U")
async def test_engineio_U6_a_session_that_began_on_a_websocket(engine: Engine) -> None:
    async with engine.websocket() as socket:
        assert refusal_of(await engine.get(socket.sid)) == BAD_REQUEST
        async with engine.upgrading(socket.sid) as second:
            await second.send("2probe")
            await second.closed()
        await echoes(socket)


@line("U7", "C")
@pytest.mark.parametrize("after", ["handshake", "probe"])
async def test_engineio_U7_a_session_that_ends_meanwhile_takes_the_websocket_along(
    engine: Engine, after: str
) -> None:
    session = await engine.polling()
    async with engine.as_far_as(after, session.sid) as websocket:
        assert body_of(await session.post("1")) == "ok"
        await websocket.closed()
    await session.ended()


@line("U8", "U")
async def test_engineio_U8_a_get_that_is_no_websocket_takes_nothing(engine: Engine) -> None:
    session = await engine.polling()
    await session.send("4one", "4two")
    answer = await engine.target.ask("GET", engine.address("websocket", session.sid))
    assert refusal_of(answer) == BAD_REQUEST
    assert await session.poll() == f"4one{SEPARATOR}4two"


# B7. Close on WebSocket


@line("C1", "U")
async def test_engineio_C1_a_close_packet_closes_at_once(engine: Engine) -> None:
    async with engine.websocket() as socket:
        await socket.send("1")
        assert await socket.ended() == []


@line("C2", "M")
@pytest.mark.parametrize("how", ["close", "cut"])
async def test_engineio_C2_a_closed_websocket_ends_its_session(engine: Engine, how: str) -> None:
    async with engine.websocket() as socket:
        assert refusal_of(await engine.get(socket.sid)) == BAD_REQUEST
        if how == "close":
            await socket.websocket.close()
    await until_unknown(engine, socket.sid)


@line("C3", "U")
@pytest.mark.parametrize("frame", ["1", "abc", "2"])
async def test_engineio_C3_a_server_that_closes_says_so(engine: Engine, frame: str) -> None:
    async with engine.websocket() as socket:
        await socket.send(frame)
        assert await socket.websocket.closed() not in (ABNORMAL, CloseReason.INTERNAL_ERROR)


async def _changes_over(engine: Engine, sid: str) -> None:
    async with engine.probed(sid) as websocket:
        await websocket.send("5", "4over")
        assert await websocket.next() == "4over"
