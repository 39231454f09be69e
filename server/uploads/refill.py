"""The reader of a fast body, in the thread that stores it: takes from the socket what was just written out.

A body that fills a whole buffer before anything else happens is worth a thread for a while: without it each
MiB costs two wake-ups of the scheduler and is copied by two cores, see docs/performance.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.server.peer import Take

WAIT_S = 0.002  # a sender that pauses for longer is not worth a thread
ENOUGH = 4  # a buffer this part of which is full is written: to fill it to the brim takes many small reads


class Refill:
    """One turn in a worker thread, which calls it; the append's own task waits meanwhile.

    `taken` bytes came in; the first `filled` in the buffer may not be written yet. `may_take` is asked before
    each step: whether the gate is open, and nobody wants the append to stop.
    """

    def __init__(
        self, take: Take, may_take: Callable[[], bool], *, filled: int, most_bytes: int, turn_s: float
    ) -> None:
        self.taken = 0
        self.filled = filled
        self.is_dry = False  # the sender was slower than we
        self._take = take
        self._may_take = may_take
        self._most_bytes = most_bytes
        self._turn_s = turn_s
        self._ends_at: float | None = None  # known once it has begun

    def __call__(self, buffer: memoryview) -> int:
        """How many bytes to write now; 0: the turn is over."""
        self.filled = 0
        if self._is_over():
            return 0
        enough = len(buffer) // ENOUGH
        while self.filled < enough and self.taken < self._most_bytes and self._may_take():
            room = min(len(buffer) - self.filled, self._most_bytes - self.taken)
            count = self._take(buffer[self.filled : self.filled + room], WAIT_S)
            if not count:
                self.is_dry = True
                break
            self.filled += count
            self.taken += count
        return self.filled

    def _is_over(self) -> bool:
        if self._ends_at is None:  # one buffer is always had
            self._ends_at = time.monotonic() + self._turn_s
            return False
        return self.is_dry or time.monotonic() >= self._ends_at
