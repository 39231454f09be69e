"""A session in memory: its files, what they sum up to, its facts and who watches them.

Everything here is synchronous but `record`, the one way by which a change becomes durable and then known:
rows and facts go into one commit, and facts go out only after it, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import trio

from penstock.protocol.events import Event
from penstock.protocol.lifecycle import ENDED, Input, State, advance
from penstock.protocol.overall import OverallStatus, Tally, overall_status
from penstock.protocol.progress import SpeedWindow, Throttle
from penstock.server.settings import Settings
from penstock.server.uploads import facts
from penstock.server.uploads.facts import Stamp
from penstock.server.uploads.file import LiveFile, declared_bytes_to_come
from penstock.server.uploads.ring import Entry, Ring
from penstock.storage.errors import StoreError
from penstock.storage.state.base import (
    AddFact,
    Change,
    FileRow,
    SaveFile,
    SaveSession,
    SessionRow,
    StateStore,
)

if TYPE_CHECKING:
    from penstock.server.uploads.append import Append
    from penstock.server.uploads.space import Space
    from penstock.server.uploads.watch import Watch

FactMaker = Callable[[Stamp], Event]

_NOTHING = nullcontext()


class _Change:
    """See `LiveSession.changing`. No generator: small files go through some of them each."""

    __slots__ = ("_file", "_outer", "_session")

    def __init__(self, session: LiveSession, file: LiveFile) -> None:
        self._session = session
        self._file = file

    def __enter__(self) -> None:
        self._outer = self._session.begin_change(self._file)

    def __exit__(self, *_: object) -> None:
        self._session.end_change(self._file, self._outer)


class LiveSession:
    """A session with its files, while it is in memory. See `registry` for how it comes and goes."""

    def __init__(
        self,
        row: SessionRow,
        files: Sequence[FileRow],
        *,
        store: StateStore,
        space: Space,
        settings: Settings,
        now: Callable[[], float],
        on_fault: Callable[[LiveSession, StoreError], None],
        on_news: Callable[[LiveSession], None],
    ) -> None:
        self.row = row
        self.files: dict[str, LiveFile] = {}
        self.partials: dict[str, LiveFile] = {}  # pieces of files to come: in no list, no sum and no event
        self.tally = Tally()
        self.ring = Ring(row.seq, settings.ring_facts, settings.ring_bytes)
        self.watches: set[Watch] = set()
        self.lock = trio.Lock()  # one command at a time; appends never take it
        self.changed = trio.lowlevel.ParkingLot()  # appends that wait for a file to let them in
        self.adding = 0  # requests that are still adding files
        self.users = 0  # calls that may change it: meanwhile it stays in memory
        self.gone = False  # has left memory: watchers end, a next touch loads it anew
        self.farewell: Entry | None = None  # what they are told last
        self.moving: LiveFile | None = None  # the one whose bytes came last
        self.version = 0  # moves with every change a poller could see
        self.settings = settings
        self.now = now
        self.loaded_at = now()
        self._store = store
        self._space = space
        self._on_fault = on_fault
        self._on_news = on_news
        self._unpublished: deque[tuple[Entry, list[bool]]] = deque()
        self._peak_percent = 0.0
        self._commits = 0  # that were asked for
        self._changing: LiveFile | None = None
        for file_row in files:
            self._place(LiveFile(file_row))
        for file in self.all_files:
            file.whole = self.files.get(file.row.part_of or "")
            if file.whole is not None and not file.ended:
                file.whole.parts.append(file)
        for file in self.all_files:
            self._count(file, +1)
            file.reserved_in_store = declared_bytes_to_come(file.row)
            space.release(file.reserved_in_store)  # was reserved since it was registered

    @property
    def session_id(self) -> str:
        return self.row.session_id

    @property
    def epoch(self) -> str:
        return self._store.epoch

    @property
    def all_files(self) -> list[LiveFile]:
        """Its files and partials."""
        return [*self.files.values(), *self.partials.values()]

    def find(self, file_id: str) -> LiveFile | None:
        """A file or a partial."""
        return self.files.get(file_id) or self.partials.get(file_id)

    # What it sums up to

    def lapsed(self, now: float) -> bool:
        """Whether its retrying files have waited too long and count as ended."""
        return bool(self.tally.retrying) and now - self.row.active_at > self.settings.retry_wait_s

    def overall_status(self, now: float) -> OverallStatus:
        return overall_status(self.tally, latch=self.row.latch, lapsed=self.lapsed(now))

    def total_percent(self, now: float) -> float:
        """Never goes down until files are added or begun anew; 100 when completed."""
        if self.overall_status(now) is OverallStatus.COMPLETED:
            return 100.0
        self._peak_percent = max(self._peak_percent, self.tally.percent())
        return self._peak_percent

    def latched(self, file: LiveFile) -> bool:
        """Whether the session-wide pause holds this file."""
        return self.row.latch and not file.judged.row.exempt

    # Changes in memory

    def changing(self, file: LiveFile) -> AbstractContextManager[None]:
        """Around every change of a file that the sums could see. Never around a wait; within itself it is
        nothing."""
        return _NOTHING if self._changing is file else _Change(self, file)

    def begin_change(self, file: LiveFile) -> LiveFile | None:
        """See `changing`. Returns what `end_change` is to be given."""
        outer, self._changing = self._changing, file
        self._count(file, -1)
        # A partial's bytes are its file's progress, and its size is part of what that reserves.
        if file.whole is not None and file.whole is not outer:
            self._count(file.whole, -1)
        return outer

    def end_change(self, file: LiveFile, outer: LiveFile | None) -> None:
        self._count(file, +1)
        if file.whole is not None and file.whole is not outer:
            self._count(file.whole, +1)
        self._changing = outer

    def add_file(self, row: FileRow) -> LiveFile:
        file = LiveFile(row)
        file.recovered = True  # nothing to recover: it has no bytes yet
        self._place(file)
        self._count(file, +1)
        self._peak_percent = 0.0
        self._reopen()
        return file

    def add_partial(self, row: FileRow) -> LiveFile:
        """A piece of a file: of this session's file `part_of`, or of one that is not known yet."""
        partial = LiveFile(row)
        partial.recovered = True
        partial.whole = self.files.get(row.part_of or "")
        self._place(partial)
        if partial.whole is None:
            self._count(partial, +1)
            return partial
        with self.changing(partial.whole):
            partial.whole.parts.append(partial)
            self._count(partial, +1)
        return partial

    def move(self, file: LiveFile, got: Input) -> bool:
        """Apply a lifecycle input; True if the state changed. Raises: the table's refusal."""
        state = advance(file.row.state, got, file.circumstances())
        if state is file.row.state:
            return False
        with self.changing(file):
            file.row.state = state
            if state in ENDED:
                file.row.ended_at = self.now()
                file.throttle = file.speed = None
        if state is not State.FAILED and not file.row.is_partial:  # retrying ones have counted as failed
            self._reopen()
        if self.changed:
            self.changed.unpark_all()
        return True

    def restart(self, file: LiveFile) -> None:
        """Begin a file's new attempt."""
        with self.changing(file):
            file.restart()
        self._peak_percent = 0.0

    def begin_anew(self, file: LiveFile) -> None:
        """As `restart`, while nothing of the new attempt is here: its first byte will start it."""
        if file.row.state is State.FAILED:
            self.move(file, Input.START)
        with self.changing(file):
            file.restart()
            file.row.started_at = None
        self._peak_percent = 0.0

    def set_length(self, file: LiveFile, length: int) -> None:
        """Make a file's size known."""
        with self.changing(file):
            file.row.file_size = length

    def set_append(self, file: LiveFile, append: Append | None) -> None:
        """Give or take back the lease."""
        with self.changing(file):
            file.append = append
        self.changed.unpark_all()

    def note_activity(self) -> None:
        if self.tally.unended:
            self._reopen()  # retrying files have counted as ended
        self.row.active_at = self.now()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Around a call that may change it: it does not leave memory meanwhile."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1

    # Bytes and progress

    def note_bytes(self, file: LiveFile, count: int) -> None:
        """Count bytes taken off the wire, and let watchers know when that is due."""
        now = self.row.active_at = self.now()
        if file.row.is_partial or file.parts:
            with self.changing(file):
                file.received += count
            if file.judged.row.is_partial or file.judged.ended:
                return  # a piece of no file that anybody watches
            file = file.judged
        else:
            file.received += count
            if file.row.file_size is not None:
                self.tally.received_bytes += count
                if not self.gone:
                    self._space.release(count)
        self.version += 1
        self.moving = file
        if file.speed is None or file.throttle is None:
            self._start_meter(file, now)
        assert file.speed is not None
        assert file.throttle is not None
        file.speed.add(now, count)
        if self.watches and file.throttle.due(now, self._known_percent(file)):
            self._sample(file, now)

    def sample_now(self, file: LiveFile) -> None:
        """Send progress whatever the throttle says: first and last are never swallowed."""
        now = self.now()
        if file.throttle is not None:
            file.throttle.sent(now, self._known_percent(file))
        if self.watches:
            self._sample(file, now)

    def sample_of(self, file_id: str) -> Entry | None:
        file = self.files.get(file_id)
        return file.sample if file else None

    def stamp(self) -> Stamp:
        """For an event that takes no seq of its own: it repeats the last one that is known outside."""
        return Stamp(self.session_id, self.ring.seq, self._store.epoch, self.now())

    # Making it durable, and known

    async def record(
        self,
        files: Sequence[LiveFile] = (),
        makers: Sequence[FactMaker] = (),
        *,
        extra: Sequence[Change] = (),
        hard: bool = False,
    ) -> None:
        """Commit the session, these files and these facts together, then publish the facts.

        Adds `session-completed` when this was the last thing missing. Not cancellable: it waits for the disk
        only. Raises: StoreError, and then the session is broken: see `registry`.
        """
        if self.gone:
            raise StoreError("the session has left memory: what is here may be out of date")
        self.version += 1
        now = self.now()
        entries = [self._next_entry(maker, now) for maker in makers]
        if self.completes:
            entries.append(self._completion())
            hard = True
        changes: list[Change] = [SaveSession(self.row), *(SaveFile(file.row) for file in files)]
        changes += [AddFact(self.session_id, entry.seq, entry.packed) for entry in entries]
        reserved = [declared_bytes_to_come(file.row) for file in files]
        settled = [False]
        self._commits += 1
        commit = self._commits
        self._unpublished.extend((entry, settled) for entry in entries)
        # A commit that was begun must be waited for: rows in memory already say what it makes durable.
        with trio.CancelScope(shield=True), self.in_use():
            try:
                await self._store.commit([*changes, *extra], hard=hard)
            except StoreError as error:
                self._unpublished = deque(pair for pair in self._unpublished if pair[1] is not settled)
                self._on_fault(self, error)
                raise
        for file, count in zip(files, reserved, strict=True):
            if commit > file.recorded:  # commits are made in order, but who is woken first is chance
                self._note_reserved(file, count)
                file.recorded = commit
        settled[0] = True
        self._publish_settled()

    def _note_reserved(self, file: LiveFile, count_bytes: int) -> None:
        """What its row reserves from now on, while it is not in memory."""
        if self.gone:  # a commit before this one failed: it left with what was so before
            self._space.release(file.reserved_in_store)
            self._space.reserve(count_bytes)
        file.reserved_in_store = count_bytes

    async def record_pause(self, files: Sequence[LiveFile]) -> None:
        """Commit and tell the pause of these files. Raises: StoreError."""
        makers = [partial(facts.progress, self, file, fact=True, status="paused") for file in files]
        await self.record(files, makers)

    def leave(self, farewell: FactMaker | None = None) -> None:
        """Leave memory: watchers get what is left, then the farewell (an event that could not be stored)."""
        if not self.gone:
            for file in self.all_files:
                self._space.release(file.reserved_bytes)
                self._space.reserve(file.reserved_in_store)
        self.gone = True
        if farewell is not None:
            stamp = self.stamp()
            self.farewell = Entry(stamp.seq, (farewell(stamp),))
        self.wake_all()

    def _next_stamp(self, now: float) -> Stamp:
        self.row.seq += 1
        return Stamp(self.row.session_id, self.row.seq, self._store.epoch, now)

    def _next_entry(self, maker: FactMaker, now: float) -> Entry:
        stamp = self._next_stamp(now)
        return Entry.fact(stamp.seq, (maker(stamp),))

    @property
    def completes(self) -> bool:
        """Whether everything has ended that was to come, and nobody was told yet."""
        if self.row.ended_at is not None or self.row.open or self.adding:
            return False
        return self.tally.all_ended(lapsed=self.lapsed(self.now()))

    def _completion(self) -> Entry:
        """The fact, and after it exactly one last progress with the terminal status."""
        stamp = self._next_stamp(self.now())
        self.row.ended_at = stamp.at
        events = (facts.session_completed(self, stamp), facts.session_progress(self, stamp))
        return Entry.fact(stamp.seq, events)

    def _publish_settled(self) -> None:
        while self._unpublished and self._unpublished[0][1][0]:
            if self._unpublished[0][0].seq != self.ring.seq + 1:
                return  # one before it could not be stored: the session is broken
            self.ring.append(self._unpublished.popleft()[0])
        self._on_news(self)

    def wake_all(self) -> None:
        """Let every watcher's writer look for itself."""
        for watch in self.watches:
            watch.wake()

    # Inside

    def _reopen(self) -> None:
        self.row.ended_at = None

    def _place(self, file: LiveFile) -> None:
        (self.partials if file.row.is_partial else self.files)[file.file_id] = file

    def _count(self, file: LiveFile, sign: int) -> None:
        row = file.row
        if not row.is_partial:
            tally = self.tally
            tally.shift(row.state, sign)
            if row.started_at is not None:
                tally.started += sign
            if row.state is State.UPLOADING and file.is_appended:
                tally.appending += sign
            if file.counts_bytes:
                tally.known_bytes += sign * (row.file_size or 0)
                tally.received_bytes += sign * (file.arrived_bytes if file.parts else file.received)
        if not self.gone and (reserved := file.reserved_bytes):  # else its rows reserve again
            self._space.reserve(sign * reserved)

    def _start_meter(self, file: LiveFile, now: float) -> None:
        settings = self.settings
        file.speed = file.speed or SpeedWindow(now)
        file.throttle = file.throttle or Throttle(
            settings.progress_interval_s, settings.progress_min_percent, settings.progress_at_least_s
        )

    def _known_percent(self, file: LiveFile) -> float | None:
        unknown = file.row.file_size is None and file.expected_bytes is None
        return None if unknown else file.percent()

    def _sample(self, file: LiveFile, now: float) -> None:
        stamp = self.stamp()._replace(at=now)
        self.show(file, Entry(stamp.seq, (facts.progress(self, file, stamp),)))

    def show(self, file: LiveFile, sample: Entry) -> None:
        """Make this the file's newest progress."""
        file.sample = sample
        self.version += 1
        for watch in self.watches:
            watch.touch(file.file_id)
        self._on_news(self)
