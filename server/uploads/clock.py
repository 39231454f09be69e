"""The time of day in one place: Unix seconds that never run backwards while the process lives."""

from __future__ import annotations

import time

import trio


class Clock:
    """Trio's clock, anchored to the wall clock once: events, throttles and deadlines share one time,
    and a test's mock clock moves all of it. `anchor` again (the janitor does) to follow the wall clock."""

    def __init__(self) -> None:
        self._offset_s = 0.0
        self.anchor()

    def anchor(self) -> None:
        self._offset_s = time.time() - trio.current_time()

    def now(self) -> float:
        return trio.current_time() + self._offset_s
