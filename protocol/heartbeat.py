"""When a silent peer is asked for a sign of life, and when it is given up: pure, time is an argument."""

from __future__ import annotations

from enum import Enum, auto


class Beat(Enum):
    QUIET = auto()  # nothing to do yet
    ASK = auto()
    DEAD = auto()


class Heartbeat:
    """Asks after `interval_s` of silence, gives up `timeout_s` later if nothing was heard."""

    __slots__ = ("_asked_at", "_interval_s", "_timeout_s")

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._asked_at: float | None = None

    def deadline(self, heard_at: float) -> float:
        """When to call `check` next, if nothing is heard until then."""
        if self._asked_at is None or heard_at >= self._asked_at:
            return heard_at + self._interval_s
        return self._asked_at + self._timeout_s

    def check(self, now: float, heard_at: float) -> Beat:
        """What is due; `ASK` is noted as done."""
        if now < self.deadline(heard_at):
            return Beat.QUIET
        if self._asked_at is not None and heard_at < self._asked_at:
            return Beat.DEAD
        self._asked_at = now
        return Beat.ASK
