"""Who may write into a file, and from where: holds, take-overs, and the checks before the first byte.

Nothing of the file is changed until `begin`, which runs when the first byte is here.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import trio

from penstock.protocol.errors import (
    FileSizeExceeded,
    GatewayError,
    InconsistentLength,
    InsufficientPermissions,
    InvalidMessage,
    OffsetMismatch,
    ServerBusy,
    UploadAlreadyCompleted,
    UploadCancelled,
    UploadFailed,
    UploadLocked,
)
from penstock.protocol.lifecycle import Input, State
from penstock.server.uploads import facts
from penstock.server.uploads.append import Append, StopReason
from penstock.server.uploads.digests import Digest
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.health import DiskHealth
from penstock.server.uploads.recovery import Recovery
from penstock.server.uploads.session import LiveSession
from penstock.server.uploads.space import Space
from penstock.storage.blobs.base import BlobStore

RETRY_AFTER_S = 5  # what a refused writer is told: pauses and take-overs are a matter of seconds


class Claim(NamedTuple):
    """What a request says about the bytes it brings."""

    offset: int | None  # where they go; None: they are the whole file, from its beginning
    body_bytes: int | None  # how many; None: until the body ends
    length: int | None = None  # of the whole file, where the request says it ...
    length_field: str = "Content-Range"  # ... and in which field
    ends_file: bool = False  # a file of unknown length is complete at the body's end
    stays_open: bool = False  # more may come even if all bytes are there: its client says when it is complete
    clips: bool = False  # bytes beyond the file's end are refused, but do not fail the file
    assembles: bool = False  # they come from partials, not from the peer
    retry_limit: bool = False  # the dialect cannot resume: breaks that add no byte are counted
    digest: Digest | None = None  # of this body, to be verified before any of it is promised
    whole: bool = False  # a body that ends before the file's registered size has broken off
    expected_bytes: int | None = None  # for the percentage, while the file's size is unknown


class Admission:
    """Lets appends in, one writer a file."""

    def __init__(
        self, blobs: BlobStore, recovery: Recovery, space: Space, max_appends: int, disk_health: DiskHealth
    ) -> None:
        self.running = 0
        self.closed = False  # draining: nobody is let in
        self._blobs = blobs
        self._space = space
        self._recovery = recovery
        self._max_appends = max_appends
        self._disk_health = disk_health

    @property
    def well(self) -> bool:
        """Whether anybody is let in at all."""
        return not self.closed and not self._disk_health()

    def refuse_if_unwell(self) -> None:
        """Before anything waits for the disk. Raises: ServerBusy: draining, or the disk is in trouble."""
        if self.closed:
            raise _busy("the server is shutting down")
        if trouble := self._disk_health():
            raise _busy(f"the disk is in trouble: {trouble['disk']}")

    async def admit(self, visit: Append, claim: Claim) -> None:
        """Wait until the file is ours, and take the lease. Cancel-safe.

        Raises: the refusal (UploadLocked, OffsetMismatch, UploadCancelled, …); StoreError.
        """
        session, file = visit.session, visit.file
        file.held.add(visit)
        try:
            with visit.fresh_scope():
                await self._space.check(_unreserved_bytes(file, claim))
                while not await self._try(visit, claim):
                    pass
        finally:
            file.held.discard(visit)
        if visit.stop_reason is not None:
            raise stopped(session, file, visit.stop_reason)

    def release(self, visit: Append) -> None:
        """Give the lease back. Idempotent."""
        if visit.file.append is visit:
            visit.session.set_append(visit.file, None)
            self.running -= 1
        visit.done.set()

    async def begin(self, visit: Append, claim: Claim) -> None:
        """The first byte is here: start the file (or its new attempt) before anything of it is stored.

        Commits what recovery needs to know; hard where a digest makes the floor, or old bytes go. Raises:
        StoreError; the refusal, if a partial's file has ended since it was let in.
        """
        session, file = visit.session, visit.file
        row = file.row
        if file.whole is not None:
            _check_not_over(session, file.whole, claim)
        old_key = row.blob_key if needs_restart(file, claim) else None
        if old_key is not None:
            session.restart(file)
        first = row.started_at is None or old_key is not None
        if file.whole is not None:
            await _begin_whole(session, file.whole)
        session.move(file, Input.START)
        if row.file_size is None and claim.offset is None and claim.ends_file and claim.body_bytes:
            session.set_length(file, claim.body_bytes)
        with session.changing(file):
            row.started_at = session.now() if first else row.started_at
            self._note_terms(visit, claim)
        told = first and not row.is_partial
        hard = row.floor is not None or old_key is not None  # else a power cut takes us back to the old bytes
        await session.record([file], [partial(facts.started, file)] if told else [], hard=hard)
        if old_key is not None:
            with trio.CancelScope(shield=True):  # no row knows it any more; it waits for the disk only
                await self._blobs.delete(old_key)

    def _note_terms(self, visit: Append, claim: Claim) -> None:
        row = visit.file.row
        row.promise = visit.session.settings.fsync
        row.boot_id = self._recovery.boot_id
        row.floor = visit.file.durable if claim.digest else None
        row.broke_off = False
        row.error_code = row.error_message = None
        visit.sink.keeps_floor = claim.digest is not None
        visit.file.expected_bytes = claim.expected_bytes

    async def _try(self, visit: Append, claim: Claim) -> bool:
        """One round: wait for what is in the way, then check and take. False: look again."""
        session, file = visit.session, visit.file
        await self._hold(session, file)
        await self._recovery.touch(session, file)
        if file.append is not None:
            await self._take_over(file, file.append, claim)
        if is_held(session, file) or file.append is not None:
            return False
        self._check(session, file, claim)
        file.row.fence += 1
        session.set_append(file, visit)
        self.running += 1
        return True

    async def _hold(self, session: LiveSession, file: LiveFile) -> None:
        """A paused file holds the newcomer as it holds a running request."""
        self.refuse_if_unwell()
        if session.latched(file) and not file.row.is_partial and file.row.state is not State.PAUSED:
            await self._pause_latched(session, file)
        with trio.move_on_after(session.settings.pause_hold_s) as waiting:
            while is_held(session, file):
                await session.changed.park()
        if waiting.cancelled_caught:
            raise locked(session, file)

    async def _pause_latched(self, session: LiveSession, file: LiveFile) -> None:
        async with session.lock:
            pausable = file.row.state in (State.PENDING, State.UPLOADING, State.RETRYING)
            if session.latched(file) and pausable and file.append is None:
                session.move(file, Input.PAUSE)
                await session.record_pause([file])

    async def _take_over(self, file: LiveFile, holder: Append, claim: Claim) -> None:
        """The holder is stopped only for a newcomer that can go on from where it stands."""
        session = holder.session
        if claim.assembles and claim.offset is not None:
            raise _mismatch(file, claim.offset)  # who puts the same file together needs no second one
        if claim.offset is None or file.row.state is State.FINISHING:
            raise locked(session, file)
        _check_state(session, file, claim)
        if not file.durable <= claim.offset <= file.received:
            raise _mismatch(file, claim.offset)
        _check_claim(session, file, claim)  # who is refused anyway must not disturb the holder
        holder.stop(StopReason.SUPERSEDED)
        with trio.move_on_after(session.settings.lease_wait_s) as waiting:
            await holder.done.wait()
        if waiting.cancelled_caught:
            raise locked(session, file)

    def _check(self, session: LiveSession, file: LiveFile, claim: Claim) -> None:
        if self.closed or self.running >= self._max_appends:
            raise _busy("as many uploads run as the setting max_appends allows; try again soon")
        _check_state(session, file, claim)
        if claim.offset is not None and claim.offset != file.durable:  # before sizes: they mean nothing there
            raise _mismatch(file, claim.offset)
        _check_claim(session, file, claim)
        if file.row.file_size is None and claim.length is not None:
            session.set_length(file, claim.length)
            file.row.size_is_declared = True
        file.row.stays_open = claim.stays_open


async def _begin_whole(session: LiveSession, whole: LiveFile) -> None:
    """The first byte of a partial starts its file."""
    first = whole.row.started_at is None
    if session.move(whole, Input.START) or first:
        with session.changing(whole):
            whole.row.started_at = whole.row.started_at or session.now()
        await session.record([whole], [partial(facts.started, whole)] if first else [])


def needs_restart(file: LiveFile, claim: Claim) -> bool:
    """Whether this claim means a new attempt: the whole file again, onto bytes or a failure."""
    return claim.offset is None and (file.received > 0 or file.row.state is State.FAILED)


def binding_length(file: LiveFile, claim: Claim) -> int | None:
    """The file's length as far as it binds this claim: a new attempt may have another one, unless the client
    declared it."""
    free = needs_restart(file, claim) and not file.row.size_is_declared
    return None if free else file.row.file_size


def _unreserved_bytes(file: LiveFile, claim: Claim) -> int:
    """How many more bytes than are stored or reserved this claim declares the file to have."""
    declared, known = claim.length, binding_length(file, claim)
    if declared is None and claim.offset is None and claim.ends_file:
        declared = claim.body_bytes
    if declared is not None and known is not None:
        declared = min(declared, known)  # what goes beyond is refused for that, not for want of room
    return (declared or 0) - file.received - file.reserved_bytes


def stopped(session: LiveSession, file: LiveFile, reason: StopReason) -> GatewayError:
    """What the request of a stopped append is answered."""
    if reason is StopReason.CANCELLED:
        return UploadCancelled("the upload was cancelled", details={"status": file.row.state.value})
    if reason is StopReason.DRAINING:
        headers = {"Retry-After": str(RETRY_AFTER_S), "Upload-Offset": str(file.durable)}
        return ServerBusy("the server is shutting down; resume when it is back", headers=headers)
    return locked(session, file)


def locked(session: LiveSession, file: LiveFile) -> UploadLocked:
    """423 with what a client needs to come back."""
    paused = is_held(session, file)
    text = "the upload is paused; resume it" if paused else "another request is writing this file"
    if file.row.state is State.FINISHING:
        text = "the file is being finished"
    return UploadLocked(
        text,
        details={"status": "paused" if paused else file.row.state.value, "offset": file.durable},
        headers={"Upload-Offset": str(file.durable), "Retry-After": str(RETRY_AFTER_S)},
    )


def _busy(text: str) -> ServerBusy:
    return ServerBusy(text, headers={"Retry-After": str(RETRY_AFTER_S)})


def is_held(session: LiveSession, file: LiveFile) -> bool:
    """Whether a pause keeps bytes from it."""
    if {file.row.state, file.judged.row.state} & {State.FINISHING, State.COMPLETED, State.CANCELLED}:
        return False  # too far: it is refused for that
    return file.judged.row.state is State.PAUSED or session.latched(file)


def _mismatch(file: LiveFile, offset: int) -> OffsetMismatch:
    return OffsetMismatch(
        f"the request begins at {offset}, the file has {file.durable} bytes; continue from there",
        offset=file.durable,
    )


def _check_claim(session: LiveSession, file: LiveFile, claim: Claim) -> None:
    _check_state(session, file, claim)
    length = _check_length(session, file, claim)
    if length is not None and claim.body_bytes is not None:
        _check_body(claim.offset or 0, claim, length)


def _check_state(session: LiveSession, file: LiveFile, claim: Claim) -> None:
    if file.whole is not None:
        _check_not_over(session, file.whole, claim)
    _check_not_over(session, file, claim)
    if file.row.is_final and not claim.assembles:
        raise InsufficientPermissions("the file is put together from partial uploads; send bytes to those")


def _check_not_over(session: LiveSession, file: LiveFile, claim: Claim) -> None:
    row = file.row
    if row.state is State.COMPLETED:
        raise UploadAlreadyCompleted("the file is complete; register another one to upload again")
    if row.state is State.CANCELLED:
        raise UploadCancelled("the upload was cancelled; register the file again")
    if row.state is State.FINISHING:
        raise locked(session, file)
    if row.state is State.FAILED and claim.offset is not None and not row.resumable_after_failure:
        raise UploadFailed(f"the file failed ({row.error_message}); send all of it again, without an offset")


def _check_length(session: LiveSession, file: LiveFile, claim: Claim) -> int | None:
    """The file's length as far as it is known with this claim."""
    known, said = binding_length(file, claim), claim.length
    if known is not None and said is not None and known != said:
        raise InconsistentLength(
            f"{claim.length_field}: the file has {known} bytes, not {said}", details={"fileSize": known}
        )
    length = said if known is None else known
    if length is not None and claim.offset is not None and length < file.durable:
        raise InconsistentLength(
            f"{claim.length_field}: {file.durable} bytes are here already, the file cannot have {length}"
        )
    if length is None and claim.ends_file and claim.offset is None:
        length = claim.body_bytes
    limit = session.settings.max_file_bytes
    end = length or (claim.offset or 0) + (claim.body_bytes or 0)
    if limit and end > limit:
        raise FileSizeExceeded(f"at most {limit} bytes are allowed", details={"maxFileBytes": limit})
    return length


def _check_body(start: int, claim: Claim, length: int) -> None:
    assert claim.body_bytes is not None
    if start + claim.body_bytes > length:
        raise FileSizeExceeded(
            f"Content-Length: {claim.body_bytes} bytes from {start} go beyond the file's {length}",
            details={"fileSize": length},
        )
    if claim.offset is None and claim.body_bytes < length:
        raise InvalidMessage(
            f"Content-Length: the file was registered with {length} bytes, not {claim.body_bytes}; "
            "send a part of it with Content-Range"
        )
