"""Blobs as files of the data directory: `incoming/<key>` while they grow, then `upload/<category>/<name>`.

Paths are made from our own keys only, relative to directories that are open already. Each call is one hop
into a worker thread that does the whole step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal

import msgspec
import trio

from penstock.storage.blobs import files, publishing, small
from penstock.storage.blobs.base import Hash, SmallBlob
from penstock.storage.blobs.copying import Copier, Span
from penstock.storage.blobs.names import checked_key, checked_place, is_key, is_name
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.errors import BlobFault, BlobMissing, StoreError

Fsync = Literal["append", "complete", "never"]


class BlobStatistics(msgspec.Struct):
    """What the store has done since it was made."""

    open_writers: int = 0
    open_readers: int = 0
    written_bytes: int = 0
    copied_bytes: int = 0  # from blob to blob, those included that are shared
    syncs: int = 0  # of file data; directories are not counted


class LocalWriter:
    """See `BlobWriter`. After a failed sync nothing more is taken: the kernel may have dropped the pages,
    and a second fdatasync would say that all is well."""

    def __init__(self, store: LocalBlobs, fd: int, written: int) -> None:
        self._store = store
        self._fd = fd
        self._written = written
        self._closed = False
        self._broken = False
        self._ragged = False  # there may be bytes behind `written`

    @property
    def written(self) -> int:
        return self._written

    async def write(self, data: memoryview, *, sync: bool = False, hashes: Sequence[Hash] = ()) -> None:
        await self._store.disk.run(self._write, data, sync, hashes)
        self._store.statistics.written_bytes += len(data)
        self._store.statistics.syncs += sync and self._store.syncs_appends

    async def pour(
        self,
        buffer: memoryview,
        filled: int,
        refill: Callable[[memoryview], int],
        *,
        hashes: Sequence[Hash] = (),
    ) -> None:
        start = self._written
        try:
            await self._store.disk.run(self._pour, buffer, filled, refill, hashes)
        finally:
            self._store.statistics.written_bytes += self._written - start

    async def copy_from(self, source: str, start: int, count: int) -> None:
        await self._store.disk.run(self._copy_from, checked_key(source), start, count)
        self._store.statistics.copied_bytes += count

    async def sync(self) -> None:
        await self._store.disk.run(self._sync)
        self._store.statistics.syncs += self._store.syncs_appends

    async def aclose(self) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        self._store.statistics.open_writers -= 1
        await self._store.disk.run_shielded(self._store.kernel.close, self._fd)

    def _write(self, data: memoryview, sync: bool, hashes: Sequence[Hash]) -> None:
        self._check()
        with self._all_or_nothing():
            files.write_all(self._store.kernel, self._fd, data, self._written)
        self._written += len(data)
        for hash_ in hashes:
            hash_.update(data)
        if sync:
            self._sync()

    def _pour(
        self, buffer: memoryview, filled: int, refill: Callable[[memoryview], int], hashes: Sequence[Hash]
    ) -> None:
        self._check()
        count = filled or refill(buffer)
        while count:
            self._write(buffer[:count], False, hashes)
            count = refill(buffer)

    def _copy_from(self, source: str, start: int, count: int) -> None:
        self._check()
        with self._all_or_nothing():
            source_fd = self._store.open_source(source)
            try:
                self._store.copier.copy(Span(source_fd, start, count, self._fd, self._written))
            finally:
                self._store.kernel.close(source_fd)
        self._written += count

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """What got in before an error is cut off again; if even that fails, before anything else gets in."""
        if self._ragged:
            self._cut_off()
        try:
            yield
        except BaseException:
            self._ragged = True
            self._cut_off()
            raise

    def _cut_off(self) -> None:
        self._store.kernel.ftruncate(self._fd, self._written)
        self._ragged = False

    def _sync(self) -> None:
        self._check()
        if not self._store.syncs_appends:
            return
        try:
            self._store.sync_data(self._fd)
        except BlobFault:
            self._broken = True
            raise

    def _check(self) -> None:
        if self._closed:
            raise StoreError("the writer is closed")
        if self._broken:
            raise BlobFault("an earlier sync of this blob failed")


class LocalReader:
    """See `BlobReader`."""

    def __init__(self, store: LocalBlobs, fd: int, size: int) -> None:
        self.size = size
        self._store = store
        self._fd = fd
        self._closed = False

    async def read_at(self, offset: int, max_bytes: int) -> bytes:
        if self._closed:
            raise StoreError("the reader is closed")
        return await self._store.disk.run(self._store.kernel.pread, self._fd, max_bytes, offset)

    async def aclose(self) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        self._store.statistics.open_readers -= 1
        await self._store.disk.run_shielded(self._store.kernel.close, self._fd)


class LocalBlobs:
    """See `BlobStore`. What is synced when, by `fsync`:

    * append: bytes when a writer is asked to, names as they are made: what is promised survives a power cut.
    * complete: a blob as it is published, nothing before.
    * never: nothing.
    """

    def __init__(self, directory: DataDirectory, disk: Disk, *, fsync: Fsync = "append") -> None:
        self.kernel = directory.kernel
        self.disk = disk
        self.statistics = BlobStatistics()
        self.syncs_appends = fsync == "append"
        self._syncs_published = fsync != "never"
        self._incoming_fd = directory.incoming_fd
        self._category_fds = directory.category_fds
        self.copier = Copier(directory.kernel, directory.incoming_fd)

    async def open_writer(self, key: str, *, at: int) -> LocalWriter:
        fd = await self.disk.run(self._open_writer, checked_key(key), at)
        self.statistics.open_writers += 1
        return LocalWriter(self, fd, at)

    async def size(self, key: str) -> int | None:
        return await self.disk.run(self._size, checked_key(key))

    async def cut(self, key: str, end: int) -> None:
        await self.disk.run(self._cut, checked_key(key), end)
        self.statistics.syncs += self.syncs_appends

    async def feed(self, key: str, hash_: Hash, start: int, max_bytes: int) -> int:
        return await self.disk.run(self._feed, checked_key(key), hash_, start, max_bytes)

    async def sharing_block(self) -> int | None:
        return await self.disk.run(self.copier.sharing_block)

    async def publish(self, key: str, category: str, name: str) -> None:
        await self.disk.run(self._publish, checked_key(key), *checked_place(category, name))
        self.statistics.syncs += self._syncs_published

    async def store_small(self, category: str, blobs: Sequence[SmallBlob]) -> None:
        for blob in blobs:
            checked_key(blob.key)
            checked_place(category, blob.name)
        await self.disk.run(self._store_small, category, blobs)
        self.statistics.written_bytes += sum(len(blob.data) for blob in blobs)
        self.statistics.syncs += len(blobs) * self._syncs_published

    async def delete(self, key: str) -> None:
        await self.disk.run(files.unlink, self.kernel, checked_key(key), self._incoming_fd)

    async def unpublish(self, category: str, name: str) -> None:
        await self.disk.run(self._unpublish, *checked_place(category, name))

    async def open_published(self, category: str, name: str) -> LocalReader:
        fd, size = await self.disk.run(self._open_published, *checked_place(category, name))
        self.statistics.open_readers += 1
        return LocalReader(self, fd, size)

    async def incoming(self) -> list[tuple[str, float]]:
        return await self.disk.run(files.listed, self.kernel, self._incoming_fd, is_key)

    async def published(self) -> list[tuple[str, str, float]]:
        return await self.disk.run(self._published)

    async def free_bytes(self) -> int:
        return await self.disk.run(files.free_bytes, self.kernel, self._incoming_fd)

    def sync_data(self, fd: int) -> None:
        """Blocks. Raises: BlobFault."""
        try:
            self.kernel.fdatasync(fd)
        except OSError as error:
            raise BlobFault(f"sync failed: {error}") from error

    def open_source(self, key: str) -> int:
        """A descriptor of an incoming blob, for reading. Blocks. Raises: BlobMissing."""
        return files.open_incoming(self.kernel, key, os.O_RDONLY, self._incoming_fd)

    # What follows runs in a worker thread.

    def _category_fd(self, category: str) -> int:
        try:
            return self._category_fds[category]
        except KeyError:
            raise BlobMissing(f"there is no category {category}") from None

    def _open_writer(self, key: str, at: int) -> int:
        create = os.O_CREAT if at == 0 else 0
        fd = files.open_incoming(self.kernel, key, os.O_RDWR | create, self._incoming_fd)
        try:
            if at == 0 and self.syncs_appends:  # also if it was there: who made it may have died before this
                files.sync_name(self.kernel, key, self._incoming_fd)
            files.cut_open(self.kernel, fd, at)
        except BaseException:
            self.kernel.close(fd)
            raise
        return fd

    def _size(self, key: str) -> int | None:
        try:
            return self.kernel.stat(key, dir_fd=self._incoming_fd, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None

    def _cut(self, key: str, end: int) -> None:
        fd = files.open_incoming(self.kernel, key, os.O_RDWR, self._incoming_fd)
        try:
            files.cut_open(self.kernel, fd, end)
            if self.syncs_appends:
                self.sync_data(fd)
        finally:
            self.kernel.close(fd)

    def _feed(self, key: str, hash_: Hash, start: int, max_bytes: int) -> int:
        fd = self.open_source(key)
        try:
            fed = 0
            for piece in files.pieces(self.kernel, fd, start, max_bytes):
                hash_.update(piece)
                fed += len(piece)
            return fed
        finally:
            self.kernel.close(fd)

    def _publish(self, key: str, category: str, name: str) -> None:
        sync = self.sync_data if self._syncs_published else None
        publishing.publish(self.kernel, key, name, self._incoming_fd, self._category_fd(category), sync)

    def _store_small(self, category: str, blobs: Sequence[SmallBlob]) -> None:
        sync = self.sync_data if self._syncs_published else None
        small.store(self.kernel, blobs, self._incoming_fd, self._category_fd(category), sync)

    def _unpublish(self, category: str, name: str) -> None:
        with suppress(BlobMissing):
            files.unlink(self.kernel, name, self._category_fd(category))

    def _open_published(self, category: str, name: str) -> tuple[int, int]:
        return files.open_reader(self.kernel, name, self._category_fd(category))

    def _published(self) -> list[tuple[str, str, float]]:
        return [
            (category, name, changed)
            for category, fd in self._category_fds.items()
            for name, changed in files.listed(self.kernel, fd, is_name)
        ]
