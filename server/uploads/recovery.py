"""What is there of a file after a restart: decided at its first touch, before it is answered about."""

from __future__ import annotations

from penstock.protocol.errors import ServerError
from penstock.protocol.lifecycle import Input, State
from penstock.server.uploads.failing import fail_file
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.finishing import Finisher
from penstock.server.uploads.session import LiveSession
from penstock.storage.blobs.base import BlobStore
from penstock.storage.errors import BlobFault, BlobMissing
from penstock.storage.state.base import FileRow


class Recovery:
    """Brings a file's bytes and its row together again: the file says how much is there, the row how much is
    promised. `boot_id` is the kernel's: while it is the same, the page cache has survived."""

    def __init__(self, blobs: BlobStore, boot_id: str, finisher: Finisher) -> None:
        self.boot_id = boot_id
        self._blobs = blobs
        self._finisher = finisher

    async def touch(self, session: LiveSession, file: LiveFile) -> None:
        """Recover a file once. Raises: StoreError. Waits for the disk; cancel-safe between its steps."""
        if not file.recovered:
            with session.in_use():
                async with session.lock:
                    await self._once(session, file)

    async def _once(self, session: LiveSession, file: LiveFile) -> None:
        if not file.recovered and (not file.ended or file.row.resumable_after_failure):
            await self._recover(session, file)
        file.recovered = True

    async def _recover(self, session: LiveSession, file: LiveFile) -> None:
        row = file.row
        found = await self._blobs.size(row.blob_key)
        if row.state is State.FINISHING and (found is None or self._is_kept(row)):
            await self._finisher.publish(session, file)  # where it is in its place, it was synced before
            return
        end, size = self._end(row, found), found or 0
        if end is None:
            await _give_up(session, file, "the machine restarted and its bytes were never synced")
        elif size < max(end, row.synced):
            await _give_up(session, file, "stored bytes are missing")
        elif not await self._cut(session, file, size, end) or file.ended:
            return
        elif found is not None and end == row.file_size and not (row.is_partial or row.stays_open):
            if row.state is State.PAUSED:
                session.move(file, Input.RESUME)  # the pause came too late, its last byte is here
            await self._finisher.finish(session, file)

    def _end(self, row: FileRow, found: int | None) -> int | None:
        """Where the file's promised bytes end; None when nothing can be said of them."""
        if not self._is_kept(row):
            return row.synced if found is None else None  # without a blob nothing was ever promised
        if row.floor is not None:
            return row.floor
        if row.boot_id == self.boot_id:
            return min(found or 0, (found or 0) if row.file_size is None else row.file_size)
        return row.synced

    def _is_kept(self, row: FileRow) -> bool:
        """Whether what was written is there: the page cache has survived, or was not relied on."""
        return row.boot_id == self.boot_id or row.promise == "append"

    async def _cut(self, session: LiveSession, file: LiveFile, size: int, end: int) -> bool:
        """Make `end` the offset: durable first, committed then. False if the store says it cannot be."""
        row = file.row
        if size or row.synced:
            try:
                await self._blobs.cut(row.blob_key, end)
            except (BlobFault, BlobMissing):
                await _give_up(session, file, "stored bytes could not be synced")
                return False
        with session.changing(file):
            file.received = file.durable = end
        if (row.synced, row.floor) != (end, None) or not self._is_kept(row):
            row.synced, row.floor, row.boot_id = end, None, self.boot_id
            await session.record([file], hard=True)
        return True


async def _give_up(session: LiveSession, file: LiveFile, reason: str) -> None:
    if not file.ended:
        await fail_file(session, file, ServerError(reason))
        return
    file.row.resumable_after_failure = False  # it had failed already: only a new attempt is left
    await session.record([file], hard=True)
