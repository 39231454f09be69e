"""Watchers: every fact in order, without gap or double, however late they come or how slow they are."""

from __future__ import annotations

import msgspec
import pytest
import trio
from trio.testing import MockClock

from penstock.protocol.commands import Since
from penstock.protocol.events import Event, UploadProgress
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.ring import Entry, Ring
from penstock.server.uploads.watch import SlowConsumer, Wakeup
from tests.server.uploads.rig import FedBody, Rig, Watcher, make_rig, whole_body


def fact_seqs(events: list[Event]) -> list[int]:
    """Of facts; the terminal progress repeats its fact's."""
    return [e.seq for e in events if not isinstance(e, UploadProgress) or e.fact is True]


async def toggle(rig: Rig, session_id: str, times: int) -> None:
    for _ in range(times):
        await rig.command("upload-pause", session_id, fileId="f1")
        await rig.command("upload-resume", session_id, fileId="f1")


async def test_two_watchers_get_the_same_facts_with_the_same_seq(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(30)
    async with rig.watcher(session_id) as one, rig.watcher(session_id) as two:
        await toggle(rig, session_id, 3)
        await one.drain()
        await rig.put(session_id, whole_body(b"x" * 30))
        await one.drain()
        await two.drain()
    assert fact_seqs(one.events) == list(range(1, 10))
    facts = [[e for e in w.events if fact_seqs([e])] for w in (one, two)]
    assert facts[0] == facts[1]


async def test_late_watcher_replays_beyond_the_ring(autojump_clock: MockClock) -> None:
    rig = await make_rig(ring_facts=4)
    session_id = await rig.one_file(30)
    await toggle(rig, session_id, 150)
    async with rig.watcher(session_id, since=Since(rig.store.epoch, 7)) as watcher:
        assert watcher.recovered
        await watcher.drain()
    assert fact_seqs(watcher.events) == list(range(8, 301))


async def test_since_of_another_epoch_is_not_recovered(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(30)
    await toggle(rig, session_id, 2)
    for since in (Since("other", 1), Since(rig.store.epoch, 99)):
        async with rig.watcher(session_id, since=since) as watcher:
            assert not watcher.recovered
            assert await watcher.drain() == []


async def test_watcher_behind_what_is_kept_is_slow(autojump_clock: MockClock) -> None:
    rig = await make_rig(ring_facts=4)
    rig.store._kept_facts = 10
    session_id = await rig.one_file(30)
    async with rig.watcher(session_id) as watcher:
        await toggle(rig, session_id, 50)
        with pytest.raises(SlowConsumer):
            await watcher.drain()


async def test_facts_survive_a_restart_with_their_seq(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(30)
    await toggle(rig, session_id, 2)
    await rig.open()
    async with rig.watcher(session_id, since=Since(rig.store.epoch, 0)) as watcher:
        await toggle(rig, session_id, 1)
        await watcher.drain()
    assert fact_seqs(watcher.events) == [1, 2, 3, 4, 5, 6]


async def test_facts_go_out_only_after_their_commit(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(30)
    async with rig.watcher(session_id) as watcher, trio.open_nursery() as nursery:
        rig.store.gate = trio.Event()
        nursery.start_soon(lambda: rig.command("upload-pause", session_id, fileId="f1"))
        await trio.sleep(1)
        early = await watcher.drain()
        rig.store.gate.set()  # before anything is judged: the command waits for it
        await trio.sleep(1)
        assert (early, fact_seqs(await watcher.drain())) == ([], [1])


async def test_progress_is_throttled_and_only_the_newest_is_told(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(1000)
    body = FedBody(length=1000)
    async with (
        rig.watcher(session_id) as quick,
        rig.watcher(session_id) as slow,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(rig.put, session_id, body)
        for _ in range(100):
            body.feed(b"x" * 10)
            await trio.sleep(0.1)
            await quick.drain()
        await slow.drain()
    samples = [e for e in quick.events if isinstance(e, UploadProgress) and e.current_file]
    stamps = [e.timestamp for e in samples[:-2]]
    assert len(stamps) == len(set(stamps)) >= 16
    uploaded = [e.uploaded_bytes for e in samples]
    assert uploaded == sorted(uploaded)
    assert all(e.durable_bytes <= e.uploaded_bytes for e in samples)
    assert len([e for e in slow.events if isinstance(e, UploadProgress)]) <= 3


async def test_file_watch_sees_its_file_and_the_session_only(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    answer = await rig.session({"fileName": "a", "fileId": "f1"}, {"fileName": "b", "fileId": "f2"})
    session_id = answer["sessionId"]
    async with rig.watcher(session_id, file_id="f2") as watcher:
        await rig.put(session_id, whole_body(b"abc"), file_id="f1")
        assert await watcher.drain() == []
        await rig.put(session_id, whole_body(b"abc"), file_id="f2")
        names = await watcher.names()
    assert names[0] == "upload-started"
    assert names[-2:] == ["session-completed", "upload-progress"]


async def test_an_entry_is_encoded_once_per_encoder(autojump_clock: MockClock) -> None:
    class Counting:
        key = "test"
        calls = 0

        def encode(self, event: Event) -> bytes:
            self.calls += 1
            return msgspec.json.encode(event)

    rig = await make_rig()
    session_id = await rig.one_file(30)
    async with rig.watcher(session_id) as one, rig.watcher(session_id) as two:
        await rig.command("upload-pause", session_id, fileId="f1")
        encoder = Counting()
        frames = [await _pull_frames(watcher, encoder) for watcher in (one, two)]
    assert frames[0] == frames[1]
    assert encoder.calls == 1


async def _pull_frames(watcher: Watcher, encoder: object) -> list[bytes]:
    entry = await watcher.watch.pull()
    assert entry is not None
    return entry.frames(encoder)  # type: ignore[arg-type]  # structural


def test_ring_is_bounded_by_count_and_bytes() -> None:
    ring = Ring(0, max_facts=3, max_bytes=100)
    for seq in range(1, 6):
        ring.append(Entry(seq, (), b"x" * 10))
    assert (ring.first_seq, ring.seq) == (3, 5)
    assert ring.get(2) is None
    assert ring.get(6) is None
    ring.append(Entry(6, (), b"x" * 95))
    assert ring.first_seq == 6


async def test_a_broken_store_tells_the_watchers_and_is_loaded_anew(autojump_clock: MockClock) -> None:
    from penstock.storage.errors import StoreError

    rig = await make_rig()
    session_id = await rig.one_file(30)
    async with rig.watcher(session_id) as watcher:
        rig.store.fault = StoreError("database is locked")
        with pytest.raises(StoreError):
            await rig.command("upload-pause", session_id, fileId="f1")
        events = await watcher.drain()
        assert [e.NAME for e in events] == ["session-error"]
        assert watcher.watch.ended
    rig.store.fault = None
    snapshot = await rig.gateway.snapshot(ANYBODY, session_id)
    assert snapshot.files[0].status == "pending"
    assert snapshot.seq == 0
    await rig.put(session_id, whole_body(b"x" * 30))


async def test_a_poller_sees_the_file_that_moves(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 10, length=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, body)
        await trio.sleep(1)
        event, before = await rig.gateway.progress(ANYBODY, session_id)
        assert (event.file_id, event.speed, event.estimated_time_remaining) == ("f1", 10.0, 9.0)
        body.feed(b"x" * 90)
    event, after = await rig.gateway.progress(ANYBODY, session_id)
    assert (event.file_id, event.overall_status) == (None, "completed")
    assert before != after


async def test_a_session_that_leaves_memory_while_somebody_comes_back_is_loaded_anew(
    autojump_clock: MockClock,
) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(4)
    await rig.command("upload-pause", session_id)
    oldest_fact = rig.store.oldest_fact

    async def slowly(session_id: str) -> int | None:
        found = await oldest_fact(session_id)
        rig.gateway._registry.drop(rig.live(session_id))
        return found

    rig.store.oldest_fact = slowly  # type: ignore[method-assign]  # the janitor comes at the wrong moment
    since = Since(rig.store.epoch, 0)
    async with rig.gateway.watch(ANYBODY, session_id, Wakeup(), since=since) as joined:
        await rig.command("upload-resume", session_id)
        told = [await joined.watch.pull() for _ in range(2)]
    assert [entry and entry.seq for entry in told] == [1, 2]
