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
        "parts",
        "published",
        "received",
        "recorded",
        "recovered",
        "reserved_in_store",
        "row",
        "sample",
        "speed",
        "throttle",
        "whole",
    )

    def __init__(self, row: FileRow) -> None:
        self.row = row
        self.durable = row.synced if row.floor is None else row.floor
        if row.state is State.COMPLETED:
            self.durable = row.file_size or 0
        self.received = self.durable
        self.recovered = False
        self.published = False  # finishing has begun to put it into its place: too late to cancel
        self.reserved_in_store = 0  # what its row reserves while it is not in memory ...
        self.recorded = 0  # ... as of that commit of its session
        self.append: Append | None = None  # the lease: who may write
        self.held: set[Append] = set()  # who waits to be let in
        self.speed: SpeedWindow | None = None
        self.throttle: Throttle | None = None
        self.sample: Entry | None = None
        self.client_progress: float | None = None
        self.expected_bytes: int | None = None  # a guess, for the percentage while the size is unknown
        self.whole: LiveFile | None = None  # a partial's file: it is paused and cancelled with that
        self.parts: list[LiveFile] = []  # this file's partials: what they have counts as its progress
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
        row = self.row
        return (
            row.file_size is not None and row.state is not State.FAILED and row.state is not State.CANCELLED
        )

    @property
    def arrived_bytes(self) -> int:
        """What has come in of it, by itself or in its partials."""
        if not self.parts:
            return self.received
        arrived = max(self.received, sum(part.received for part in self.parts if not part.ended))
        size = self.row.file_size
        return arrived if size is None else min(arrived, size)  # some may have been sent twice

    @property
    def reserved_bytes(self) -> int:
        """Declared bytes that are still to be stored; its partials reserve their own."""
        row = self.row
        if row.file_size is None or row.state in ENDED:
            return 0
        if not self.parts:
            return max(row.file_size - self.received, 0)
        elsewhere = sum(part.row.file_size or part.received for part in self.parts if not part.ended)
        return max(row.file_size - max(self.received, elsewhere), 0)

    @property
    def visitors(self) -> list[Append]:
        """Every request that moves bytes into it, or waits to."""
        return [*([self.append] if self.append else []), *self.held]

    @property
    def is_appended(self) -> bool:
        """Whether a request moves bytes into it, or into one of its partials."""
        return self.append is not None or any(part.append is not None for part in self.parts)

    @property
    def judged(self) -> LiveFile:
        """The file whose pauses and cancels hold for this one."""
        return self.whole or self

    def percent(self) -> float:
        """Never goes down within an attempt."""
        if self.row.state is State.COMPLETED:
            return 100.0
        length = self.expected_bytes if self.row.file_size is None else self.row.file_size
        self._peak_percent = max(self._peak_percent, percent(self.arrived_bytes, length or 0))
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
        self.row.resumable_after_failure = self.row.removed = False
        self.row.stored_name = self.row.digest = self.row.final_offset = None
        self.received = self.durable = 0
        self._peak_percent = 0.0
        self.speed = None
        self.recovered = True
        self.published = False

    def circumstances(self) -> Circumstances:
        untouched = self.row.started_at is None and self.arrived_bytes == 0
        return Circumstances(untouched, self.row.broke_off, self.published)


def declared_bytes_to_come(row: FileRow) -> int:
    """As the state store counts them."""
    return 0 if row.state in ENDED else max((row.file_size or 0) - row.synced, 0)
