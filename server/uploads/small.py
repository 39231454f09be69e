"""A request that adds files to a session, and its small ones: whole files, stored many at a time.

Files whose bytes are all here need no append: nobody could pause what has already come. They go from
registration to finishing in memory, to their places in one hop, and into the state store with one commit. A
crash before that commit leaves bytes that no row knows, never a row without bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from functools import partial
from typing import NamedTuple

import msgspec
import trio

from penstock.protocol.commands import FileSpec
from penstock.protocol.errors import GatewayError
from penstock.protocol.events import UploadProgress
from penstock.protocol.lifecycle import Input, State
from penstock.server.settings import KIB
from penstock.server.uploads import facts
from penstock.server.uploads.admission import Admission
from penstock.server.uploads.buffers import BufferPool
from penstock.server.uploads.creation import Creation
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.finishing import Finisher, complete
from penstock.server.uploads.ring import Entry
from penstock.server.uploads.session import FactMaker, LiveSession
from penstock.storage.blobs.base import BlobStore, SmallBlob
from penstock.storage.errors import StoreError
from penstock.storage.state.base import FileRow

MAX_SMALL_BYTES = 256 * KIB  # beyond it an append of its own costs little in comparison
MAX_BATCH = 256  # files: a commit of them holds up the writer thread for some milliseconds


class Stored(NamedTuple):
    """A file that is complete."""

    file_id: str
    upload_path: str


class Declined(NamedTuple):
    """A file that could not be stored this way: an append will, or will say why not."""

    file_id: str | None  # None: not registered
    content: bytes


class _Part(NamedTuple):
    name: str
    spec: FileSpec
    start: int
    size: int


class _Ready(NamedTuple):
    file: LiveFile
    before: FileRow | None  # as it was, should the storage fail; None: not registered before
    content: memoryview
    sample: UploadProgress | None  # for those who watch


class Intake:
    """Made by `Gateway.adding`: while it lives the session does not complete. One task uses it."""

    def __init__(
        self,
        session: LiveSession,
        *,
        blobs: BlobStore,
        pool: BufferPool,
        admission: Admission,
        creation: Creation,
        finisher: Finisher,
        boot_id: str,
    ) -> None:
        self._session = session
        self._blobs = blobs
        self._pool = pool
        self._admission = admission
        self._creation = creation
        self._finisher = finisher
        self._boot_id = boot_id
        self._buffer: bytearray | None = None
        self._used = 0
        self._parts: list[_Part] = []

    @property
    def session_id(self) -> str:
        return self._session.session_id

    @property
    def watch_key(self) -> str:
        return self._session.row.watch_key

    @property
    def category(self) -> str:
        return self._session.row.category

    def registered(self, file_id: str) -> bool:
        """Whether the session has a file of that id."""
        return file_id in self._session.files

    def takes_small(self, name: str) -> bool:
        """Whether a file of that field name may be kept here. If not, it must be appended: it may be held."""
        return (bool(self._parts) or self._admission.well) and self._is_free(name)  # `store` looks again

    def _is_free(self, name: str) -> bool:
        file = self._session.files.get(name)
        if file is None:
            return not self._session.row.latch
        return not self._session.latched(file) and _is_fresh(file)

    def has_room(self, size: int) -> bool:
        """Whether `hold` would not need to `store` first."""
        if self._buffer is None:
            return True
        return self._used + size <= len(self._buffer) and len(self._parts) < MAX_BATCH

    async def hold(self, name: str, spec: FileSpec, pieces: Iterable[memoryview], size: int) -> bool:
        """Keep a whole file until `store`; there must be room. False if buffers are too small just now, and
        then nothing was taken. Waits for a buffer where there is none. Cancel-safe."""
        if self._buffer is None:
            self._pool.enter()
            try:
                self._buffer = await self._pool.take()
            finally:
                if self._buffer is None:
                    self._pool.leave()
        if size > len(self._buffer):
            self.drop()  # who goes on to append needs one, too
            return False
        end = self._used
        for piece in pieces:
            self._buffer[end : end + len(piece)] = piece
            end += len(piece)
        self._parts.append(_Part(name, spec, self._used, size))
        self._used = end
        return True

    def drop(self) -> None:
        """Forget what is held. Idempotent."""
        self._parts, self._used = [], 0
        if self._buffer is not None:
            self._pool.give_back(self._buffer)
            self._pool.leave()
            self._buffer = None

    async def store(self) -> list[Stored | Declined]:
        """Store what is held: the outcome of each file, in order. Not cancellable; waits for the disk only.

        Raises: StoreError when what was stored could not be committed.
        """
        try:
            with trio.CancelScope(shield=True):
                return await self._store()
            raise AssertionError("a shield is not cancelled")
        finally:
            self.drop()

    async def _store(self) -> list[Stored | Declined]:
        assert self._buffer is not None
        with memoryview(self._buffer) as buffer:
            contents = [buffer[part.start : part.start + part.size] for part in self._parts]
            begun = self._begin_all(contents)
            ready = [one for one in begun if one is not None]
            kept = await self._keep(ready)
            outcomes = [
                self._outcome(one, content, kept=kept) for one, content in zip(begun, contents, strict=True)
            ]
            for content in contents:
                content.release()
        return outcomes

    def _outcome(self, one: _Ready | None, content: memoryview, *, kept: bool) -> Stored | Declined:
        if one is None:
            return Declined(None, bytes(content))
        file = one.file
        if not kept:
            return Declined(file.file_id, bytes(content))
        return Stored(file.file_id, facts.upload_path(self.category, file.row.stored_name or ""))

    def _begin_all(self, contents: Sequence[memoryview]) -> list[_Ready | None]:
        """Take files to finishing, in memory; None for one that has to go another way."""
        if not self._admission.well:
            return [None] * len(contents)
        now, begun = self._session.now(), []
        for part, content in zip(self._parts, contents, strict=True):
            ready = self._begin(part, content, now)
            if ready is not None:
                ready.file.published = True  # from here on it is too late to cancel
            begun.append(ready)
        return begun

    def _begin(self, part: _Part, content: memoryview, now: float) -> _Ready | None:
        session = self._session
        if part.size > (session.settings.max_file_bytes or part.size) or not self._is_free(part.name):
            return None
        file, before = session.files.get(part.name), None
        if file is None:
            try:
                file = self._creation.enrol_whole(session, part.spec, part.size, now)
            except GatewayError:
                return None  # it will be refused with the same reason, for itself
        elif file.row.file_size not in (None, part.size):
            return None
        else:
            before = copy(file.row)
            self._fill(file, part.size)
        return _Ready(file, before, content, self._sample(file) if session.watches else None)

    def _fill(self, file: LiveFile, size: int) -> None:
        session, row = self._session, file.row
        with session.changing(file):
            session.move(file, Input.START)
            row.started_at = row.started_at or session.now()
            row.file_size = size
            row.promise, row.boot_id = session.settings.fsync, self._boot_id
            self._finisher.begin(session, file)

    def _sample(self, file: LiveFile) -> UploadProgress:
        with self._session.changing(file):
            file.received = file.row.file_size or 0
        return facts.progress(self._session, file, self._session.stamp())

    async def _keep(self, ready: Sequence[_Ready]) -> bool:
        """Bytes first, then rows and facts. False if the bytes could not be stored: all is as before.

        Raises: StoreError.
        """
        if not ready:
            return True
        session = self._session
        session.note_activity()
        blobs = [
            SmallBlob(one.file.row.blob_key, one.file.row.stored_name or "", one.content) for one in ready
        ]
        try:
            await self._blobs.store_small(self.category, blobs)
        except StoreError:
            for one in ready:
                _rewind(session, one)
            await session.record([one.file for one in ready], hard=True)
            return False
        await self._commit(ready)
        return True

    async def _commit(self, ready: Sequence[_Ready]) -> None:
        session = self._session
        makers: list[FactMaker] = []
        started_seqs: list[int] = []
        for one in ready:
            if one.before is None or one.before.started_at is None:
                makers.append(partial(facts.started, one.file))
            started_seqs.append(session.row.seq + len(makers))
            makers.append(partial(facts.completed, one.file, self.category))
        finished = [complete(session, one.file) for one in ready]
        await session.record([one.file for one in ready], makers, extra=finished, hard=True)
        # No watcher has run since: each finds the sample between the two facts.
        for one, seq in zip(ready, started_seqs, strict=True):
            if one.sample is not None:
                sample = msgspec.structs.replace(one.sample, seq=seq)
                session.show(one.file, Entry(seq, (sample,)))


def _is_fresh(file: LiveFile) -> bool:
    """Whether nothing of it is here, and nobody brings it or waits to."""
    waits = file.append is not None or file.held
    untouched = file.recovered and file.arrived_bytes == 0 and not waits and not file.row.digest_wanted
    return untouched and file.row.state in (State.PENDING, State.UPLOADING)


def _rewind(session: LiveSession, one: _Ready) -> None:
    with session.changing(one.file):
        one.file.row = one.before or _begun_anew(one.file.row)
        one.file.received = 0
    one.file.published = False


def _begun_anew(row: FileRow) -> FileRow:
    """As if it had only been registered, without a size."""
    return msgspec.structs.replace(
        row, state=State.PENDING, file_size=None, started_at=None, stored_name=None
    )
