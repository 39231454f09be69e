"""Jobs one at a time, in order, with a bound, and no task while there are none."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.server.realtime.in_order import InOrder


class Work:
    """Jobs that wait to be let go, and note when they begin and end."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.go = trio.Semaphore(0)

    async def job(self, name: str) -> None:
        self.log.append(f"+{name}")
        await self.go.acquire()
        self.log.append(f"-{name}")


async def test_one_at_a_time_in_order(autojump_clock: MockClock) -> None:
    work = Work()
    async with trio.open_nursery() as nursery:
        jobs = InOrder(nursery, 3)
        for name in "abc":
            await jobs.put(lambda name=name: work.job(name))  # type: ignore[misc]  # bound now, not at the call
        await wait_all_tasks_blocked()
        assert work.log == ["+a"]
        assert len(nursery.child_tasks) == 1
        for _ in "abc":
            work.go.release()
        await jobs.wait_empty()
        assert work.log == ["+a", "-a", "+b", "-b", "+c", "-c"]
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_a_full_line_makes_the_next_one_wait(autojump_clock: MockClock) -> None:
    work = Work()
    async with trio.open_nursery() as nursery:
        jobs = InOrder(nursery, 2)
        for name in "ab":
            await jobs.put(lambda name=name: work.job(name))  # type: ignore[misc]  # bound now, not at the call
        assert jobs.is_full
        with trio.move_on_after(1) as waiting:
            await jobs.put(lambda: work.job("dropped"))
        assert waiting.cancelled_caught
        work.go.release()
        await jobs.put(lambda: work.job("c"))
        work.go.release()
        work.go.release()
        await jobs.wait_empty()
    assert [entry for entry in work.log if entry[0] == "-"] == ["-a", "-b", "-c"]


async def test_an_error_ends_the_nursery(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError

    with pytest.RaisesGroup(ValueError):
        async with trio.open_nursery() as nursery:
            await InOrder(nursery, 1).put(fail)
            await trio.sleep_forever()
