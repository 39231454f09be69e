"""The time of day in one place: Unix seconds that never run backwards while the process lives."""

from __future__ import annotations

import time

import trio

FOLLOW_EVERY_S = 60.0


class Clock:
    """Trio's clock, anchored to the wall clock once: events, throttles and deadlines share one time,
    and a test's mock clock moves all of it. Run `follow` beside it, or a day asleep is a day behind."""

    def __init__(self) -> None:
        self._offset_s = 0.0
        self.anchor()

    def anchor(self) -> None:
        self._offset_s = time.time() - trio.current_time()

    async def follow(self) -> None:
        """Until cancelled: keep to the wall clock, which is set and goes on while the machine sleeps."""
        while True:
            await trio.sleep(FOLLOW_EVERY_S)
            self.anchor()

    def now(self) -> float:
        return trio.current_time() + self._offset_s
