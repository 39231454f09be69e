"""The short way of events: what it tells, to whom, in which order, and when it leaves it to the long one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.protocol.commands import Since
from penstock.protocol.events import Event, UploadProgress
from penstock.server.uploads import facts, fanout
from tests.server.uploads.rig import FedBody, Rig, Watcher, make_rig, whole_body


class Names:
    """Makes of an event its name and number."""

    def __init__(self, key: str = "names") -> None:
        self.key: Hashable = key
        self.encoded = 0

    def encode(self, event: Event) -> str:
        self.encoded += 1
        if isinstance(event, UploadProgress) and event.fact is not True:
            return f"{event.seq}~{event.progress:g}"
        return f"{event.seq}:{event.NAME}"


class Road:
    """A lane that keeps what is written: one string a write."""

    def __init__(self, encoder: Names | None = None) -> None:
        self.encoder = encoder or Names()
        self.writes: list[str] = []
        self.is_open = True

    def framed(self, frame: str) -> bytes:
        return f"{frame} ".encode()

    def send_nowait(self, wire: bytes) -> bool:
        if self.is_open:
            self.writes.append(wire.decode().strip())
        return self.is_open

    @property
    def told(self) -> list[str]:
        return " ".join(self.writes).split()


@asynccontextmanager
async def fanning(**settings: object) -> AsyncIterator[tuple[Rig, str]]:
    """A rig with a session of one file, whose news are told in rounds."""
    rig = await make_rig(**settings)
    session_id = await rig.one_file(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.gateway.fanout.run)
        await settle()
        yield rig, session_id
        nursery.cancel_scope.cancel()


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(1)


async def toggle(rig: Rig, session_id: str, times: int = 1) -> None:
    for _ in range(times):
        await rig.command("upload-pause", session_id, fileId="f1")
        await rig.command("upload-resume", session_id, fileId="f1")


async def test_everybody_is_told_everything_in_order(autojump_clock: MockClock) -> None:
    async with fanning() as (rig, session_id), rig.watcher(session_id) as one, rig.watcher(session_id) as two:
        one.watch.lane, two.watch.lane = first, second = Road(), Road()
        await rig.put(session_id, whole_body(b"x" * 100))
        await settle()
        assert first.told == second.told
        assert [*dict.fromkeys(first.told)] == [
            "1:upload-started",
            "1~100",
            "2:upload-completed",
            "3:session-completed",
            "3~100",
        ]
        assert [await watcher.drain() for watcher in (one, two)] == [[], []]


async def test_facts_of_one_round_go_out_in_one_write(autojump_clock: MockClock) -> None:
    async with fanning() as (rig, session_id), rig.watcher(session_id) as watcher:
        watcher.watch.lane = road = Road()
        session = rig.live(session_id)
        paused = partial(facts.progress, session, session.files["f1"], fact=True, status="paused")
        await session.record(makers=[paused] * 3)
        await settle()
        assert road.writes == ["1:upload-progress 2:upload-progress 3:upload-progress"]


async def test_an_event_is_encoded_once_for_all_with_the_same_key(autojump_clock: MockClock) -> None:
    names, others = Names(), Names("others")
    async with fanning() as (rig, session_id):
        async with rig.watcher(session_id) as a, rig.watcher(session_id) as b, rig.watcher(session_id) as c:
            a.watch.lane, b.watch.lane, c.watch.lane = _, _, road = Road(names), Road(names), Road(others)
            await toggle(rig, session_id, 5)
            await settle()
            assert len(road.told) == 10
    assert (names.encoded, others.encoded) == (10, 10)


async def test_who_takes_nothing_pulls_later_and_misses_nothing(autojump_clock: MockClock) -> None:
    async with fanning() as (rig, session_id), rig.watcher(session_id) as watcher:
        watcher.watch.lane = road = Road()
        await toggle(rig, session_id)
        await settle()
        road.is_open = False
        await toggle(rig, session_id)
        await settle()
        assert [event.seq for event in await watcher.drain()] == [3, 4]
        road.is_open = True
        await toggle(rig, session_id)
        await settle()
        assert [told.partition(":")[0] for told in road.told] == ["1", "2", "5", "6"]


async def test_a_watcher_without_a_lane_is_woken(autojump_clock: MockClock) -> None:
    async with fanning() as (rig, session_id), rig.watcher(session_id) as watcher:
        await watcher.drain()
        await watcher.watch._wakeup.wait()  # of the join
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.watch._wakeup.wait)
            await toggle(rig, session_id)
        assert [event.seq for event in await watcher.drain()] == [1, 2]


async def test_without_the_service_all_are_woken(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    async with rig.watcher(session_id) as watcher:
        watcher.watch.lane = road = Road()
        await watcher.watch._wakeup.wait()
        await toggle(rig, session_id)
        await watcher.watch._wakeup.wait()
        assert road.writes == []
        assert [event.seq for event in await watcher.drain()] == [1, 2]


async def test_what_is_no_longer_in_memory_is_pulled(autojump_clock: MockClock) -> None:
    async with fanning(ring_facts=4) as (rig, session_id):
        await toggle(rig, session_id, 5)
        async with rig.watcher(session_id, since=Since(rig.store.epoch, 2)) as watcher:
            watcher.watch.lane = road = Road()
            await toggle(rig, session_id)
            await settle()
            assert road.writes == []
            assert [event.seq for event in await watcher.drain()] == list(range(3, 13))
            await toggle(rig, session_id)
            await settle()
            assert [told.partition(":")[0] for told in road.told] == ["13", "14"]


async def test_nothing_is_told_past_a_pull_that_is_under_way(autojump_clock: MockClock) -> None:
    async with fanning() as (rig, session_id), rig.watcher(session_id) as watcher:
        watcher.watch.lane = road = Road()
        await toggle(rig, session_id)
        pulled: list[int] = []

        async def pull() -> None:
            while (entry := await watcher.watch.pull()) is not None:
                pulled.append(entry.seq)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pull)
            await toggle(rig, session_id)
        await settle()
        await pull()
        told = [int(told.partition(":")[0]) for told in road.told]
        assert sorted([*pulled, *told]) == [1, 2, 3, 4]


async def test_who_watches_one_file_is_told_of_that_alone(autojump_clock: MockClock) -> None:
    async with fanning() as (rig, _):
        made = await rig.session(
            {"fileName": "a", "fileId": "f1", "fileSize": 3}, {"fileName": "b", "fileId": "f2", "fileSize": 3}
        )
        session_id = made["sessionId"]
        async with rig.watcher(session_id, file_id="f1") as watcher:
            watcher.watch.lane = road = Road()
            await rig.put(session_id, whole_body(b"xyz"), file_id="f2")
            await settle()
            assert road.told == []
            await rig.put(session_id, whole_body(b"xyz"), file_id="f1")
            await settle()
            facts = [told.partition(":")[2] for told in road.told if ":" in told]
            assert facts == ["upload-started", "upload-completed", "session-completed"]
            assert watcher.watch.cursor == rig.live(session_id).ring.seq


async def test_of_progress_only_the_newest_is_told(autojump_clock: MockClock) -> None:
    async with fanning() as (rig, session_id), rig.watcher(session_id) as watcher:
        watcher.watch.lane = road = Road()
        body = FedBody(length=100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.put, session_id, body)
            for _ in range(10):
                body.feed(b"x" * 10)
                await trio.sleep(0.6)
        await settle()
        samples = [float(told.partition("~")[2]) for told in road.told if "~" in told]
        assert samples == sorted(samples)
        assert samples[-1] == 100
        assert await watcher.drain() == []


async def test_progress_that_comes_in_the_middle_of_a_round_reaches_all(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "TURN_WATCHERS", 1)
    begun = trio.Event()

    class Telling(Road):
        def send_nowait(self, wire: bytes) -> bool:
            begun.set()
            return super().send_nowait(wire)

    async with fanning() as (rig, session_id), trio.open_nursery() as nursery:
        session = rig.live(session_id)

        def bring(count: int) -> None:
            session.note_bytes(session.files["f1"], count)
            session.sample_now(session.files["f1"])

        async def go_on() -> None:
            await begun.wait()
            bring(20)

        nursery.start_soon(go_on)
        async with rig.watcher(session_id) as a, rig.watcher(session_id) as b, rig.watcher(session_id) as c:
            roads = a.watch.lane, b.watch.lane, c.watch.lane = Telling(), Telling(), Telling()
            bring(20)
            await settle()
            assert [road.told[-1] for road in roads] == ["0~40"] * 3


@pytest.mark.parametrize("most_bytes", [1, 1000, 3000])
async def test_a_long_stretch_is_told_in_several_writes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    monkeypatch.setattr(fanout, "MOST_BYTES", most_bytes)
    async with fanning() as (rig, session_id):
        await toggle(rig, session_id, 10)
        async with rig.watcher(session_id, since=Since(rig.store.epoch, 0)) as watcher:
            watcher.watch.lane = road = Road()
            await toggle(rig, session_id)
            await settle()
            assert [int(told.partition(":")[0]) for told in road.told] == list(range(1, 23))
            assert len(road.writes) > 1


async def test_a_lane_that_fails_costs_nobody_else_anything(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Road):
        def send_nowait(self, wire: bytes) -> bool:
            raise RuntimeError("no such road")

    async with fanning() as (rig, session_id), rig.watcher(session_id) as one, rig.watcher(session_id) as two:
        one.watch.lane, two.watch.lane = _, road = Broken(), Road()
        await toggle(rig, session_id)
        await settle()
        assert len(road.told) == 2
        assert [event.seq for event in await one.drain()] == [1, 2]
    assert "fanout-failed" in capsys.readouterr().out


async def test_many_watchers_are_told_in_turns_and_others_run_between(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens in the middle of a round reaches all, too, and once."""
    monkeypatch.setattr(fanout, "TURN_WATCHERS", 1)
    async with fanning() as (rig, session_id):
        async with trio.open_nursery() as nursery:
            roads = [Road() for _ in range(20)]
            watchers: list[Watcher] = []

            async def watch(road: Road) -> None:
                async with rig.watcher(session_id) as watcher:
                    watcher.watch.lane = road
                    watchers.append(watcher)
                    await trio.sleep_forever()

            for road in roads:
                nursery.start_soon(watch, road)
            await settle()
            body = FedBody(b"x" * 50, length=100)
            nursery.start_soon(rig.put, session_id, body)
            await toggle(rig, session_id, 10)
            body.feed(b"x" * 50)
            await settle()
            facts = [[told for told in road.told if ":" in told] for road in roads]
            numbers = [int(told.partition(":")[0]) for told in facts[0]]
            assert numbers == list(range(1, rig.live(session_id).ring.seq + 1))
            assert all(others == facts[0] for others in facts)
            assert [await watcher.drain() for watcher in watchers] == [[]] * 20
            nursery.cancel_scope.cancel()


async def test_who_has_left_is_told_nothing(autojump_clock: MockClock) -> None:
    async with fanning() as (rig, session_id):
        async with rig.watcher(session_id) as watcher:
            watcher.watch.lane = road = Road()
        await toggle(rig, session_id)
        await settle()
        assert road.told == []
