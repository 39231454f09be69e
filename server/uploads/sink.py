"""The storing half of an append: filled buffers in, bytes in the blob, and what of them is promised."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import trio

from penstock.server.uploads.buffers import BufferPool
from penstock.storage.blobs.base import BlobWriter, Hash

if TYPE_CHECKING:
    from penstock.server.uploads.file import LiveFile
    from penstock.server.uploads.session import LiveSession


class Filled(NamedTuple):
    buffer: bytearray
    length: int


class Sink:
    """Stores buffers in order and gives them back to the pool.

    `keeps_floor`: the bytes carry a digest, so nothing is promised until it is verified.
    """

    def __init__(self, session: LiveSession, file: LiveFile, pool: BufferPool) -> None:
        self.writer: BlobWriter | None = None
        self.hashes: Sequence[Hash] = ()
        self.keeps_floor = False
        self._session = session
        self._file = file
        self._pool = pool
        self._settings = session.settings
        self._queue: deque[Filled] = deque()  # at most one: with the one being filled, two buffers an append
        self._more = True
        self._moved = trio.lowlevel.ParkingLot()
        self._unsynced_bytes = 0
        self._synced_at = trio.current_time()

    async def wait_empty(self) -> None:
        """Until everything put is written. Cancel-safe."""
        await trio.lowlevel.checkpoint()
        while self._queue:
            await self._moved.park()

    def put(self, filled: Filled) -> None:
        """Take a buffer over; wait until it is empty first."""
        if filled.length:
            self._queue.append(filled)
        else:
            self._pool.give_back(filled.buffer)
        self._moved.unpark_all()

    def end(self) -> None:
        """No more buffers will come: `run` returns when it has written what is there."""
        self._more = False
        self._moved.unpark_all()

    async def run(self) -> None:
        """Write what is put, until `end`. Cancelled, it leaves what is not written for `store_rest`.

        Raises: StoreError.
        """
        while self._more or self._queue:
            if self._queue:
                await self._write_one(sync=self._sync_is_due(self._queue[0].length))
            else:
                await self._moved.park()

    async def store_rest(self) -> None:
        """Write what was put and is not yet written. Raises: StoreError."""
        while self._queue:
            await self._write_one(sync=False)

    async def make_durable(self) -> None:
        """Sync what is written and promise it. Raises: StoreError."""
        if self.writer is None or self.keeps_floor or self.writer.written <= self._file.durable:
            return
        await self.writer.sync()
        await self._promise(self.writer)

    async def pour(self, buffer: bytearray, filled: int, refill: Callable[[memoryview], int]) -> None:
        """Write what a buffer has, and go on in the same thread as long as it is refilled; see `BlobWriter`.

        For whoever fills, while nothing else is put. Raises: StoreError.
        """
        assert self.writer is not None
        start = self.writer.written
        await self.wait_empty()
        await self.writer.pour(memoryview(buffer), filled, refill, hashes=self.hashes)
        await self.wrote_elsewhere(self.writer.written - start)

    @property
    def bytes_until_sync(self) -> int:
        """How many may be written before they are to be synced."""
        if self.keeps_floor:  # they will be when they are verified
            return self._settings.sync_every_bytes
        return max(self._settings.sync_every_bytes - self._unsynced_bytes, 0)

    async def wrote_elsewhere(self, count: int) -> None:
        """Promise bytes that were written around us, as soon as it is due. Raises: StoreError."""
        self._unsynced_bytes += count
        if not self._promises_by_sync and self.writer is not None:
            await self._promise(self.writer)
        elif self._sync_is_due(0):
            await self.make_durable()

    def drop_buffers(self) -> None:
        """Give every buffer back; idempotent."""
        while self._queue:
            self._pool.give_back(self._queue.popleft().buffer)
        self._moved.unpark_all()

    async def aclose(self) -> None:
        """Give the descriptor back; idempotent."""
        if self.writer is not None:
            await self.writer.aclose()
            self.writer = None

    async def _write_one(self, *, sync: bool) -> None:
        assert self.writer is not None
        buffer, length = self._queue[0]
        await self.writer.write(memoryview(buffer)[:length], sync=sync, hashes=self.hashes)
        self._queue.popleft()
        self._pool.give_back(buffer)
        self._unsynced_bytes += length
        self._moved.unpark_all()
        if sync or not self._promises_by_sync:
            await self._promise(self.writer)

    def _sync_is_due(self, more_bytes: int) -> bool:
        if self.keeps_floor or not self._promises_by_sync:
            return False
        upcoming = self._unsynced_bytes + more_bytes
        waited_s = trio.current_time() - self._synced_at
        return upcoming >= self._settings.sync_every_bytes or waited_s >= self._settings.sync_every_s

    @property
    def _promises_by_sync(self) -> bool:
        """Otherwise (`fsync` complete or never) what is written counts: the page cache survives a kill."""
        return self._file.row.promise == "append"

    async def _promise(self, writer: BlobWriter) -> None:
        """Promise what is durable: from here on it may be announced."""
        if self.keeps_floor:
            return
        written = writer.written
        self._unsynced_bytes = 0
        self._synced_at = trio.current_time()
        if self._promises_by_sync:
            self._file.row.synced = written
            await self._session.record([self._file], hard=True)
        self._file.durable = max(self._file.durable, written)
