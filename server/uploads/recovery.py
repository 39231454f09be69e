"""What is there of a file after a restart: decided at its first touch, before it is answered about."""

from __future__ import annotations

from penstock.protocol.errors import ServerError
from penstock.protocol.lifecycle import State
from penstock.server.uploads.failing import fail_file
from penstock.server.uploads.finishing import Finisher
from penstock.server.uploads.session import LiveFile, LiveSession
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
            async with session.lock:
                await self._once(session, file)

    async def _once(self, session: LiveSession, file: LiveFile) -> None:
        if not file.recovered and not file.ended:
            await self._recover(session, file)
        file.recovered = True

    async def _recover(self, session: LiveSession, file: LiveFile) -> None:
        row = file.row
        if row.state is State.FINISHING:
            await self._finisher.publish(session, file)
            return
        size = await self._blobs.size(row.blob_key) or 0
        end = self._end(row, size)
        if end is None:
            await fail_file(
                session, file, ServerError("the machine restarted and its bytes were never synced")
            )
        elif size < max(end, row.synced):
            await fail_file(session, file, ServerError("stored bytes are missing"))
        elif await self._cut(session, file, size, end) and end == row.file_size:
            await self._finisher.finish(session, file)

    def _end(self, row: FileRow, size: int) -> int | None:
        """Where the file's promised bytes end; None when nothing can be said of them."""
        if row.floor is not None:
            return row.floor
        if row.boot_id == self.boot_id:
            return size if row.file_size is None else min(size, row.file_size)
        if row.promise == "append" or size == 0:
            return row.synced
        return None

    async def _cut(self, session: LiveSession, file: LiveFile, size: int, end: int) -> bool:
        """Make `end` the offset: durable first, committed then. False if the store says it cannot be."""
        row = file.row
        if size or row.synced:
            try:
                await self._blobs.cut(row.blob_key, end)
            except (BlobFault, BlobMissing):
                await fail_file(session, file, ServerError("stored bytes could not be synced"))
                return False
        with session.changing(file):
            file.received = file.durable = end
        if (row.synced, row.floor) != (end, None):
            row.synced, row.floor = end, None
            await session.record([file], hard=True)
        return size > 0 or row.file_size == 0
