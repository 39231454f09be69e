"""An admitted append from its first byte to its end: what a dialect holds while it moves bytes."""

from __future__ import annotations

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
)
from penstock.protocol.lifecycle import Input, State
from penstock.server.peer import Body, BodyBroken
from penstock.server.uploads import facts
from penstock.server.uploads.admission import Admission, Claim, needs_restart, stopped
from penstock.server.uploads.append import Append, Overrun, StopReason
from penstock.server.uploads.buffers import BufferPool
from penstock.server.uploads.failing import break_off, fail_file
from penstock.server.uploads.finishing import Finisher
from penstock.storage.blobs.base import BlobStore
from penstock.storage.errors import BlobFault, StoreError, StoreFull


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
        self._hash = claim.digest.start() if claim.digest else None
        append.on_first_byte = self._begin

    async def pump(self, body: Body) -> None:
        """Store the body. Returns when its bytes are durable and the file has moved on: completed, or waiting
        for more. If the caller is cancelled, what was taken is kept all the same.

        Raises: UploadLocked (paused beyond the hold, superseded), UploadCancelled, ServerBusy (draining),
        NetworkError, ConnectionTimeout, FileSizeExceeded, ChecksumMismatch, InsufficientStorage, ServerError.
        """
        error: GatewayError | None = NetworkError("the connection was lost")
        self._pool.enter()
        try:
            error = await self._take(body)
        finally:
            self._pool.leave()
            # From here on only the disk is waited for, and what was taken must be kept.
            with trio.CancelScope(shield=True):
                error = await self._settle(error)
        if error is not None:
            raise error

    async def _take(self, body: Body) -> GatewayError | None:
        """Run the append; the error that ended it, None when it ended well or was stopped."""
        row = self.file.row
        restart = needs_restart(self.file, self._claim)
        start = 0 if restart else self._start
        key = f"{row.upload_id}.{row.attempt + 1}" if restart else row.blob_key
        try:
            writer = await self._blobs.open_writer(key, at=start)
            self.append.hashes = [self._hash] if self._hash else []
            await self.append.run(body, writer, self._limit(start))
        except BodyBroken as broken:
            timed_out = self.append.stop_reason is StopReason.TIMED_OUT
            return ConnectionTimeout(str(broken)) if timed_out else NetworkError(str(broken))
        except Overrun:
            return FileSizeExceeded(f"the body goes beyond the file's {row.file_size} bytes")
        except StoreError as trouble:
            return _store_trouble(trouble)
        return None

    def _limit(self, start: int) -> int | None:
        claim, length = self._claim, self.file.row.file_size
        most = self.session.settings.max_file_bytes or None
        ends = [end for end in (length, most) if end is not None]
        room = min(ends) - start if ends else None
        if claim.body_bytes is None or (room is not None and room < claim.body_bytes):
            return room
        return claim.body_bytes

    async def _begin(self) -> None:
        await self._admission.begin(self.append, self._claim)

    async def _settle(self, error: GatewayError | None) -> GatewayError | None:
        """Keep what was taken, move the file on, and say what the request is answered."""
        append = self.append
        try:
            if not append.cancelled:
                error = await self._keep(error)
                await self._conclude(error)
        except StoreError as trouble:
            self.file.recovered = False  # the next touch looks at what is really there
            error = _store_trouble(trouble)
        finally:
            append.drop_buffers()
            await append.close_writer()
        reason = append.stop_reason
        if reason is not None and (error is None or append.cancelled):
            return stopped(self.session, self.file, reason)
        return error

    async def _keep(self, error: GatewayError | None) -> GatewayError | None:
        """Write, verify and sync what was taken; afterwards the file has what it promises and no more."""
        append = self.append
        if append.writer is None:
            return error
        try:
            await append.store_rest()
            if self._hash is not None:
                error = await self._verify(error)
            await append.make_durable()
            await append.tell_due_pause()
        except StoreError as trouble:
            append.drop_buffers()
            error = _store_trouble(trouble)
        with self.session.changing(self.file):
            self.file.received = self.file.durable
        return error

    async def _verify(self, error: GatewayError | None) -> GatewayError | None:
        """Compare the digest; unless it fits, nothing of this request stays. Raises: StoreError."""
        append, row = self.append, self.file.row
        assert self._claim.digest is not None
        assert self._hash is not None
        whole = error is None and append.stop_reason is None
        fits = whole and self._claim.digest.matches(self._hash)
        append.keeps_floor = False
        if row.floor is not None and not fits:
            await self._roll_back(row.floor)
        row.floor = None  # with the next commit, which promises what is durable
        if whole and not fits:
            return ChecksumMismatch("the body does not have the digest its header says; send it again")
        return error

    async def _roll_back(self, floor: int) -> None:
        """Cut the unverified bytes off, and commit that. Raises: StoreError."""
        await self.append.close_writer()
        await self._blobs.cut(self.file.row.blob_key, floor)
        self.file.row.synced, self.file.row.floor = floor, None
        self.file.durable = floor
        await self.session.record([self.file], hard=True)

    async def _conclude(self, error: GatewayError | None) -> None:
        """Move the file on and tell. Raises: StoreError."""
        session, file = self.session, self.file
        if file.ended:
            return
        if isinstance(error, FileSizeExceeded | _Torn):
            await fail_file(session, file, error)
        elif error is not None and not isinstance(error, ChecksumMismatch):
            await self._break_off(error)
        elif error is None and self.append.stop_reason is None and self._is_whole():
            await self._finish()
        else:
            session.move(file, Input.BYTES_END)
            await session.record([file])

    async def _break_off(self, error: GatewayError) -> None:
        session, file = self.session, self.file
        added_bytes = file.durable - self._start
        await break_off(session, file, error, added_bytes=added_bytes, retry_limit=self._claim.retry_limit)
        if isinstance(error, InsufficientStorage | ServerError):
            await session.record(makers=[partial(facts.session_error, session, error, "pause")])

    def _is_whole(self) -> bool:
        file, claim = self.file, self._claim
        if file.row.file_size is None and claim.ends_file and claim.offset is None:
            self.session.set_length(file, file.received)
        return file.durable == file.row.file_size

    async def _finish(self) -> None:
        if self.append.taken_bytes == 0 and self.file.row.state is not State.UPLOADING:
            await self._begin()  # an empty file starts, too
        await self._finisher.finish(self.session, self.file)


class _Torn(ServerError):
    """Bytes that were promised are gone: the file fails, nothing is papered over."""


def _store_trouble(trouble: StoreError) -> GatewayError:
    if isinstance(trouble, StoreFull):
        return InsufficientStorage("the disk is full; free some space, then resume")
    if isinstance(trouble, BlobFault):
        return _Torn(f"stored bytes are damaged: {trouble}")
    return ServerError(f"the storage is in trouble: {trouble}")
