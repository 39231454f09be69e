"""The one pool of buffers that every append's bytes pass through: it bounds the memory of all of them."""

from __future__ import annotations

from collections import deque

import msgspec
import trio

MIN_BYTES = 64 * 1024
MAX_BYTES = 1024 * 1024


class PoolStatistics(msgspec.Struct, frozen=True):
    total_bytes: int
    used_bytes: int
    waiting: int


class BufferPool:
    """Buffers of 64 KiB to 1 MiB, a power of two each, `total_bytes` together at most."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._used_bytes = 0
        self._owners = 0
        self._spare: deque[bytearray] = deque(maxlen=8)  # warm pages; beyond 8 MiB the system has them back
        self._waiting = trio.lowlevel.ParkingLot()

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(self._total_bytes, self._used_bytes, len(self._waiting))

    async def take(self) -> bytearray:
        """A buffer, its content undefined; waits while none is free. Cancel-safe.

        The more appends run, the smaller it is: nobody waits because one has it all.
        """
        await trio.lowlevel.checkpoint()
        while (size := self._fitting()) == 0:
            await self._waiting.park()
        self._used_bytes += size
        return self._warm(size) or bytearray(size)

    def give_back(self, buffer: bytearray) -> None:
        """End the use of a buffer that `take` gave."""
        self._used_bytes -= len(buffer)
        if len(buffer) == MAX_BYTES:
            self._spare.append(buffer)
        self._waiting.unpark()

    def enter(self) -> None:
        """Count an append that will want buffers."""
        self._owners += 1

    def leave(self) -> None:
        self._owners -= 1

    def fair_share(self, whole: float, places: int) -> float:
        """What each append has of `whole` if they take turns at so many places."""
        return whole * min(places / max(self._owners, 1), 1)

    def _fitting(self) -> int:
        free = self._total_bytes - self._used_bytes
        fair = self._total_bytes // (2 * max(self._owners, 1))  # two each: one fills while one is written
        size = MAX_BYTES
        while size > MIN_BYTES and size > fair:
            size //= 2
        while size > free and size > MIN_BYTES:
            size //= 2
        return size if size <= free else 0

    def _warm(self, size: int) -> bytearray | None:
        return self._spare.pop() if size == MAX_BYTES and self._spare else None
