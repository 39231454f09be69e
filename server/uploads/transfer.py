"""An admitted append from its first byte to its end: what a dialect holds while it moves bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import trio

from penstock.protocol.errors import (
    ChecksumMismatch,
    ConnectionTimeout,
    FileSizeExceeded,
    GatewayError,
    InsufficientStorage,
    NetworkError,
    ServerError,
    error_named,
)
from penstock.protocol.lifecycle import Input, State
from penstock.server.peer import Body, BodyBroken
from penstock.server.uploads import facts
from penstock.server.uploads.admission import Admission, Claim, binding_length, needs_restart, stopped
from penstock.server.uploads.append import Append, Overrun, StopReason
from penstock.server.uploads.assembly import Piece, assemble
from penstock.server.uploads.buffers import BufferPool
from penstock.server.uploads.failing import break_off, fail_file
from penstock.server.uploads.finishing import Finisher
from penstock.server.uploads.trouble import Torn, told
from penstock.storage.blobs.base import BlobStore, BlobWriter
from penstock.storage.errors import BlobFault, BlobMissing, StoreError

Fill = Callable[[BlobWriter], Awaitable[None]]


class Transfer:
    """Made by `Gateway.append`, used once: `await transfer.pump(body)`."""

    def __init__(
        self,
        append: Append,
        claim: Claim,
        *,
        admission: Admission,
        blobs: BlobStore,
        pool: BufferPool,
        finisher: Finisher,
    ) -> None:
        self.append = append
        self.file = append.file
        self.session = append.session
        self._claim = claim
        self._admission = admission
        self._blobs = blobs
        self._pool = pool
        self._finisher = finisher
        self._start = append.file.durable
        self._refused = False
        self._failed_before = append.file.row.state is State.FAILED
        self._key = append.file.row.blob_key
        self._hash = claim.digest.start() if claim.digest else None
        append.on_first_byte = self._begin

    async def pump(self, body: Body) -> None:
        """Store the body. Returns when its bytes are durable and the file has moved on: completed, or waiting
        for more. If the caller is cancelled, what was taken is kept all the same.

        Raises: UploadLocked (paused beyond the hold, superseded), UploadCancelled, ServerBusy (draining),
        NetworkError, ConnectionTimeout, FileSizeExceeded, ChecksumMismatch, InsufficientStorage, ServerError.
        """
        await self._move(partial(self._take_in, body))

    async def assemble(self, pieces: Sequence[Piece]) -> None:
        """Put the file together from partials, going on where it was left. As `pump`."""
        await self._move(partial(assemble, self.append, pieces))

    async def _move(self, fill: Fill) -> None:
        error: GatewayError | None = NetworkError("the connection was lost")
        self._pool.enter()
        try:
            error = await self._take(fill)
        finally:
            self._pool.leave()
            # From here on only the disk is waited for, and what was taken must be kept.
            with trio.CancelScope(shield=True):
                error = await self._settle(error)
        if error is not None:
            raise error

    async def _take_in(self, body: Body, writer: BlobWriter) -> None:
        await self.append.run(body, writer, self._limit(self._claim.offset or 0))

    async def _take(self, fill: Fill) -> GatewayError | None:
        """Run the append; the error that ended it, None when it ended well or was stopped."""
        row = self.file.row
        restart = needs_restart(self.file, self._claim)
        start = self._claim.offset or 0
        self._key = f"{row.upload_id}.{row.attempt + 1}" if restart else row.blob_key
        try:
            writer = await self._blobs.open_writer(self._key, at=start)
            self.append.sink.hashes = [self._hash] if self._hash else []
            await fill(writer)
        except BodyBroken as broken:
            timed_out = self.append.stop_reason is StopReason.TIMED_OUT
            return ConnectionTimeout(str(broken)) if timed_out else NetworkError(str(broken))
        except Overrun:
            return self._too_long()
        except GatewayError as refusal:
            self._refused = True  # at its first byte, or for what it is made of
            return refusal
        except BlobMissing as trouble:  # bytes were promised if there are some before `start`
            return told(BlobFault(str(trouble)) if start else trouble)
        except StoreError as trouble:
            return told(trouble)
        return self._too_short() if self._claim.whole and self.append.stop_reason is None else None

    def _too_long(self) -> GatewayError:
        size = self.file.row.file_size
        if size is None:
            size = self.session.settings.max_file_bytes
            return FileSizeExceeded(f"at most {size} bytes are allowed", details={"maxFileBytes": size})
        return FileSizeExceeded(f"the body goes beyond the file's {size} bytes", details={"fileSize": size})

    def _too_short(self) -> GatewayError | None:
        size, came = self.file.row.file_size, self.append.taken_bytes
        if size is None or came >= size:
            return None
        return NetworkError(f"{came} bytes came, the file was registered with {size}")

    def _limit(self, start: int) -> int | None:
        claim, length = self._claim, binding_length(self.file, self._claim)
        most = self.session.settings.max_file_bytes or None
        ends = [end for end in (length, most) if end is not None]
        room = min(ends) - start if ends else None
        if claim.body_bytes is None or (room is not None and room < claim.body_bytes):
            return room
        return claim.body_bytes

    async def _begin(self) -> None:
        await self._admission.begin(self.append, self._claim)
        self._failed_before = False
        self._start = self.file.durable  # 0 in a new attempt

    async def _settle(self, error: GatewayError | None) -> GatewayError | None:
        """Keep what was taken, move the file on, and say what the request is answered."""
        append = self.append
        try:
            if append.cancelled:
                self._forget_unkept()  # others may come before the canceller has waited for all it stops
            else:
                error = await self._keep(error)
                await append.tell_due_pause(last=True)
                await self._conclude(error)
            if self.file.row.state is State.COMPLETED and not isinstance(error, FileSizeExceeded):
                return None  # a stop or a break after the last byte came too late
        except StoreError as trouble:
            self.file.recovered = False  # the next touch looks at what is really there
            error = _first_cause(error, trouble)
            await self._tell_trouble(error)
        finally:
            append.hand_over_rest()
            append.sink.drop_buffers()
            await append.sink.aclose()  # noqa: ASYNC102 - `pump` shields all of this; the disk has no deadline
            await self._drop_unused()  # noqa: ASYNC102 - as above
        row = self.file.row
        if error is None and row.state is State.FAILED and row.error_code and not self._failed_before:
            error = error_named(row.error_code, row.error_message or "")  # it came whole, and was not right
        reason = append.stop_reason
        if reason is not None and (error is None or append.cancelled):
            return stopped(self.session, self.file, reason)
        return error

    async def _drop_unused(self) -> None:
        if self._key != self.file.row.blob_key:  # of a new attempt that never began: no row knows it
            with suppress(StoreError):  # the janitor sweeps it
                await self._blobs.delete(self._key)

    async def _keep(self, error: GatewayError | None) -> GatewayError | None:
        """Write, verify and sync what was taken; afterwards the file has what it promises and no more."""
        append = self.append
        if append.sink.writer is None:
            return error
        try:
            append.hand_over_rest()
            await append.sink.store_rest()
        except StoreError as trouble:  # what was written before it is kept
            append.sink.drop_buffers()
            error = told(trouble)
        try:
            if self._hash is not None:
                error = await self._verify(error)
            await append.sink.make_durable()
        except StoreError as trouble:
            error = _first_cause(error, trouble)
        self._forget_unkept()
        return error

    def _forget_unkept(self) -> None:
        with self.session.changing(self.file):
            self.file.received = self.file.durable

    async def _verify(self, error: GatewayError | None) -> GatewayError | None:
        """Compare the digest; unless it fits, nothing of this request stays. Raises: StoreError."""
        append, row = self.append, self.file.row
        assert self._claim.digest is not None
        assert self._hash is not None
        whole = error is None and append.stop_reason is None
        fits = whole and self._claim.digest.matches(self._hash)
        append.sink.keeps_floor = False
        if row.floor is not None and not fits:
            await self._roll_back(row.floor)
        row.floor = None
        if fits and row.promise != "append":
            await self.session.record([self.file])  # before the bytes count: no sync will commit it
        if whole and not fits:
            return ChecksumMismatch("the body does not have the digest its header says; send it again")
        return error

    async def _roll_back(self, floor: int) -> None:
        """Cut the unverified bytes off, and commit that. Raises: StoreError."""
        await self.append.sink.aclose()
        await self._blobs.cut(self.file.row.blob_key, floor)
        self.file.row.synced, self.file.row.floor = floor, None
        self.file.durable = floor
        await self.session.record([self.file], hard=True)

    async def _conclude(self, error: GatewayError | None) -> None:
        """Move the file on and tell. Raises: StoreError."""
        session, file = self.session, self.file
        clean = error is None and self.append.stop_reason is None
        if clean:
            await self._note_end()
        if file.ended:
            return
        clipped = isinstance(error, FileSizeExceeded) and self._claim.clips
        refused = self._refused or _is_mismatch(error) or clipped
        if isinstance(error, FileSizeExceeded | Torn) and not refused:
            await fail_file(session, file, error)
        elif self._is_whole() and (clean or self.append.taken_bytes) and not _is_mismatch(error):
            await self._finish()  # also if it was stopped: who asks for the offset would take it for done
        elif error is not None and not refused:
            await self._break_off(error)
        else:
            if file.row.is_partial and file.durable == file.row.file_size and self.append.taken_bytes:
                file.row.final_offset = self._start
            session.move(file, Input.BYTES_END)
            await session.record([file])

    async def _break_off(self, error: GatewayError) -> None:
        session, file = self.session, self.file
        added_bytes = file.durable - self._start if self.append.taken_bytes else 0
        await break_off(session, file, error, added_bytes=added_bytes, retry_limit=self._claim.retry_limit)
        if isinstance(error, InsufficientStorage | ServerError):
            await self._tell_trouble(error)

    async def _tell_trouble(self, error: GatewayError) -> None:
        """Watchers pause what they show. Where the session is broken, its farewell has said so."""
        session = self.session
        if session.gone or session.row.hidden:
            return
        with suppress(StoreError):  # then it is broken now
            await session.record(makers=[partial(facts.session_error, session, error, "pause")])

    async def _note_end(self) -> None:
        """What only the end of the body says: that the file is empty, or how long it is."""
        file, claim = self.file, self._claim
        ends_unknown = binding_length(file, claim) is None and claim.ends_file
        empty = self.append.taken_bytes == 0 and (ends_unknown or file.row.file_size == 0)
        if empty and needs_restart(file, claim):
            await self._begin()
        if ends_unknown:
            self.session.set_length(file, file.received)

    def _is_whole(self) -> bool:
        row = self.file.row
        if row.is_partial or row.stays_open or row.state is State.PAUSED:
            return False
        return self.file.durable == row.file_size

    async def _finish(self) -> None:
        if self.append.taken_bytes == 0 and self.file.row.state is not State.UPLOADING:
            await self._begin()  # an empty file starts, too
        self.file.row.final_offset = self._start
        await self._finisher.finish(self.session, self.file)


def _first_cause(error: GatewayError | None, trouble: StoreError) -> GatewayError:
    """Trouble that follows trouble says less than what began it, unless it is that bytes are damaged."""
    follows = isinstance(error, InsufficientStorage | ServerError) and not isinstance(trouble, BlobFault)
    return error if error is not None and follows else told(trouble)


def _is_mismatch(error: GatewayError | None) -> bool:
    return isinstance(error, ChecksumMismatch)
