"""Pings, pongs and what becomes of those who do not answer (section B5)."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.engineio.client import (
    NOOP,
    PING,
    PONG,
    TRANSPORTS,
    UNKNOWN_SID,
    Engine,
    Peer,
    Polling,
    body_of,
    decode,
    refusal_of,
)
from tests.conformance.engineio.servers import QUICK_INTERVAL_S, QUICK_TIMEOUT_S
from tests.conformance.lines import engineio as line
from tests.conformance.websocket import Closed, Frame


@line("T1", "M")
async def test_engineio_T1_pings_on_polling(quick: Engine) -> None:
    session = await quick.polling()
    for _ in range(3):
        assert await session.poll() == PING
        assert body_of(await session.post(PONG)) == "ok"


@line("T1", "M")
async def test_engineio_T1_pings_on_a_websocket(quick: Engine) -> None:
    async with quick.websocket() as socket:
        for _ in range(3):
            assert await socket.websocket.next() == PING
            await socket.send(PONG)


@line("T2", "M")
async def test_engineio_T2_a_ping_that_nobody_fetched_counts(quick: Engine) -> None:
    session = await quick.polling()
    await trio.sleep(QUICK_INTERVAL_S + QUICK_TIMEOUT_S)  # exactly: as the official suite does
    assert refusal_of(await session.get()) == UNKNOWN_SID


@line("T2", "M")
async def test_engineio_T2_a_ping_without_its_pong_on_polling(quick: Engine) -> None:
    session = await quick.polling()
    assert await session.poll() == PING
    while (answer := await session.get()).status == 200:
        assert decode(body_of(answer)) in (["1"], [NOOP])
    assert refusal_of(answer) == UNKNOWN_SID


@line("T2", "M")
async def test_engineio_T2_a_ping_without_its_pong_on_a_websocket(quick: Engine) -> None:
    async with quick.websocket() as socket:
        assert await socket.websocket.next() == PING
        await socket.websocket.closed()


@line("T3", "C")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_engineio_T3_only_a_pong_feeds_the_heartbeat(quick: Engine, transport: str) -> None:
    frames: list[Frame] = []
    async with quick.peer(transport) as peer:
        try:
            while True:
                await peer.send("4busy")
                frames += await _raw(peer)
        except (Closed, AssertionError):
            pass  # it has ended: what the test waits for
    assert frames.count(PING) == 1


async def _raw(peer: Peer) -> list[Frame]:
    """What comes next, pings and all, and no pong for them. Raises: AssertionError at the end."""
    if isinstance(peer, Polling):
        return decode(await peer.poll())
    return [await peer.websocket.next()]  # type: ignore[attr-defined]  # the other kind


@line("T4", "C")
async def test_engineio_T4_a_heart_beats_on_while_it_changes_over(quick: Engine) -> None:
    session = await quick.polling()
    async with quick.probed(session.sid) as websocket:
        while (body := await session.poll()) == NOOP:
            await trio.lowlevel.checkpoint()
        assert body == PING
        await session.send(PONG)
        await websocket.send("5")
        for _ in range(2):
            assert await websocket.next() == PING
            await websocket.send(PONG)


@line("T4", "U")
async def test_engineio_T4_a_ping_that_waits_is_taken_along(quick: Engine) -> None:
    session = await quick.polling()
    async with quick.probed(session.sid) as websocket:
        await trio.sleep(QUICK_INTERVAL_S)  # it is due now, and there is no GET that could carry it
        await websocket.send("5")
        for _ in range(2):  # the second one only comes if the first was no double
            assert await websocket.next() == PING
            await websocket.send(PONG, "4x")
            assert await websocket.next() == "4x"
