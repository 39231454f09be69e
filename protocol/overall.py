"""The session's status and totals, derived from its files and never stored."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from penstock.protocol.lifecycle import State
from penstock.protocol.progress import percent


class OverallStatus(StrEnum):
    PENDING = "pending"
    UPLOADING = "uploading"
    PAUSED = "paused"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Tally(msgspec.Struct):
    """Running sums over a session's files, so that no event ever walks 50 000 of them.

    `appending` counts files in state uploading with a running append, `started` those ever started.
    Byte sums leave out cancelled and failed files and files of unknown size.
    """

    pending: int = 0
    uploading: int = 0
    paused: int = 0
    retrying: int = 0
    finishing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    appending: int = 0
    started: int = 0
    known_bytes: int = 0
    received_bytes: int = 0

    @property
    def total(self) -> int:
        return self.unended + self.completed + self.failed + self.cancelled

    @property
    def unended(self) -> int:
        return self.pending + self.uploading + self.paused + self.retrying + self.finishing

    def shift(self, state: State, by: int) -> None:
        """Count a file in (+1) or out (-1) of a state."""
        setattr(self, state, getattr(self, state) + by)

    def all_ended(self, *, lapsed: bool) -> bool:
        """Whether every file has ended; with `lapsed` the retrying ones count as ended (and failed)."""
        return self.total > 0 and self.unended - (self.retrying if lapsed else 0) == 0

    def failed_for_good(self, *, lapsed: bool) -> int:
        return self.failed + (self.retrying if lapsed else 0)

    def percent(self) -> float:
        """How much of the session has come in: by bytes, or by files where no size is known."""
        if self.known_bytes:
            return percent(self.received_bytes, self.known_bytes)
        return percent(self.completed, self.total - self.failed - self.cancelled)


def overall_status(tally: Tally, *, latch: bool, lapsed: bool) -> OverallStatus:
    """The first rule that fits, top down. `lapsed`: `retry_wait` has passed without activity."""
    if tally.total == 0:
        return OverallStatus.PENDING
    if tally.all_ended(lapsed=lapsed):
        return _ended(tally)
    if tally.appending or tally.finishing:
        return OverallStatus.UPLOADING
    retrying = 0 if lapsed else tally.retrying
    if latch or (tally.paused and not retrying):
        return OverallStatus.PAUSED
    return OverallStatus.UPLOADING if tally.started else OverallStatus.PENDING


def _ended(tally: Tally) -> OverallStatus:
    if tally.completed == tally.total:
        return OverallStatus.COMPLETED
    if tally.cancelled == tally.total:
        return OverallStatus.CANCELLED
    return OverallStatus.PARTIAL if tally.completed else OverallStatus.FAILED
