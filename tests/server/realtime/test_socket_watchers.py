"""Watching sessions over Socket.IO: what a watcher is told, once and in order, whatever else happens."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from penstock.server.realtime.socket_watcher import MAX_SESSIONS
from tests.server.realtime.socket_driver import TRANSPORTS
from tests.server.realtime.socket_running import facts_of, joined, many_facts, running, settle
from tests.server.uploads.rig import FedBody, whole_body

transports = pytest.mark.parametrize("transport", TRANSPORTS)

# Joining and leaving


@transports
async def test_join_then_events_in_order(autojump_clock: MockClock, transport: str) -> None:
    async with running() as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(4)
        ack = await joined(client, session_id)
        assert (ack["sessionId"], ack["epoch"], ack["seq"]) == (session_id, both.rig.store.epoch, 0)
        assert ack["recovered"] is False
        assert ack["snapshot"]["files"][0]["fileId"] == "f1"
        await client.until(lambda: len(client.told) == 2)
        assert client.told[1] == ("connection-status", {"status": "connected"})
        await both.rig.put(session_id, whole_body(b"abcd"))
        await settle()
        names = client.names()
        assert names[0] == "upload-started"
        assert names[-3:] == ["upload-completed", "session-completed", "upload-progress"]
        assert all(payload["sessionId"] == session_id for _, payload in client.events())
        assert all(payload["epoch"] == both.rig.store.epoch for _, payload in client.events())
        last = client.events()[-1][1]
        assert (last["overallStatus"], last["totalProgress"]) == ("completed", 100)


@transports
async def test_nothing_comes_before_the_ack(autojump_clock: MockClock, transport: str) -> None:
    async with running() as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(4)
        await both.rig.put(session_id, whole_body(b"abcd"))
        since = {"epoch": both.rig.store.epoch, "seq": 0}
        client.say_nowait("join-session", {"sessionId": session_id, "since": since})
        await settle()
        kinds = [text.partition(",")[0] for text in client.packets[2:]]
        assert kinds[0].startswith('30[{"ok":true')
        assert kinds[1:3] == ['2["connection-status"', '2["upload-started"']
        assert kinds[-2:] == ['2["session-completed"', '2["upload-progress"']


async def test_joining_twice_changes_nothing(autojump_clock: MockClock) -> None:
    async with running() as both, both.connected() as client:
        session_id = await both.rig.one_file(4)
        await joined(client, session_id)
        again = await joined(client, session_id.upper())
        assert again["recovered"] is True
        assert both.watches == 1
        await both.rig.command("upload-pause", session_id, fileId="f1")
        await settle()
        assert client.names() == ["upload-progress"]


@transports
async def test_leaving_stops_the_events(autojump_clock: MockClock, transport: str) -> None:
    async with running() as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(4)
        await joined(client, session_id)
        assert (await client.ask("leave-session", {"sessionId": session_id.upper()}))["ok"] is True
        assert both.watches == 0
        await both.rig.put(session_id, whole_body(b"abcd"))
        assert (await client.ask("leave-session", session_id))["ok"] is True  # once more is fine
        await settle()
        assert client.events() == []


async def test_who_leaves_and_joins_anew_gets_nothing_of_before(autojump_clock: MockClock) -> None:
    async with running(ring_facts=2) as both, both.connected() as client:
        session_id = await both.rig.one_file(4)
        await many_facts(both.rig, session_id, 10)
        read, gate = both.rig.store.facts, trio.Event()

        async def slow(*args: Any, **more: Any) -> Any:
            await gate.wait()
            return await read(*args, **more)

        both.rig.store.facts = slow  # type: ignore[method-assign]  # a disk that takes its time
        since = {"epoch": both.rig.store.epoch, "seq": 3}
        await joined(client, session_id, since=since)
        client.say_nowait("leave-session", session_id)
        again = client.say_nowait("join-session", session_id)
        await settle()
        gate.set()
        await settle()
        assert (client.acks[again]["seq"], client.events(), both.watches) == (10, [], 1)


async def test_up_to_a_hundred_sessions(autojump_clock: MockClock) -> None:
    async with running(messages_burst=1000) as both, both.connected() as client:
        sessions = [await both.rig.one_file(4) for _ in range(MAX_SESSIONS + 1)]
        for session_id in sessions[:-1]:
            await joined(client, session_id)
        refused = await client.ask("join-session", sessions[-1])
        assert refused["error"]["code"] == "SERVER_BUSY"
        await client.ask("leave-session", sessions[0])
        await joined(client, sessions[-1])
        assert both.watches == MAX_SESSIONS
        for session_id in sessions:
            await both.rig.put(session_id, whole_body(b"abcd"))
        await settle()
        ended = [payload["sessionId"] for name, payload in client.events() if name == "session-completed"]
        assert sorted(ended) == sorted(sessions[1:])


# Coming back


@transports
async def test_since_brings_exactly_what_was_missed_then_the_rest(
    autojump_clock: MockClock, transport: str
) -> None:
    async with running() as both, both.connected() as witness:
        session_id = await both.rig.one_file(4)
        await joined(witness, session_id)
        async with both.connected(transport) as client:
            await joined(client, session_id)
            await many_facts(both.rig, session_id, 4)
            await settle()
            seen = facts_of(client)
        await many_facts(both.rig, session_id, 4)
        since = {"epoch": seen[-1][1]["epoch"], "seq": seen[-1][1]["seq"]}
        async with both.connected(transport) as client:
            ack = await joined(client, session_id, since=since)
            await both.rig.put(session_id, whole_body(b"abcd"))
            await settle()
            assert ack["recovered"] is True
            assert seen + facts_of(client) == facts_of(witness)
        newest = both.rig.live(session_id).ring.seq
        assert newest == 11
        assert [payload["seq"] for _, payload in facts_of(witness)] == list(range(1, newest + 1))


@transports
@pytest.mark.parametrize("lost", ["epoch", "pruned", "future"])
async def test_who_was_away_too_long_is_told_so(autojump_clock: MockClock, transport: str, lost: str) -> None:
    async with running(ring_facts=2) as both, both.connected(transport) as client:
        both.rig.store._kept_facts = 5
        session_id = await both.rig.one_file(4)
        await many_facts(both.rig, session_id, 10)
        epoch = "other" if lost == "epoch" else both.rig.store.epoch
        seq = {"epoch": 9, "pruned": 3, "future": 11}[lost]
        ack = await joined(client, session_id, since={"epoch": epoch, "seq": seq})
        await settle()
        assert (ack["recovered"], ack["seq"], client.events()) == (False, 10, [])
        await both.rig.command("upload-pause", session_id)
        await settle()
        assert [payload["seq"] for _, payload in client.events()] == [11]


@transports
async def test_a_session_that_leaves_memory_says_farewell_and_can_be_joined_again(
    autojump_clock: MockClock, transport: str
) -> None:
    async with running() as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(4)
        await joined(client, session_id)
        await trio.sleep(both.rig.settings.session_timeout_s + 1)
        await both.rig.gateway.janitor.round()
        error = await client.next("session-error")
        assert (error["sessionId"], error["error"]["code"]) == (session_id, "SESSION_TIMEOUT")
        await settle()
        assert (both.watches, client.ended.is_set()) == (0, False)
        back = await joined(client, session_id, since={"epoch": error["epoch"], "seq": error["seq"]})
        assert back["recovered"] is True
        await both.rig.put(session_id, whole_body(b"abcd"))
        await client.next("session-completed")
        assert client.names().count("session-error") == 1


# Watch keys


@transports
async def test_a_watch_key_shows_all_but_the_session_id(autojump_clock: MockClock, transport: str) -> None:
    async with running() as both, both.connected(transport) as watcher, both.connected() as writer:
        created = await both.rig.session(
            {"fileName": "a.bin", "fileId": "f1", "fileSize": 10}, metadata={"secret": "plans"}
        )
        session_id, key = created["sessionId"], created["watchKey"]
        ack = await joined(watcher, key)
        await joined(writer, session_id)
        for name in ("upload-pause", "upload-resume", "upload-cancel"):
            refused = await watcher.ask(name, {"sessionId": key})
            assert refused["error"]["code"] == "INSUFFICIENT_PERMISSIONS"
        for more in ({"progress": 1}, {"requestUpdate": True}):
            refused = await watcher.ask("upload-progress", {"sessionId": key, "fileId": "f1", **more})
            assert refused["error"]["code"] == "INSUFFICIENT_PERMISSIONS"
        start = {"sessionId": key, "fileIds": ["f1"], "category": "personal"}
        assert (await watcher.ask("upload-start", start))["error"]["code"] == "INSUFFICIENT_PERMISSIONS"
        assert both.rig.file(session_id).row.state.value == "pending"
        body = FedBody(length=10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both.rig.put, session_id, body)
            body.feed(b"abcd")
            await watcher.next("upload-progress")
            await writer.ask("upload-pause", {"sessionId": session_id})
            await writer.ask("upload-resume", {"sessionId": session_id})
            body.feed(b"efghij")
            body.end()
        await watcher.next("session-completed")
        await watcher.ask("leave-session", key)
        await joined(watcher, key, since={"epoch": ack["epoch"], "seq": 0})
        await watcher.next("session-completed")
        assert ack["sessionId"] == ack["snapshot"]["sessionId"] == key
        everything = "".join(watcher.packets)
        for secret in (session_id, session_id[:8], "uploadUrl", "tusUrl", "plans", "metadata"):
            assert secret not in everything
        assert {payload["sessionId"] for _, payload in watcher.events()} == {key}
        assert {payload["sessionId"] for _, payload in writer.events()} == {session_id}


@transports
async def test_who_joins_again_before_hearing_that_the_session_left_memory_watches_it(
    autojump_clock: MockClock, transport: str
) -> None:
    async with running() as both, both.connected(transport) as client:
        session_id = await both.rig.one_file(4)
        await joined(client, session_id)
        client.stall()
        await settle()
        await many_facts(both.rig, session_id, 1000)  # more than is written without it
        both.rig.gateway._registry.drop(both.rig.live(session_id))
        number = client.say_nowait("join-session", session_id)
        await settle()
        client.reading.set()
        await client.until(lambda: number in client.acks)
        assert client.acks[number]["recovered"] is True
        await both.rig.command("upload-cancel", session_id)
        assert (await client.next("upload-cancelled"))["seq"] == 1001
        assert [payload["seq"] for _, payload in facts_of(client)][:1001] == list(range(1, 1002))
        assert both.watches == 1


# Many


async def test_all_see_every_fact_once_and_in_order(autojump_clock: MockClock) -> None:
    async with running() as both, AsyncExitStack() as stack:
        session_id = await both.rig.one_file(1000)
        clients = [await stack.enter_async_context(both.connected(kind)) for kind in TRANSPORTS * 3]
        for client in clients:
            await joined(client, session_id)
        body = FedBody(length=1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both.rig.put, session_id, body)
            for _ in range(5):
                body.feed(bytes(100))
                await trio.sleep(0.3)
                assert (await clients[0].ask("upload-pause", {"sessionId": session_id}))["ok"]
                assert (await clients[1].ask("upload-resume", {"sessionId": session_id}))["ok"]
            body.feed(bytes(500))
            body.end()
        await settle()
        for client in clients:
            assert facts_of(client) == facts_of(clients[0])
            sequences = [payload["seq"] for _, payload in client.events()]
            assert sequences == sorted(sequences), "progress never overtakes a fact"
            assert client.names()[-2:] == ["session-completed", "upload-progress"]
            assert client.packets[-1] == clients[0].packets[-1]
        newest = both.rig.live(session_id).ring.seq
        assert [payload["seq"] for _, payload in facts_of(clients[0])] == list(range(1, newest + 1))


async def test_no_event_overtakes_the_answer_to_its_join(autojump_clock: MockClock) -> None:
    async with running(messages_burst=10_000) as both, trio.open_nursery() as nursery:
        session_id = await both.rig.one_file(4)

        async def toggle() -> None:
            while True:
                await both.rig.command("upload-pause", session_id)
                await both.rig.command("upload-resume", session_id)

        nursery.start_soon(toggle)
        for _ in range(100):
            async with both.connected() as client:
                await joined(client, session_id)
                await client.next("upload-progress")
                kinds = [text for text in client.packets if text[0] == "3" or "upload-progress" in text[:25]]
                assert kinds[0][0] == "3"
        nursery.cancel_scope.cancel()


async def test_events_are_encoded_once_for_a_language_and_a_role(autojump_clock: MockClock) -> None:
    async with running() as both, AsyncExitStack() as stack:
        created = await both.rig.session({"fileName": "a.bin", "fileId": "f1", "fileSize": 4})
        session_id, key = created["sessionId"], created["watchKey"]
        clients = []
        for kind in TRANSPORTS * 2:
            for query in ({}, {"lang": "en"}, {"lang": "zh"}, {"sessionId": key}):
                client = await stack.enter_async_context(both.connected(kind, **query))
                if "sessionId" not in query:
                    await joined(client, session_id)
                clients.append(client)
        assert both.watches == 16
        await both.rig.put(session_id, whole_body(b"abcd"))
        await settle()
        for seq in range(1, both.rig.live(session_id).ring.seq + 1):
            entry = both.rig.live(session_id).ring.get(seq)
            assert entry is not None
            assert len(entry._frames) == 3
        assert all(client.names().count("session-completed") == 1 for client in clients)
