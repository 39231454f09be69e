"""One file in memory: its row, and what is known of it beside the row while it moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.protocol.lifecycle import ENDED, Circumstances, State
from penstock.protocol.progress import SpeedWindow, Throttle, percent
from penstock.server.uploads.ring import Entry
from penstock.storage.state.base import FileRow

if TYPE_CHECKING:
    from penstock.server.uploads.append import Append


class LiveFile:
    """One file in memory. `received` counts bytes taken off the wire in this attempt, `durable` those that
    may be announced as a resume point."""

    __slots__ = (
        "_peak_percent",
        "append",
        "client_progress",
        "durable",
        "expected_bytes",
        "held",
        "published",
        "received",
        "recovered",
        "reserved_in_store",
        "row",
        "sample",
        "speed",
        "throttle",
    )

    def __init__(self, row: FileRow) -> None:
        self.row = row
        self.durable = row.synced if row.floor is None else row.floor
        if row.state is State.COMPLETED:
            self.durable = row.file_size or 0
        self.received = self.durable
        self.recovered = False
        self.published = False  # finishing has begun to put it into its place: too late to cancel
        self.reserved_in_store = 0  # what its row reserves while it is not in memory
        self.append: Append | None = None  # the lease: who may write
        self.held: set[Append] = set()  # who waits to be let in
        self.speed: SpeedWindow | None = None
        self.throttle: Throttle | None = None
        self.sample: Entry | None = None
        self.client_progress: float | None = None
        self.expected_bytes: int | None = None  # a guess, for the percentage while the size is unknown
        self._peak_percent = 0.0

    @property
    def file_id(self) -> str:
        return self.row.file_id

    @property
    def ended(self) -> bool:
        return self.row.state in ENDED

    @property
    def counts_bytes(self) -> bool:
        """Whether the session's byte sums include it."""
        return self.row.file_size is not None and self.row.state not in (State.FAILED, State.CANCELLED)

    @property
    def reserved_bytes(self) -> int:
        """Declared bytes that are still to be stored."""
        if self.ended or self.row.file_size is None:
            return 0
        return max(self.row.file_size - self.received, 0)

    @property
    def visitors(self) -> list[Append]:
        """Every request that moves bytes into it, or waits to."""
        return [*([self.append] if self.append else []), *self.held]

    def percent(self) -> float:
        """Never goes down within an attempt."""
        if self.row.state is State.COMPLETED:
            return 100.0
        length = self.expected_bytes if self.row.file_size is None else self.row.file_size
        self._peak_percent = max(self._peak_percent, percent(self.received, length or 0))
        return self._peak_percent

    def bytes_per_s(self, now: float) -> float:
        return self.speed.bytes_per_s(now) if self.speed and not self.ended else 0.0

    def restart(self) -> None:
        """Begin a new attempt: other bytes, counted from 0."""
        self.row.attempt += 1
        self.row.synced, self.row.floor = 0, None
        if not self.row.size_is_declared:
            self.row.file_size = None
        self.row.retry_count, self.row.broke_off = 0, False
        self.row.resumable_after_failure = False
        self.row.stored_name = self.row.digest = None
        self.received = self.durable = 0
        self._peak_percent = 0.0
        self.speed = None
        self.recovered = True
        self.published = False

    def circumstances(self) -> Circumstances:
        untouched = self.row.started_at is None and self.received == 0
        return Circumstances(untouched, self.row.broke_off, self.published)


def declared_bytes_to_come(row: FileRow) -> int:
    """As the state store counts them."""
    return 0 if row.state in ENDED else max((row.file_size or 0) - row.synced, 0)
