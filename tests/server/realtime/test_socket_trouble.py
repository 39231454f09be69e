"""Watchers that do not read, a store that fails, a server that stops: no harm to others, no fact lost."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.server.realtime.socket_driver import TRANSPORTS, Client
from tests.server.realtime.socket_running import Running, facts_of, joined, many_facts, running, settle

transports = pytest.mark.parametrize("transport", TRANSPORTS)

# Those who do not read


def unsent_bytes(both: Running, client: Client) -> int:
    return both.server.find(client.sid).core.buffered_bytes


@transports
async def test_a_client_that_does_not_read_costs_little_and_is_cut(
    autojump_clock: MockClock, transport: str
) -> None:
    async with running() as both, both.connected(transport) as slow, both.connected(transport) as other:
        session_id = await both.rig.one_file(4)
        await joined(slow, session_id)
        await joined(other, session_id)
        slow.stall()
        await settle()
        start = trio.current_time()
        await many_facts(both.rig, session_id, 2000)
        assert trio.current_time() == start, "nobody waits for it"
        assert unsent_bytes(both, slow) < 128 * 1024
        await settle()
        assert len(facts_of(other)) == 2000
        await trio.sleep(both.rig.settings.ping_interval_s + both.rig.settings.ping_timeout_s + 1)
        assert both.watches == 1
        reason = "transport error" if transport == "websocket" else "ping timeout"
        assert both.ended == {reason: 1}
        slow.reading.set()


@transports
@pytest.mark.parametrize("max_unsent_bytes", [10_000, 100_000])
async def test_who_reads_is_not_cut_however_much_was_missed(
    autojump_clock: MockClock, transport: str, max_unsent_bytes: int
) -> None:
    async with running(max_unsent_bytes=max_unsent_bytes) as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(4)
        await many_facts(both.rig, session_id, 300)
        await joined(client, session_id, since={"epoch": both.rig.store.epoch, "seq": 0})
        await settle()
        assert sum(map(len, client.packets)) > max_unsent_bytes
        assert [payload["seq"] for _, payload in client.events()] == list(range(1, 301))
        assert not client.ended.is_set()


@transports
async def test_answers_that_wait_are_bounded(
    autojump_clock: MockClock, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(max_unsent_bytes=10_000) as both:
        async with both.connected(transport) as slow, both.connected(transport) as other:
            session_id = await both.rig.one_file(4)
            slow.stall()
            for _ in range(100):
                slow.say_nowait("join-session", session_id)
            assert (await other.ask("join-session", session_id))["ok"] is True
            await trio.sleep(slow.send_timeout_s)
            await settle()
            assert both.ended == {"transport error": 1}
            slow.reading.set()
    (cut_at,) = re.findall(r"slow-peer +buffered_bytes=([0-9]+)", capsys.readouterr().out)
    assert 10_000 < int(cut_at) < 12_000


@transports
async def test_a_client_behind_all_that_is_kept_is_closed(
    autojump_clock: MockClock, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(ring_facts=2) as both, both.connected(transport) as slow:
        both.rig.store._kept_facts = 5
        session_id = await both.rig.one_file(4)
        await joined(slow, session_id)
        slow.stall()
        await settle()
        await many_facts(both.rig, session_id, 20)
        slow.reading.set()
        await slow.closed()
        assert both.ended == {"forced close": 1}
        assert both.watches == 0
        seen = [payload["seq"] for _, payload in slow.events()]
        assert seen == list(range(1, len(seen) + 1)), "no hole, but an end"
    assert "slow-watcher" in capsys.readouterr().out


# Trouble, and the end


@transports
async def test_a_store_that_fails_in_mid_watch_costs_the_connection_but_no_fact(
    autojump_clock: MockClock, transport: str
) -> None:
    async with running(ring_facts=2) as both:
        session_id = await both.rig.one_file(4)
        await many_facts(both.rig, session_id, 10)
        since = {"epoch": both.rig.store.epoch, "seq": 0}
        read = both.rig.store.facts

        async def fail(*args: object, **more: object) -> Any:
            await trio.lowlevel.checkpoint()
            raise OSError("disk on fire")

        both.rig.store.facts = fail  # type: ignore[method-assign]  # the disk, not our code
        async with both.connected(transport) as client:
            await client.ask("join-session", {"sessionId": session_id, "since": since})
            await client.closed()
            assert both.ended == {"transport error": 1}
            assert "fire" not in "".join(client.packets)
        both.rig.store.facts = read  # type: ignore[method-assign]
        async with both.connected(transport) as client:
            await joined(client, session_id, since=since)
            await settle()
            assert [payload["seq"] for _, payload in client.events()] == list(range(1, 11))


@transports
async def test_drain_says_so_and_lets_everybody_come_back(autojump_clock: MockClock, transport: str) -> None:
    async with running() as both, both.connected(transport) as watcher, both.connected(transport) as idle:
        session_id = await both.rig.one_file(4)
        await joined(watcher, session_id)
        await both.rig.gateway.drain()
        await both.server.drain(batch=1, pause_s=0.05)
        for client in (watcher, idle):
            await client.closed()
            name, payload = client.told[-1]
            assert (name, payload["status"]) == ("connection-status", "reconnecting")
            assert payload["message"]
            assert not any(text.startswith("1") for text in client.packets), "a DISCONNECT keeps them away"
        assert both.ended == {"server shutting down": 2}
        assert both.watches == 0
