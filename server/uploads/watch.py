"""A watcher holds a cursor, not a queue: memory does not grow with watchers, replay costs nothing extra."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from penstock.server.uploads.actor import Role
from penstock.server.uploads.fanout import Lane
from penstock.server.uploads.ring import Entry
from penstock.storage.state.base import StateStore

if TYPE_CHECKING:
    from penstock.server.uploads.session import LiveSession

Place = tuple[object, ...]
"""Where a watch stands: equal for those that have the same things to be told next."""

REPLAY_BATCH = 100  # facts per read of the state store: a few tens of KiB per replaying watcher


class SlowConsumer(Exception):
    """The watcher fell behind the facts that are kept: it can no longer be told everything."""


class Wakeup:
    """How a connection's writer learns that one of its watches has something: one per connection."""

    __slots__ = ("_lot", "_set")

    def __init__(self) -> None:
        self._set = False
        self._lot = trio.lowlevel.ParkingLot()

    def set(self) -> None:
        """Never blocks; several calls before a `wait` are one."""
        self._set = True
        self._lot.unpark_all()

    async def wait(self) -> None:
        """Until `set` was called since the last `wait` returned. Cancel-safe."""
        if self._set:
            await trio.lowlevel.checkpoint()
        else:
            await self._lot.park()
        self._set = False


class Watch:
    """One watcher of one session (or of one of its files): where it stands and what it has not seen.

    `pull` gives what is next: facts in order without gap or double, and of progress only the newest per file,
    never one that is older than the fact before it. Used by one task at a time.
    """

    def __init__(
        self,
        session: LiveSession,
        store: StateStore,
        wakeup: Wakeup,
        *,
        role: Role,
        cursor: int,
        file_id: str | None,
    ) -> None:
        self.session = session
        self.role = role
        self.file_id = file_id
        self.ended = False  # the session has left memory, and all of it was pulled
        self.lane: Lane | None = None  # a shorter way than `pull`, see `fanout`
        self._store = store
        self._wakeup = wakeup
        self._cursor = cursor
        self._dirty: dict[str, None] = {}  # bounded by the session's files that move
        self._replay: deque[Entry] = deque()
        self._pulling = False

    @property
    def cursor(self) -> int:
        """The seq of the last fact pulled."""
        return self._cursor

    def wake(self) -> None:
        self._wakeup.set()

    def touch(self, file_id: str) -> None:
        """Note that a file has a newer progress sample; to be told of it is another matter."""
        if self.file_id is None or self.file_id == file_id:
            self._dirty[file_id] = None

    # The short way

    @property
    def place(self) -> Place:
        return (self._pulling, self._cursor, self.file_id, *self._dirty)

    def upcoming(self) -> list[Entry] | None:
        """What `pull` would give, one after the other. None: only `pull` can do it, or is about to."""
        facts = self.session.ring.after(self._cursor)
        if facts is None or self._pulling or self.session.gone:
            return None
        if self.file_id is not None:
            facts = [fact for fact in facts if concerns(fact, self.file_id)]
        samples = [sample for file_id in self._dirty if (sample := self.session.sample_of(file_id))]
        return sorted([*facts, *samples], key=_seq)  # a sample follows the fact whose seq it repeats

    def passed(self, seq: int, sampled: Iterable[str]) -> None:
        """It was told everything up to this fact, and the newest samples of these files."""
        self._cursor = seq
        for file_id in sampled:
            self._dirty.pop(file_id, None)

    # The way of its own writer

    async def pull(self) -> Entry | None:
        """The next entry, or None: then wait for the wakeup. Cancel-safe.

        Raises: SlowConsumer; StoreError.
        """
        self._pulling = True
        try:
            return await self._pull()
        finally:
            self._pulling = False

    async def _pull(self) -> Entry | None:
        fact = await self._next_fact()
        sample = self._next_sample(before_seq=fact.seq if fact else self._cursor + 1)
        if sample is not None:
            return sample
        if fact is not None:
            self._cursor = fact.seq
        elif self.session.gone and not self.ended:
            self.ended = True
            return self.session.farewell
        return fact

    def _next_sample(self, before_seq: int) -> Entry | None:
        for file_id in list(self._dirty):
            sample = self.session.sample_of(file_id)
            if sample is None:
                del self._dirty[file_id]
            elif sample.seq < before_seq:
                del self._dirty[file_id]
                return sample
        return None

    async def _next_fact(self) -> Entry | None:
        while True:
            entry = await self._fact_after_cursor()
            if entry is None or self.file_id is None or concerns(entry, self.file_id):
                return entry
            self._cursor = entry.seq

    async def _fact_after_cursor(self) -> Entry | None:
        wanted = self._cursor + 1
        if wanted > self.session.ring.seq:
            await trio.lowlevel.checkpoint()
            return None
        entry = self.session.ring.get(wanted)
        if entry is not None:
            await trio.lowlevel.checkpoint()
            return entry
        while self._replay and self._replay[0].seq < wanted:
            self._replay.popleft()
        if not self._replay:
            await self._load()
        return self._replay[0]

    async def _load(self) -> None:
        rows = await self._store.facts(self.session.session_id, after=self._cursor, limit=REPLAY_BATCH)
        self._replay = deque(Entry.stored(seq, packed) for seq, packed in rows)
        if not self._replay or self._replay[0].seq != self._cursor + 1:
            raise SlowConsumer(f"fact {self._cursor + 1} is no longer kept")


def _seq(entry: Entry) -> int:
    return entry.seq


def told_seq(watches: Iterable[Watch], session_id: str, seq: int) -> int:
    """`seq`, or less where one of its watches has not been told of so many facts yet.

    Its client may come back with that number as `since`, and would miss the facts that still wait for it.
    """
    cursors = (watch.cursor for watch in watches if watch.session.session_id == session_id)
    return min(cursors, default=seq)


def concerns(entry: Entry, file_id: str) -> bool:
    """Whether an entry is about a file, or about the whole session."""
    return any(getattr(event, "file_id", None) in (None, file_id) for event in entry.events)
