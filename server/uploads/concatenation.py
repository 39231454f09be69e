"""tus concatenation: a file made of partials, once, however often it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import trio

from penstock.protocol.errors import (
    FileNotFound,
    FileSizeExceeded,
    InvalidMessage,
    OffsetMismatch,
    SessionNotFound,
    UploadAlreadyCompleted,
)
from penstock.protocol.lifecycle import State
from penstock.server.settings import Settings
from penstock.server.uploads.actor import Actor
from penstock.server.uploads.admission import Admission, Claim
from penstock.server.uploads.assembly import Piece, bytes_to_copy
from penstock.server.uploads.commands import Commands, find_file
from penstock.server.uploads.idempotency import Answers, IdempotencyKey
from penstock.server.uploads.recovery import Recovery
from penstock.server.uploads.registry import Registry
from penstock.server.uploads.resources import Appending, Made, NewUpload, Place, Resources
from penstock.server.uploads.space import Space
from penstock.storage.blobs.base import BlobStore
from penstock.storage.state.base import AnswerRow


class Concatenation:
    """Makes final uploads. Part of the gateway's door."""

    def __init__(
        self,
        resources: Resources,
        blobs: BlobStore,
        settings: Settings,
        *,
        registry: Registry,
        commands: Commands,
        recovery: Recovery,
        answers: Answers,
        admission: Admission,
        space: Space,
        append: Appending,
    ) -> None:
        self._resources = resources
        self._blobs = blobs
        self._settings = settings
        self._registry = registry
        self._commands = commands
        self._recovery = recovery
        self._answers = answers
        self._admission = admission
        self._space = space
        self._append = append

    async def run(self, actor: Actor, wanted: NewUpload, concat: str, upload_ids: Sequence[str]) -> Made:
        """Put a file together from complete partials; returns when it is finished. Cancel-safe: a repetition
        joins the one that is at work, or goes on where it was left, and finds the one that is done.

        `concat` is the header as it came. Raises: as `Resources.create`; InvalidMessage when a partial is
        missing, unfinished or none; FileSizeExceeded when too much would have to be copied.
        """
        self._admission.refuse_if_unwell()
        wanted = msgspec.structs.replace(wanted, upload_concat=concat, partial=False)
        place = await self._final(actor, wanted, upload_ids)
        await self._assemble(actor, place, concat, upload_ids)
        if not self._settings.keep_partials:
            for upload_id in dict.fromkeys(upload_ids):
                await self._drop_partial(actor, upload_id)
        session = await self._registry.writable(actor, place.session_id)
        return Made(place, find_file(session, place.file_id).durable, None, fresh=False)

    async def _pieces(self, actor: Actor, upload_ids: Sequence[str]) -> list[Piece]:
        return [await self._piece(actor, upload_id) for upload_id in upload_ids]

    async def _piece(self, actor: Actor, upload_id: str) -> Piece:
        try:
            place = await self._resources.find(actor, upload_id)
            session = await self._registry.writable(actor, place.session_id)
            partial = find_file(session, place.file_id)
            await self._recovery.touch(session, partial)
        except (FileNotFound, SessionNotFound):
            raise InvalidMessage(f"Upload-Concat: there is no upload {upload_id}") from None
        row = partial.row
        if not row.is_partial or partial.ended:
            raise InvalidMessage(f"Upload-Concat: {upload_id} is no partial upload, or is gone")
        if row.file_size is None or partial.durable != row.file_size:
            raise InvalidMessage(f"Upload-Concat: {upload_id} is not finished; send the rest of it first")
        session.note_activity()  # it must not expire while it is copied
        return Piece(row.blob_key, 0, row.file_size)

    async def _final(self, actor: Actor, wanted: NewUpload, upload_ids: Sequence[str]) -> Place:
        """The upload of this list of partials: made now, or by an earlier request for the same."""
        what = repr((list(upload_ids), wanted.upload_metadata))
        name = hashlib.sha256(what.encode()).hexdigest()
        key = IdempotencyKey(f"{actor.subject} concatenation", name, name)
        async with self._answers.claim(key) as first:
            living = await self._living(actor, first, wanted) if first is not None else None
            if living is not None:
                return living
            pieces = await self._pieces(actor, upload_ids)
            copied = bytes_to_copy(pieces, await self._blobs.sharing_block())
            self._check_copy(copied)
            await self._space.check(copied)
            wanted = msgspec.structs.replace(wanted, length=sum(piece.count_bytes for piece in pieces))
            with trio.CancelScope(shield=True):  # waits for the disk only
                made = await self._resources.make(actor, wanted, key)
            return made.place
        raise AssertionError("a shield is not cancelled")

    def _check_copy(self, copied_bytes: int) -> None:
        most = self._settings.max_concat_copy_bytes
        if copied_bytes > most:
            raise FileSizeExceeded(
                f"Upload-Concat: {copied_bytes} bytes would have to be copied, at most {most} are while you "
                "wait; upload the file in one piece, or keep the data on a file system that shares extents",
                details={"maxConcatCopyBytes": most},
            )

    async def _living(self, actor: Actor, first: AnswerRow, wanted: NewUpload) -> Place | None:
        place = msgspec.json.decode(first.body, type=Place)
        session = await self._registry.writable(actor, place.session_id)
        row = find_file(session, place.file_id).row
        gone = row.state in (State.CANCELLED, State.FAILED) or row.removed
        given_up = row.upload_concat != wanted.upload_concat  # the file was begun anew, as something else
        return None if gone or given_up else place

    async def _assemble(self, actor: Actor, place: Place, concat: str, upload_ids: Sequence[str]) -> None:
        while True:
            session = await self._registry.writable(actor, place.session_id)
            file = find_file(session, place.file_id)
            await self._recovery.touch(session, file)
            if file.row.upload_concat != concat:
                raise InvalidMessage("Upload-Concat: meanwhile the file was begun anew from something else")
            if file.row.state is State.COMPLETED:
                return
            if file.append is not None:
                await file.append.done.wait()  # somebody else is at it
                continue
            pieces = await self._pieces(actor, upload_ids)
            claim = Claim(file.durable, None, assembles=True)
            with suppress(OffsetMismatch, UploadAlreadyCompleted):  # somebody else was let in before
                async with self._append(actor, place.session_id, place.file_id, claim) as transfer:
                    if transfer.file.row.upload_concat == concat:  # it may have been held
                        await transfer.assemble(pieces)

    async def _drop_partial(self, actor: Actor, upload_id: str) -> None:
        try:
            place = await self._resources.find(actor, upload_id)
            session = await self._registry.writable(actor, place.session_id)
        except (FileNotFound, SessionNotFound):
            return  # an earlier request did it, or it has expired
        partial = find_file(session, place.file_id)
        with trio.CancelScope(shield=True), session.in_use():
            if not partial.ended:
                await self._commands.terminate(session, partial)
