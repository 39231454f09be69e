"""Upload resources: uploads as tus and the IETF draft see them, each with a URL of its own.

An upload resource is a file of a session (one made for it, or one it joins), or a partial: a piece that is no
file by itself and becomes one with others.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from typing import NamedTuple, Protocol

import msgspec
import trio

from penstock.protocol.commands import FileSpec
from penstock.protocol.errors import (
    FileNotFound,
    InconsistentLength,
    InvalidMessage,
    OffsetMismatch,
    UploadAlreadyCompleted,
    UploadCancelled,
    UploadFailed,
    UploadLocked,
)
from penstock.protocol.lifecycle import State
from penstock.server.settings import Settings
from penstock.server.uploads import offsets
from penstock.server.uploads.actor import Actor
from penstock.server.uploads.admission import RETRY_AFTER_S, Admission, Claim, is_held, locked
from penstock.server.uploads.commands import Commands, find_file
from penstock.server.uploads.creation import Creation
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.idempotency import Answers, IdempotencyKey, remembered
from penstock.server.uploads.offsets import Manner, OffsetReport
from penstock.server.uploads.recovery import Recovery
from penstock.server.uploads.registry import Registry
from penstock.server.uploads.session import LiveSession
from penstock.server.uploads.space import Space
from penstock.server.uploads.transfer import Transfer
from penstock.storage.blobs.base import BlobStore
from penstock.storage.state.base import AnswerRow, StateStore

UNNAMED = "upload"  # what a file is called whose client has no name for it


class NewUpload(msgspec.Struct, frozen=True, kw_only=True):
    """What a creation asks for."""

    file_name: str = UNNAMED
    file_type: str = ""
    length: int | None = None
    session_id: str | None = None  # joins that session ...
    file_id: str | None = None  # ... and that file of it
    category: str | None = None
    metadata: dict[str, str] = {}  # kept with a session that is made for this upload
    upload_metadata: str | None = None  # tus: the header as it came
    upload_concat: str | None = None  # tus: "final;…" as it came, of a file that is made of partials
    partial: bool = False
    stays_open: bool = False  # all bytes do not complete it: its client says when it is
    digest_wanted: str = ""  # of the whole file: "sha-256", or "sha-256=:…:" where it must be this


class Place(NamedTuple):
    """Where an upload resource lies."""

    upload_id: str
    session_id: str
    file_id: str


class Made(NamedTuple):
    """A creation's outcome. Not `fresh`: it was there already, so its request's body is not for it."""

    place: Place
    offset: int
    expires_at: float | None  # Unix seconds
    fresh: bool


class Appending(Protocol):
    """The gateway's `append`."""

    def __call__(
        self, actor: Actor, session_id: str, file_id: str, claim: Claim
    ) -> AbstractAsyncContextManager[Transfer]: ...


class Resources:
    """Creation, lookup and termination of upload resources. Part of the gateway's door."""

    def __init__(
        self,
        store: StateStore,
        blobs: BlobStore,
        settings: Settings,
        *,
        registry: Registry,
        creation: Creation,
        commands: Commands,
        recovery: Recovery,
        answers: Answers,
        admission: Admission,
        space: Space,
        append: Appending,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._settings = settings
        self._registry = registry
        self._creation = creation
        self._commands = commands
        self._recovery = recovery
        self._answers = answers
        self._admission = admission
        self._space = space
        self._append = append

    async def find(self, actor: Actor, upload_id: str) -> Place:
        """Raises: FileNotFound, InsufficientPermissions."""
        found = await self._store.find_upload(upload_id)
        if found is None:
            raise FileNotFound("there is no such upload, or it has expired; create a new one")
        await self._registry.writable(actor, found[0])
        return Place(upload_id, *found)

    async def report(self, actor: Actor, place: Place, manner: Manner) -> OffsetReport:
        """How an upload stands. Cancel-safe.

        Raises: UploadLocked (it is busy; or was cancelled a moment ago, and the manner is POLITE),
        UploadCancelled, UploadFailed (for good), SessionNotFound.
        """
        session = await self._registry.writable(actor, place.session_id)
        file = find_file(session, place.file_id)
        with session.in_use():
            if file.row.is_final:
                manner = Manner.PEEK  # nobody's request writes it
            try:
                report = await offsets.report(session, file, manner, self._recovery)
            except UploadCancelled:
                if manner is Manner.POLITE and _is_fresh_cancel(session, file):
                    raise _stay_away() from None
                raise
        if file.row.state is State.FAILED and not file.row.resumable_after_failure:
            raise UploadFailed(f"the upload failed: {file.row.error_message}; create a new one")
        if manner is Manner.POLITE and report.offset == report.length and not report.complete:
            # It would be taken for complete, and nobody would end it: so it is made so, or not told.
            if file.row.stays_open or is_held(session, file):
                raise locked(session, file)
            await self._complete(actor, place, report.offset)
            report = await self.report(actor, place, Manner.PEEK)
            if not report.complete:
                raise locked(session, file)
        return report

    async def terminate(self, actor: Actor, place: Place) -> None:
        """Stop its requests, remove its bytes. Once begun it is not cancelled: it waits for the disk at most.

        Raises: UploadCancelled (gone already), UploadLocked (being published), InsufficientPermissions.
        """
        session = await self._registry.writable(actor, place.session_id)
        file = find_file(session, place.file_id)
        with trio.CancelScope(shield=True), session.in_use():
            await self._commands.terminate(session, file)

    # Creation

    async def create(
        self, actor: Actor, wanted: NewUpload, idempotency: IdempotencyKey | None = None
    ) -> Made:
        """A new upload, or the one that is meant. Cancel-safe: nothing, or all of it.

        Raises: InvalidMessage, FileSizeExceeded, UnsupportedFormat, InsufficientStorage, ServerBusy,
        IdempotencyKeyReused; when it joins a session also SessionNotFound, UploadAlreadyCompleted,
        UploadCancelled, UploadLocked, InconsistentLength.
        """
        self._admission.refuse_if_unwell()
        async with self._answers.claim(idempotency) as first:
            with trio.CancelScope(shield=True):  # waits for the disk only
                made = await (self._again(actor, first) if first else self.make(actor, wanted, idempotency))
            if made.offset == wanted.length and not (wanted.partial or wanted.stays_open):
                made = await self._complete_whole(actor, made)  # cut here, who asks for it later does it
        return made

    async def make(self, actor: Actor, wanted: NewUpload, key: IdempotencyKey | None) -> Made:
        """As `create`, for callers that have seen to repetitions. Waits for the disk only."""
        self._creation.check_length(wanted.length or 0)
        if wanted.session_id is None:
            if wanted.file_id is not None:
                raise InvalidMessage("fileId: needs the sessionId it belongs to")
            return await self._create_alone(actor, wanted, key)
        session = await self._registry.writable(actor, wanted.session_id)
        with session.in_use():
            self._creation.check_category(session, wanted.category)
            if wanted.partial:
                return await self._add_partial(session, wanted, key)
            if (wanted.file_id or "") not in session.files:
                await self._space.check(wanted.length or 0)
            file = session.files.get(wanted.file_id or "")
            if file is not None:
                return await self._join(session, file, wanted, key)
            file = self._creation.enrol(session, _spec(wanted))
            session.note_activity()
            return await self._commit(session, file, wanted, key)

    async def _create_alone(self, actor: Actor, wanted: NewUpload, key: IdempotencyKey | None) -> Made:
        now, spec = self._registry.now(), _spec(wanted)
        if wanted.partial:
            await self._space.check(wanted.length or 0)
            session = self._creation.hidden_session(actor, now)
            partial = session.add_partial(self._creation.partial_row(session, spec, None))
            return await self._commit(session, partial, wanted, key)
        session, file = await self._creation.session_for_one(
            actor, spec, wanted.category, wanted.metadata, now
        )
        return await self._commit(session, file, wanted, key)

    async def _complete_whole(self, actor: Actor, made: Made) -> Made:
        """A file whose bytes are all here is complete at once; one that is paused, or being written, when
        somebody asks for it later."""
        session = await self._registry.writable(actor, made.place.session_id)
        file = find_file(session, made.place.file_id)
        if file.ended or file.append is not None or is_held(session, file):
            return made
        with suppress(UploadLocked):  # it is meanwhile
            await self._complete(actor, made.place, made.offset)
            return made._replace(expires_at=None, fresh=False)
        return made

    async def _complete(self, actor: Actor, place: Place, offset: int) -> None:
        """Finish a file whose bytes are all there: an append of nothing."""
        claim = Claim(offset, None, assembles=True)
        with suppress(OffsetMismatch, UploadAlreadyCompleted):  # somebody else is at it, or was faster
            async with self._append(actor, place.session_id, place.file_id, claim) as transfer:
                await transfer.assemble([])

    async def _add_partial(self, session: LiveSession, wanted: NewUpload, key: IdempotencyKey | None) -> Made:
        whole = find_file(session, wanted.file_id) if wanted.file_id is not None else None
        await self._space.check((wanted.length or 0) - (whole.reserved_bytes if whole else 0))
        if whole is not None:
            _refuse_if_over(session, whole)  # after the wait: a cancel takes only the parts that are there
        row = self._creation.partial_row(session, _spec(wanted), wanted.file_id)
        session.note_activity()
        return await self._commit(session, session.add_partial(row), wanted, key)

    async def _join(
        self, session: LiveSession, file: LiveFile, wanted: NewUpload, key: IdempotencyKey | None
    ) -> Made:
        """A file that is registered already, perhaps with bytes: nothing of it is lost. But bytes that were
        sent and bytes of partials do not mix, and a failed file begins anew."""
        await self._recovery.touch(session, file)
        await self._space.check(wanted.length or 0 if file.row.file_size is None else 0)
        row, old_key = file.row, file.row.blob_key
        failed = row.state is State.FAILED and not row.resumable_after_failure
        mixed = row.is_final or wanted.upload_concat is not None
        anew = failed or (mixed and file.received > 0)
        _refuse_if_over(session, file)
        _check_length(file, wanted.length, anew=anew)
        is_late = row.file_size is None and wanted.length is not None
        if file.append is not None and (failed or mixed or is_late):
            raise locked(session, file)  # it writes as if it knew all there is to know
        # From here on nothing is waited for.
        session.note_activity()
        if anew:
            session.begin_anew(file)
        if wanted.length is not None:
            session.set_length(file, wanted.length)
            row.size_is_declared = True
        made = await self._commit(session, file, wanted, key)
        if anew:
            await self._blobs.delete(old_key)
        return made

    async def _commit(
        self, session: LiveSession, file: LiveFile, wanted: NewUpload, key: IdempotencyKey | None
    ) -> Made:
        row = file.row
        if not row.is_partial:
            row.upload_concat = wanted.upload_concat
        row.upload_metadata = wanted.upload_metadata
        if file.append is None:  # else that request decides
            row.stays_open = wanted.stays_open
        row.digest_wanted = wanted.digest_wanted or row.digest_wanted
        fresh = file.durable == 0 and file.append is None
        place = Place(row.upload_id, session.session_id, row.file_id)
        await session.record([file], extra=remembered(key, place.session_id, place, session.now()), hard=True)
        return Made(place, file.durable, self._expiry(session), fresh)

    async def _again(self, actor: Actor, first: AnswerRow) -> Made:
        """The upload an earlier request made. Raises: UploadCancelled if it is gone."""
        place = msgspec.json.decode(first.body, type=Place)
        session = await self._registry.writable(actor, place.session_id)
        file = find_file(session, place.file_id)
        await self._recovery.touch(session, file)
        if file.row.state is State.CANCELLED or file.row.removed:
            raise UploadCancelled("Idempotency-Key: the upload it made is gone; use a new key for another")
        return Made(place, file.durable, None if file.ended else self._expiry(session), fresh=False)

    def _expiry(self, session: LiveSession) -> float:
        return session.row.active_at + self._settings.retention_s


def _spec(wanted: NewUpload) -> FileSpec:
    """Raises: InvalidMessage."""
    return FileSpec(
        file_name=wanted.file_name or UNNAMED,
        file_id=wanted.file_id,
        file_size=wanted.length,
        file_type=wanted.file_type[:255],
    )


def _is_fresh_cancel(session: LiveSession, file: LiveFile) -> bool:
    """Whether a command cancelled it a moment ago: its client is still about to come back."""
    ended_at = file.row.ended_at or 0.0
    return not file.row.removed and session.now() - ended_at < session.settings.cancel_grace_s


def _stay_away() -> UploadLocked:
    # tus clients answer "gone" by sending everything again, which is not what a cancel is for.
    return UploadLocked(
        "the upload was cancelled",
        details={"status": State.CANCELLED.value},
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def _refuse_if_over(session: LiveSession, file: LiveFile) -> None:
    state = file.row.state
    if state is State.COMPLETED:
        raise UploadAlreadyCompleted("fileId: the file is complete; register another one to upload again")
    if state is State.CANCELLED:
        raise UploadCancelled("fileId: the file was cancelled; register it again")
    if state is State.FINISHING:
        raise locked(session, file)


def _check_length(file: LiveFile, length: int | None, *, anew: bool) -> None:
    known, here = file.row.file_size, 0 if anew else file.received
    if length is None:
        return
    if known not in (None, length) and (here or file.row.size_is_declared):
        raise InconsistentLength(f"Upload-Length: the file was registered with {known} bytes, not {length}")
    if length < here:
        raise InconsistentLength(f"Upload-Length: {file.durable} bytes of the file are here already")
