"""Work that must not hold up the reader, one piece after the other, without a task while there is none."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

Job = Callable[[], Awaitable[None]]


class InOrder:
    """Runs jobs one at a time, in the order they came; an exception of one ends the nursery."""

    def __init__(self, nursery: trio.Nursery, most: int) -> None:
        """`most` jobs may wait or run; `put` waits for a place beyond that."""
        self._nursery = nursery
        self._most = most
        self._jobs: deque[Job] = deque()
        self._moved = trio.lowlevel.ParkingLot()

    @property
    def is_full(self) -> bool:
        return len(self._jobs) >= self._most

    async def put(self, job: Job) -> None:
        """Hand over a job; waits while there are too many. Cancelled, it was not taken. One task puts."""
        while self.is_full:
            await self._moved.park()
        self.put_nowait(job)

    def put_nowait(self, job: Job) -> None:
        """Hand over a job. Raises: trio.WouldBlock when there are too many."""
        if self.is_full:
            raise trio.WouldBlock
        self._jobs.append(job)
        if len(self._jobs) == 1:
            self._nursery.start_soon(self._run)

    async def wait_empty(self) -> None:
        while self._jobs:
            await self._moved.park()
        await trio.lowlevel.checkpoint()

    async def _run(self) -> None:
        while self._jobs:
            await self._jobs[0]()
            self._jobs.popleft()
            self._moved.unpark_all()
