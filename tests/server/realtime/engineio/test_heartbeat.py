"""Pings and deaths to the second: the clock jumps from one to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.protocol.engineio.handshake import Timing
from penstock.server.realtime.engineio.session import CHANGE_OVER_S, Limits
from tests.server.realtime.engineio.driver import PATIENCE_S, Driver, driving
from tests.server.realtime.engineio.rig import Made

INTERVAL_S, TIMEOUT_S = 25.0, 20.0
UPGRADE_S = 10.0
LIMITS = Limits(
    Timing(INTERVAL_S, TIMEOUT_S),
    max_message_bytes=1000,
    max_buffered_bytes=1000,
    upgrade_timeout_s=UPGRADE_S,
    linger_s=2.0,
)


class Now:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = trio.current_time()

    def __call__(self, at: float | None = None) -> float:
        return round((trio.current_time() if at is None else at) - self._start, 6)


@asynccontextmanager
async def driven() -> AsyncIterator[tuple[Driver, Made]]:
    made = Made()
    async with driving(made, LIMITS) as driver:
        yield driver, made


async def test_pings_on_a_websocket(autojump_clock: MockClock) -> None:
    async with driven() as (driver, _), driver.websocket() as websocket:
        await websocket.next()
        now = Now()
        for beat in range(1, 4):
            at, frame = await websocket.next()
            assert (now(at), frame) == (beat * INTERVAL_S, "2")
            websocket.send("3")


async def test_the_interval_begins_with_the_pong(autojump_clock: MockClock) -> None:
    async with driven() as (driver, _), driver.websocket() as websocket:
        await websocket.next()
        now = Now()
        assert (await websocket.next())[1] == "2"
        await trio.sleep(7)
        websocket.send("3")
        at, frame = await websocket.next()
        assert (now(at), frame) == (INTERVAL_S + 7 + INTERVAL_S, "2")


async def test_pings_on_polling(autojump_clock: MockClock) -> None:
    async with driven() as (driver, _):
        sid = await driver.polling()
        now = Now()
        for beat in range(1, 4):
            answer = await driver.get(sid)
            assert (now(answer.at), answer.body) == (beat * INTERVAL_S, "2")
            assert (await driver.post(sid, "3")).body == "ok"


@pytest.mark.parametrize("said", [None, "4busy", "6", "0"])
async def test_a_websocket_without_pong(autojump_clock: MockClock, said: str | None) -> None:
    """Nothing else that it says keeps it alive."""
    async with driven() as (driver, made), driver.websocket() as websocket:
        await websocket.next()
        now = Now()
        with trio.fail_after(PATIENCE_S):
            while not websocket.ended.is_set():
                with trio.move_on_after(1):
                    await websocket.until_ended()
                if said:
                    websocket.send(said)
        assert now(websocket.ended_at) == INTERVAL_S + TIMEOUT_S
        assert made[0].reason == "ping timeout"


async def test_a_poll_without_pong(autojump_clock: MockClock) -> None:
    async with driven() as (driver, made):
        sid = await driver.polling()
        now = Now()
        assert (await driver.get(sid)).body == "2"
        answer = await driver.get(sid)
        assert (now(answer.at), answer.status, answer.body) == (INTERVAL_S + TIMEOUT_S, 200, "1")
        assert made[0].reason == "ping timeout"
        assert (await driver.get(sid)).status == 400


async def test_a_ping_that_nobody_fetches(autojump_clock: MockClock) -> None:
    """Death is counted from when it was due."""
    async with driven() as (driver, made):
        sid = await driver.polling()
        await trio.sleep(INTERVAL_S + TIMEOUT_S - 1)
        assert (await driver.get(sid)).body == "2"  # late, and that changes nothing
        await trio.sleep(1)
        assert (await driver.get(sid)).status == 400
        await wait_all_tasks_blocked()
        assert made[0].reason == "ping timeout"


async def test_on_the_dot(autojump_clock: MockClock) -> None:
    async with driven() as (driver, _):
        sids = [await driver.polling() for _ in range(2)]
        await trio.sleep(INTERVAL_S + TIMEOUT_S)
        for sid in sids:
            assert (await driver.get(sid)).status == 400


@pytest.mark.parametrize("probe", [True, False])
async def test_a_heart_beats_on_during_an_upgrade(autojump_clock: MockClock, probe: bool) -> None:
    async with driven() as (driver, made):
        sid = await driver.polling()
        now = Now()
        await trio.sleep(INTERVAL_S - 1)
        async with driver.websocket(sid) as websocket:
            if probe:
                websocket.send("2probe")
                assert (await websocket.next())[1] == "3probe"
                assert (await driver.get(sid)).body == "6"
                await trio.sleep(1.5)
            answer = await driver.get(sid)
            # The GET between probe and upgrade was held for a moment, in case the upgrade was on its way.
            assert now(answer.at) == INTERVAL_S + (0.5 + CHANGE_OVER_S if probe else 0)
            assert answer.body == "2"
            await driver.post(sid, "3")
            pong = now()
            if probe:
                websocket.send("5")
                at, frame = await websocket.next()
                assert (now(at), frame) == (pong + INTERVAL_S, "2")
        await wait_all_tasks_blocked()
        assert made[0].reason == ("transport close" if probe else None)


async def test_a_ping_that_waits_is_taken_along_and_still_counts(autojump_clock: MockClock) -> None:
    async with driven() as (driver, made):
        sid = await driver.polling()
        now = Now()
        await trio.sleep(INTERVAL_S - 1)
        async with driver.websocket(sid) as websocket:
            websocket.send("2probe")
            assert (await websocket.next())[1] == "3probe"
            await trio.sleep(5)
            websocket.send("5")
            at, frame = await websocket.next()
            assert (now(at), frame) == (INTERVAL_S + 4, "2")
            assert now(await websocket.until_ended()) == INTERVAL_S + TIMEOUT_S
        assert made[0].reason == "ping timeout"


@pytest.mark.parametrize("probe", [True, False])
async def test_an_upgrade_has_its_time(autojump_clock: MockClock, probe: bool) -> None:
    async with driven() as (driver, made):
        sid = await driver.polling()
        now = Now()
        async with driver.websocket(sid) as websocket:
            if probe:
                websocket.send("2probe")
                await websocket.next()
            assert now(await websocket.until_ended()) == UPGRADE_S
        answer = await driver.get(sid)  # which has nothing to wait for but the ping
        assert (now(answer.at), answer.body) == (INTERVAL_S, "2")
        assert made[0].reason is None


async def test_a_death_during_an_upgrade(autojump_clock: MockClock) -> None:
    async with driven() as (driver, made):
        sid = await driver.polling()
        now = Now()
        await trio.sleep(INTERVAL_S + TIMEOUT_S - 1)
        async with driver.websocket(sid) as websocket:
            websocket.send("2probe")
            assert (await websocket.next())[1] == "3probe"
            assert now(await websocket.until_ended()) == INTERVAL_S + TIMEOUT_S
        assert made[0].reason == "ping timeout"


async def test_who_was_sent_away_may_ask_why_for_a_while(autojump_clock: MockClock) -> None:
    """Thirty seconds; then the session is unknown."""
    async with driven() as (driver, made):
        for wait_s, status in [(29, 200), (31, 400)]:
            sid = await driver.polling()
            app = list(made)[-1]
            app.session.send_away()
            await trio.sleep(wait_s)
            answer = await driver.get(sid)
            assert answer.status == status
            if status == 200:
                assert answer.body == "6\x1e1"
            assert app.reason == "server shutting down"


async def test_a_session_that_ends_during_its_handshake_lets_the_websocket_go(
    autojump_clock: MockClock,
) -> None:
    """A slow peer: the answer to its handshake waits until the session is no more."""
    async with driven() as (driver, made):
        ready = trio.Event()
        async with driver.websocket(ready=ready) as websocket:
            await trio.sleep(INTERVAL_S + TIMEOUT_S + 1)
            assert made[0].reason == "ping timeout"
            ready.set()
            await websocket.until_ended()


@pytest.mark.parametrize("bound", ["max_sessions", "max_per_address"])
async def test_sessions_without_connections_are_bounded(autojump_clock: MockClock, bound: str) -> None:
    """One that nobody polls for costs no connection; it makes room when it dies."""
    async with driving(Made(), LIMITS, **{bound: 2}) as driver:
        for _ in range(2):
            await driver.polling()
        assert (await driver.ask("GET", "EIO=4&transport=polling")).status == 503
        await trio.sleep(INTERVAL_S + TIMEOUT_S + 1)
        await driver.polling()
