"""From the last byte to `upload-completed`: verify, sync, publish, commit, tell. Every step is repeatable."""

from __future__ import annotations

import base64
from functools import partial

import structlog

from penstock.protocol.errors import ChecksumMismatch, ServerError
from penstock.protocol.lifecycle import Input, State
from penstock.protocol.names import stored_name
from penstock.server.settings import MIB
from penstock.server.uploads import facts
from penstock.server.uploads.digests import new_hash
from penstock.server.uploads.failing import fail_file
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.session import LiveSession
from penstock.storage.blobs.base import BlobStore
from penstock.storage.errors import BlobFault, BlobMissing
from penstock.storage.state.base import FinishedRow, SaveFinished

log = structlog.get_logger()

DIGEST_STEP_BYTES = 16 * MIB  # hashed in one hop: a cancel waits for one step at most


class Finisher:
    """Puts whole files into their final place. `server_key` makes their public names."""

    def __init__(self, blobs: BlobStore, server_key: bytes) -> None:
        self._blobs = blobs
        self._server_key = server_key

    async def finish(self, session: LiveSession, file: LiveFile) -> None:
        """Take a file whose last byte is durable to completed (or failed). Raises: StoreError.

        Returns with the file still in finishing if it was cancelled meanwhile: the canceller removes it.
        """
        self.begin(session, file)
        session.sample_now(file)
        await session.record([file], hard=True)  # or a power cut takes the name that the bytes are under
        await self.publish(session, file)

    def begin(self, session: LiveSession, file: LiveFile) -> None:
        """Fix the name it will have; nothing is committed."""
        row = file.row
        row.stored_name = stored_name(
            self._server_key, row.session_id, row.file_id, row.attempt, session.now(), row.file_name
        )
        session.move(file, Input.LAST_BYTE)

    async def publish(self, session: LiveSession, file: LiveFile) -> None:
        """The steps after the name is fixed; a crash may have come between any two. Raises: StoreError."""
        row = file.row
        if row.state is not State.FINISHING or row.stored_name is None:
            return
        try:
            if row.digest_wanted and row.digest is None and not await self._digest(session, file):
                return
            if _is_cancelled(file):
                return
            file.published = True
            await self._blobs.publish(row.blob_key, session.row.category, row.stored_name)
        except (BlobFault, BlobMissing) as error:
            log.warning("not-published", session_id=session.session_id, reason=str(error))
            await fail_file(session, file, ServerError("the stored bytes could not be kept"))
            return
        finished = complete(session, file)
        maker = partial(facts.completed, file, session.row.category)
        await session.record([file], [maker], extra=[finished], hard=True)

    async def _digest(self, session: LiveSession, file: LiveFile) -> bool:
        """Hash the whole file, as was asked for; committed before it is published. False if that ends it.

        Read once more at the end: hash state would not survive a restart. Raises: StoreError.
        """
        row = file.row
        algorithm, _, demanded = row.digest_wanted.partition("=")
        running, at = new_hash(algorithm.replace("-", "")), 0
        while count := await self._blobs.feed(row.blob_key, running, at, DIGEST_STEP_BYTES):
            at += count
            if _is_cancelled(file):
                return False
        digest = base64.b64encode(running.digest()).decode()
        if demanded not in ("", f":{digest}:"):
            await fail_file(session, file, ChecksumMismatch("the whole file does not have its Repr-Digest"))
            return False
        row.digest = f"{algorithm}=:{digest}:"
        await session.record([file], hard=True)
        return True


def complete(session: LiveSession, file: LiveFile) -> SaveFinished:
    """A file is in its place: note it, and say what is to be committed with its row."""
    row = file.row
    with session.changing(file):
        session.move(file, Input.FINISHED)
        file.received = file.durable = row.synced = row.file_size or 0
    return SaveFinished(_finished(session, file))


def _is_cancelled(file: LiveFile) -> bool:
    return file.append is not None and file.append.cancelled


def _finished(session: LiveSession, file: LiveFile) -> FinishedRow:
    row = file.row
    return FinishedRow(
        category=session.row.category,
        stored_name=row.stored_name or "",
        subject=session.row.subject,
        file_name=row.file_name,
        file_type=row.file_type,
        file_size=row.file_size or 0,
        completed_at=session.now(),
        digest=row.digest,
    )
