"""The one pool of buffers that every append's bytes pass through: it bounds the memory of all of them."""

from __future__ import annotations

from collections import deque

import msgspec
import trio

MIN_BYTES = 64 * 1024
MAX_BYTES = 1024 * 1024
ROUND_S = 0.05  # then progress is counted


class PoolStatistics(msgspec.Struct, frozen=True):
    total_bytes: int
    used_bytes: int
    waiting: int


class BufferPool:
    """Buffers of 64 KiB to 1 MiB, a power of two each, `total_bytes` together at most."""

    def __init__(self, total_bytes: int, turns: int = 1) -> None:
        """`turns`: appends that may be read in threads at once, see `refill`."""
        self.turns = trio.CapacityLimiter(turns)
        self._total_bytes = total_bytes
        self._used_bytes = 0
        self._owners = 0
        self._spare: deque[bytearray] = deque(maxlen=8)  # warm pages; beyond 8 MiB the system has them back
        self._waiting = trio.lowlevel.ParkingLot()

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(self._total_bytes, self._used_bytes, len(self._waiting))

    async def take_largest(self) -> bytearray:
        """As `take`, for the few who have a turn: only the pool's end makes it smaller. Cancel-safe."""
        await trio.lowlevel.checkpoint()
        while (size := self._fitting(MAX_BYTES)) == 0:
            await self._waiting.park()
        return self._taken(size)

    async def take(self) -> bytearray:
        """A buffer, its content undefined; waits while none is free. Cancel-safe.

        The more appends run, the smaller it is: nobody waits because one has it all.
        """
        await trio.lowlevel.checkpoint()
        while (size := self._fitting(self._fair_bytes)) == 0:
            await self._waiting.park()
        return self._taken(size)

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

    @property
    def turn_s(self) -> float:
        """How long an append's turn is: all that are under way shall have one within `ROUND_S`."""
        return ROUND_S * min(self.turns.total_tokens / max(self._owners, 1), 1)

    def _taken(self, size: int) -> bytearray:
        self._used_bytes += size
        return self._warm(size) or bytearray(size)

    @property
    def _fair_bytes(self) -> int:
        return self._total_bytes // (2 * max(self._owners, 1))  # two each: one fills while one is written

    def _fitting(self, most_bytes: int) -> int:
        free = self._total_bytes - self._used_bytes
        size = MAX_BYTES
        while size > MIN_BYTES and size > most_bytes:
            size //= 2
        while size > free and size > MIN_BYTES:
            size //= 2
        return size if size <= free else 0

    def _warm(self, size: int) -> bytearray | None:
        return self._spare.pop() if size == MAX_BYTES and self._spare else None
