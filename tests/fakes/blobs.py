"""A blob store in memory: no threads, so that tests may use the autojump clock."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Literal

import trio

from penstock.storage.blobs.base import Hash, SmallBlob
from penstock.storage.blobs.names import checked_key, checked_place
from penstock.storage.errors import BlobFault, BlobMissing, StoreError, StoreFull


class Blob:
    """Bytes, and how many of them a power cut leaves."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = 0
        self.changed_at = 0.0

    def cut(self, end: int) -> None:
        if len(self.data) < end:
            raise BlobFault(f"{end} bytes were promised, {len(self.data)} are there")
        del self.data[end:]
        self.durable = min(self.durable, end)


class FakeWriter:
    """See `BlobWriter`."""

    def __init__(self, store: FakeBlobs, blob: Blob) -> None:
        self._store = store
        self._blob = blob
        self._written = len(blob.data)
        self._closed = False
        self._broken = False

    @property
    def written(self) -> int:
        return self._written

    async def write(self, data: memoryview, *, sync: bool = False, hashes: Sequence[Hash] = ()) -> None:
        self._check()
        await self._store.turn()
        self._check()
        self._append(data)
        for hash_ in hashes:
            hash_.update(data)
        if sync:
            self._sync()

    async def pour(
        self,
        buffer: memoryview,
        filled: int,
        refill: Callable[[memoryview], int],
        *,
        hashes: Sequence[Hash] = (),
    ) -> None:
        self._check()
        await self._store.turn()
        self._check()
        count = filled or refill(buffer)
        while count:
            self._append(buffer[:count])
            for hash_ in hashes:
                hash_.update(buffer[:count])
            count = refill(buffer)

    async def copy_from(self, source: str, start: int, count: int) -> None:
        checked_key(source)
        self._check()
        await self._store.turn()
        self._check()
        self._append(self._store.incoming_range(source, start, count))
        self._store.copied_bytes += count

    async def sync(self) -> None:
        self._check()
        await self._store.turn()
        self._check()
        self._sync()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._store.open_writers -= 1
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()

    def _append(self, data: memoryview) -> None:
        if self._store.used_bytes() + len(data) > self._store.full_at_bytes:
            raise StoreFull(os.strerror(errno.ENOSPC))
        self._blob.data[self._written :] = data
        self._blob.changed_at = self._store.now
        self._written += len(data)

    def _sync(self) -> None:
        try:
            self._store.sync_append(self._blob)
        except BlobFault:
            self._broken = True
            raise

    def _check(self) -> None:
        if self._closed:
            raise StoreError("the writer is closed")
        if self._broken:
            raise BlobFault("an earlier sync of this blob failed")


class FakeReader:
    """See `BlobReader`."""

    def __init__(self, store: FakeBlobs, data: bytes) -> None:
        self.size = len(data)
        self._store = store
        self._data = data
        self._closed = False

    async def read_at(self, offset: int, max_bytes: int) -> bytes:
        if self._closed:
            raise StoreError("the reader is closed")
        await self._store.turn()
        return self._data[offset : offset + max_bytes]

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._store.open_readers -= 1
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()


class FakeBlobs:
    """See `BlobStore`. Faults to switch on while a test runs:

    * `full_at_bytes`: a write that would bring all blobs together above it raises StoreFull.
    * `fail_sync`: every sync fails.
    * `fault`: raised by every call.
    * `gate`: while it is an unset event, calls wait for it (and cannot be cancelled).
    * `power_cut()`: what was not made durable is gone.

    `block_bytes` is what `sharing_block` answers; nothing is shared in memory, and full is full all the same.
    """

    def __init__(
        self,
        categories: Sequence[str] = ("personal", "scenic"),
        *,
        fsync: Literal["append", "complete", "never"] = "append",
        block_bytes: int | None = None,
    ) -> None:
        self.block_bytes = block_bytes
        self.full_at_bytes = 1 << 62
        self.fail_sync = False
        self.fault: StoreError | None = None
        self.gate: trio.Event | None = None
        self.syncs = 0
        self.copied_bytes = 0  # from blob to blob
        self.open_writers = 0
        self.open_readers = 0
        self.now = 0.0  # the time new changes carry
        self.incoming_blobs: dict[str, Blob] = {}
        self.published_blobs: dict[tuple[str, str], Blob] = {}
        self._categories = frozenset(categories)
        self._fsync = fsync

    def power_cut(self) -> None:
        for blob in self._blobs():
            del blob.data[blob.durable :]

    def used_bytes(self) -> int:
        return sum(len(blob.data) for blob in self._blobs())

    def incoming_bytes(self, key: str) -> bytes:
        """What lies under the key."""
        return bytes(self.incoming_blobs[key].data)

    def published_bytes(self, category: str, name: str) -> bytes:
        """What lies under the name."""
        return bytes(self.published_blobs[category, name].data)

    async def open_writer(self, key: str, *, at: int) -> FakeWriter:
        checked_key(key)
        await self.turn()
        if at == 0:
            self.incoming_blobs.setdefault(key, Blob())
        blob = self._incoming(key)
        blob.cut(at)
        self.open_writers += 1
        return FakeWriter(self, blob)

    async def size(self, key: str) -> int | None:
        checked_key(key)
        await self.turn()
        blob = self.incoming_blobs.get(key)
        return None if blob is None else len(blob.data)

    async def cut(self, key: str, end: int) -> None:
        checked_key(key)
        await self.turn()
        blob = self._incoming(key)
        blob.cut(end)
        self.sync_append(blob)

    async def feed(self, key: str, hash_: Hash, start: int, max_bytes: int) -> int:
        checked_key(key)
        await self.turn()
        fed = bytes(self._incoming(key).data[start : start + max_bytes])
        hash_.update(memoryview(fed))
        return len(fed)

    async def sharing_block(self) -> int | None:
        await self.turn()
        return self.block_bytes

    async def publish(self, key: str, category: str, name: str) -> None:
        checked_key(key)
        checked_place(category, name)
        await self.turn()
        if category not in self._categories:
            raise BlobMissing(f"there is no category {category}")
        blob, there = self.incoming_blobs.get(key), self.published_blobs.get((category, name))
        if blob is None and there is None:
            raise BlobMissing(key)
        if blob is not None:
            if self._fsync != "never":
                self._sync(blob)
            if there not in (None, blob):
                raise BlobFault(f"the name {name} is taken by another blob")
            self.published_blobs[category, name] = blob
            del self.incoming_blobs[key]

    async def store_small(self, category: str, blobs: Sequence[SmallBlob]) -> None:
        for blob in blobs:
            checked_key(blob.key)
            checked_place(category, blob.name)
        await self.turn()
        if category not in self._categories:
            raise BlobMissing(f"there is no category {category}")
        if self.used_bytes() + sum(len(blob.data) for blob in blobs) > self.full_at_bytes:
            raise StoreFull(os.strerror(errno.ENOSPC))
        made = {(category, one.name): _whole(one.data, self.now) for one in blobs}
        if len(made) < len(blobs) or made.keys() & self.published_blobs.keys():
            raise BlobFault("a name is taken by another blob")
        if self._fsync != "never":
            for whole in made.values():
                self._sync(whole)
        self.published_blobs |= made
        for one in blobs:
            self.incoming_blobs.pop(one.key, None)

    async def delete(self, key: str) -> None:
        checked_key(key)
        await self.turn()
        self.incoming_blobs.pop(key, None)

    async def unpublish(self, category: str, name: str) -> None:
        checked_place(category, name)
        await self.turn()
        self.published_blobs.pop((category, name), None)

    async def open_published(self, category: str, name: str) -> FakeReader:
        checked_place(category, name)
        await self.turn()
        if (category, name) not in self.published_blobs:
            raise BlobMissing(name)
        self.open_readers += 1
        return FakeReader(self, self.published_bytes(category, name))

    async def incoming(self) -> list[tuple[str, float]]:
        await self.turn()
        return [(key, blob.changed_at) for key, blob in self.incoming_blobs.items()]

    async def published(self) -> list[tuple[str, str, float]]:
        await self.turn()
        return [(*place, blob.changed_at) for place, blob in self.published_blobs.items()]

    async def free_bytes(self) -> int:
        await self.turn()
        return max(0, self.full_at_bytes - self.used_bytes())

    async def turn(self) -> None:
        """Where a real store hops into a thread."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            if self.gate is not None:
                await self.gate.wait()
        if self.fault is not None:
            raise self.fault

    def incoming_range(self, key: str, start: int, count: int) -> memoryview:
        """A copy of that part of an incoming blob. Raises: BlobMissing, BlobFault."""
        data = self._incoming(key).data
        if len(data) < start + count:
            raise BlobFault(f"{start + count} bytes were promised, {len(data)} are there")
        return memoryview(bytes(data[start : start + count]))

    def sync_append(self, blob: Blob) -> None:
        if self._fsync == "append":
            self._sync(blob)

    def _sync(self, blob: Blob) -> None:
        if self.fail_sync:
            raise BlobFault(f"sync failed: {os.strerror(errno.EIO)}")
        blob.durable = len(blob.data)
        self.syncs += 1

    def _blobs(self) -> list[Blob]:
        return [*self.incoming_blobs.values(), *self.published_blobs.values()]

    def _incoming(self, key: str) -> Blob:
        try:
            return self.incoming_blobs[key]
        except KeyError:
            raise BlobMissing(key) from None


def _whole(data: memoryview, now: float) -> Blob:
    blob = Blob()
    blob.data[:] = data
    blob.changed_at = now
    return blob
