"""What was sent, what was promised for it, and how it ended. Whatever does not fit is a problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

from tests.acceptance.watcher import Seen


class Fate(StrEnum):
    UNDER_WAY = "under way"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    USED = "used"  # a part that a file was made of


class Problem(NamedTuple):
    at_s: float  # since the run began
    who: str
    what: str


class Ledger:
    """Entries of all files. Counts stay; entries go once their file was compared and is over."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.counts: Counter[str] = Counter()
        self.open: dict[int, Entry] = {}
        self.sent_bytes = 0  # of bodies, handed to the kernel
        self.kept_bytes = 0  # of completed files
        self.now_s = 0.0  # kept up to date by the run

    def enter(self, dialect: str, size: int) -> Entry:
        number = self.counts["files"]
        self.counts["files"] += 1
        self.open[number] = entry = Entry(self, number, dialect, size)
        return entry

    def problem(self, who: str, what: str) -> None:
        self.problems.append(Problem(round(self.now_s, 1), who, what))

    def close(self) -> None:
        """The end of a run: whatever is still open was lost on its way."""
        for entry in self.open.values():
            entry.problem(f"never ended: {entry.fate}, {entry.announced} of {entry.size} bytes promised")


class Entry:
    """One file. Offsets in it are as its own client hears them."""

    def __init__(self, ledger: Ledger, number: int, dialect: str, size: int) -> None:
        self.number = number
        self.dialect = dialect
        self.size = size
        self.attempt = 1
        self.announced = 0  # the greatest offset of this attempt
        self.sent = 0  # no client has sent bytes beyond
        self.fate = Fate.UNDER_WAY
        self.compared = 0  # times that its bytes were found as they were sent
        self.cancel_asked = False
        self._ledger = ledger

    def __str__(self) -> str:
        return f"file {self.number} ({self.dialect}, {self.size} bytes)"

    def problem(self, what: str) -> None:
        self._ledger.problem(str(self), what)

    def note_sent(self, stop: int) -> None:
        self.sent = max(self.sent, min(stop, self.size))

    def announce(self, offset: int, floor: int, attempt: int | None = None) -> None:
        """The server named an offset in answer to a request. `floor` is what `announced` was when that began:
        answers may overtake each other, but none may fall behind what was known before it was asked for."""
        if attempt is not None and attempt != self.attempt:
            if attempt < self.attempt:
                self.problem(f"attempt {attempt} after {self.attempt}")
            self.attempt, self.announced, floor = attempt, 0, 0
        if offset < min(floor, self.announced):
            self.problem(f"offset {offset} after {floor} was promised")
        if offset > self.sent:
            self.problem(f"offset {offset}, but only {self.sent} bytes were sent")
        self.announced = max(self.announced, offset)

    def begin_attempt(self) -> None:
        """A request without an offset is about to be sent: it may start the file over."""
        self.announced = 0

    def compare(self, wanted_sha256: str, found_sha256: str, where: str) -> None:
        """Stored bytes were read back."""
        if wanted_sha256 == found_sha256:
            self.compared += 1
        else:
            self.problem(f"other bytes {where}: {found_sha256} instead of {wanted_sha256}")

    def end(self, fate: Fate) -> None:
        """How it ended, as its client was told. A completed file must have been compared."""
        if self.fate is not Fate.UNDER_WAY:
            self.problem(f"{fate} after {self.fate}")
        if fate is Fate.CANCELLED and not self.cancel_asked:
            self.problem("cancelled by nobody")
        self.fate = fate
        self._ledger.counts[f"{self.dialect}: {fate}"] += 1
        if fate is Fate.COMPLETED:
            self._ledger.kept_bytes += self.size

    def let_go(self) -> None:
        """Nothing more will be asked about it."""
        if self.fate is Fate.COMPLETED and not self.compared:
            self.problem("completed, and its bytes were never compared")
        self._ledger.open.pop(self.number, None)


class Story:
    """The facts of one session as one watcher was told them, over all its connections."""

    def __init__(self, ledger: Ledger, who: str) -> None:
        self.last_seq: int | None = None
        self.epoch: str | None = None
        self._ledger = ledger
        self._who = who
        self._ended: set[str] = set()  # ids of files
        self._completed = False  # the last fact was that the session is complete

    def subscribed(self, *, recovered: bool, since: int | None, sequence: int) -> None:
        """The answer to a subscription. Whoever says where they were must miss nothing."""
        if since is not None and not recovered:
            self._problem(f"facts after {since} were not recovered")
        if since is None:
            self.last_seq = sequence

    def told(self, event: Seen) -> None:
        """One event of the stream."""
        self.epoch = event.payload["epoch"]
        if event.name == "session-error" and event.seq == self.last_seq:
            return  # of a store that takes no fact any more: it is told, and cannot be one itself
        if not event.is_fact:
            if self.last_seq is not None and event.seq != self.last_seq:
                self._problem(f"progress of fact {event.seq} after fact {self.last_seq}")
            return
        if self.last_seq is not None and event.seq != self.last_seq + 1:
            self._problem(f"fact {event.seq} ({event.name}) after fact {self.last_seq}")
        self.last_seq = event.seq
        self._once(event)

    def _once(self, event: Seen) -> None:
        """Files end once; a session completes once for each time that something went on in it."""
        completes = event.name == "session-completed"
        if completes and self._completed:
            self._problem("session-completed twice, and nothing in between")
        self._completed = completes
        if event.name in ("upload-completed", "upload-cancelled"):
            of = event.payload["fileId"]
            if of in self._ended:
                self._problem(f"{event.name} of {of}, which had ended")
            self._ended.add(of)

    def _problem(self, what: str) -> None:
        self._ledger.problem(self._who, what)


class Excuses:
    """When the run did something to the server that explains refusals, silence and errors in its log."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, float, float]] = []  # what, from, to: Unix seconds
        self._now: Counter[str] = Counter()

    @contextmanager
    def during(self, what: str, clock: Callable[[], float], grace_s: float = 3.0) -> Iterator[None]:
        """From now to `grace_s` after the block: clients need a moment until they hear that it is over."""
        began = clock()
        index = len(self.spans)
        self.spans.append((what, began, float("inf")))
        try:
            yield
        finally:
            self.spans[index] = (what, began, clock() + grace_s)

    def at(self, moment: float) -> str | None:
        """What went on then; None if nothing did."""
        return next((what for what, start, stop in self.spans if start <= moment <= stop), None)

    def between(self, start: float, stop: float) -> str | None:
        """What went on at any time between."""
        return next((what for what, begun, over in self.spans if begun <= stop and start <= over), None)
