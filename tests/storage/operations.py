"""Every call of the blob store's contract, each with what it finds and what it leaves on the disk.

Tests make these calls on a disk that fails or gets stuck, and look at the files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from penstock.storage.blobs.base import SmallBlob
from penstock.storage.blobs.local import LocalBlobs, LocalReader, LocalWriter
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.errors import BlobFault, BlobMissing, StoreError, StoreFull
from tests.storage.faulty_kernel import FaultyKernel

CATEGORY = "personal"
KEY, SOURCE, NEW, KNOWN, NAME = "aa.1", "ee.1", "bb.1", "published.bin", "name.bin"
BLOB, COPIED, MORE = b"durable" * 1000, bytes(range(256)) * 40, b"more" * 500
SMALL = [SmallBlob(f"{n:032x}.1", f"small-{n}", memoryview(b"%d" % n * n)) for n in range(3)]

Files = dict[str, bytes]


@dataclass
class World:
    """A data directory in use: one blob that grows, another to copy from, a published one."""

    path: Path
    kernel: FaultyKernel
    store: LocalBlobs
    writer: LocalWriter
    reader: LocalReader
    block_bytes: int

    def files(self) -> Files:
        """The bytes of all blobs, by path in the data directory."""
        return {
            str(found.relative_to(self.path)): found.read_bytes()
            for directory in ("incoming", "upload")
            for found in (self.path / directory).rglob("*")
            if found.is_file()
        }

    async def close(self) -> None:
        await self.writer.aclose()
        await self.reader.aclose()


@asynccontextmanager
async def world(path: Path) -> AsyncIterator[World]:
    """One whose kernel is well, with nothing in its log."""
    kernel = FaultyKernel(syncs=False)
    with DataDirectory(path, [CATEGORY], kernel) as directory:
        for place, data in ((incoming(KEY), BLOB), (incoming(SOURCE), COPIED), (published(KNOWN), BLOB)):
            (path / place).write_bytes(data)
        store = LocalBlobs(directory, Disk(2))
        writer = await store.open_writer(KEY, at=len(BLOB))
        reader = await store.open_published(CATEGORY, KNOWN)
        made = World(path, kernel, store, writer, reader, os.statvfs(path).f_bsize)
        kernel.heal()
        yield made
        kernel.heal()
        await made.close()


def incoming(key: str) -> str:
    return f"incoming/{key}"


def published(name: str) -> str:
    return f"upload/{CATEGORY}/{name}"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@dataclass(frozen=True)
class Operation:
    """One call. `leaves`: what is in the files that it changes, None: not there. `raises`: what its contract
    knows, besides StoreError and StoreFull. `writes`: through the open writer. `whole`: all of it or nothing.
    """

    act: Callable[[World], Awaitable[object]]
    gives: object = None
    leaves: dict[str, bytes | None] = field(default_factory=dict)
    raises: tuple[type[StoreError], ...] = ()
    writes: bool = False
    whole: bool = False

    @property
    def documented(self) -> tuple[type[StoreError], ...]:
        return (StoreError, StoreFull, *self.raises)

    def after(self, before: Files) -> Files:
        """The files once it is done."""
        changed = before | self.leaves
        return {path: data for path, data in changed.items() if data is not None}


async def _open_new(world: World) -> int:
    return await _opened(world, NEW, 0)


async def _open_there(world: World) -> int:
    return await _opened(world, SOURCE, 100)


async def _opened(world: World, key: str, at: int) -> int:
    writer = await world.store.open_writer(key, at=at)
    await writer.aclose()
    return writer.written


async def _feed(world: World) -> tuple[int, bytes]:
    hash_ = hashlib.sha256()
    return await world.store.feed(SOURCE, hash_, 0, 1 << 20), hash_.digest()


async def _open_published(world: World) -> int:
    reader = await world.store.open_published(CATEGORY, KNOWN)
    await reader.aclose()
    return reader.size


async def _listed(world: World) -> list[str]:
    return sorted(key for key, _ in await world.store.incoming())


async def _listed_published(world: World) -> list[str]:
    return sorted(name for _, name, _ in await world.store.published())


async def _has_free_bytes(world: World) -> bool:
    return await world.store.free_bytes() > 0


async def _knows_its_sharing(world: World) -> bool:
    return await world.store.sharing_block() in (None, world.block_bytes)


_MOVED: dict[str, bytes | None] = {incoming(SOURCE): None, published(NAME): COPIED}

OPERATIONS: dict[str, Operation] = {
    "open_writer-new": Operation(_open_new, 0, {incoming(NEW): b""}),
    "open_writer-there": Operation(
        _open_there, 100, {incoming(SOURCE): COPIED[:100]}, (BlobMissing, BlobFault)
    ),
    "write": Operation(
        lambda world: world.writer.write(memoryview(MORE)),
        leaves={incoming(KEY): BLOB + MORE},
        writes=True,
        whole=True,
    ),
    "write-sync": Operation(
        lambda world: world.writer.write(memoryview(MORE), sync=True),
        leaves={incoming(KEY): BLOB + MORE},
        raises=(BlobFault,),
        writes=True,
        whole=True,
    ),
    "pour": Operation(
        lambda world: world.writer.pour(memoryview(bytearray(MORE)), len(MORE), lambda buffer: 0),
        leaves={incoming(KEY): BLOB + MORE},
        writes=True,
        whole=True,
    ),
    "copy_from": Operation(
        lambda world: world.writer.copy_from(SOURCE, 5, len(COPIED) - 5),
        leaves={incoming(KEY): BLOB + COPIED[5:]},
        raises=(BlobMissing, BlobFault),
        writes=True,
        whole=True,
    ),
    "sync": Operation(lambda world: world.writer.sync(), raises=(BlobFault,), writes=True),
    "aclose": Operation(lambda world: world.writer.aclose()),
    "size": Operation(lambda world: world.store.size(KEY), len(BLOB)),
    "cut": Operation(
        lambda world: world.store.cut(SOURCE, 99),
        leaves={incoming(SOURCE): COPIED[:99]},
        raises=(BlobMissing, BlobFault),
    ),
    "feed": Operation(_feed, (len(COPIED), hashlib.sha256(COPIED).digest()), raises=(BlobMissing,)),
    "sharing_block": Operation(_knows_its_sharing, True),
    "publish": Operation(
        lambda world: world.store.publish(SOURCE, CATEGORY, NAME),
        leaves=_MOVED,
        raises=(BlobMissing, BlobFault),
    ),
    "store_small": Operation(
        lambda world: world.store.store_small(CATEGORY, SMALL),
        leaves={published(blob.name): bytes(blob.data) for blob in SMALL},
        raises=(BlobMissing, BlobFault),
        whole=True,
    ),
    "delete": Operation(lambda world: world.store.delete(SOURCE), leaves={incoming(SOURCE): None}),
    "unpublish": Operation(
        lambda world: world.store.unpublish(CATEGORY, KNOWN), leaves={published(KNOWN): None}
    ),
    "open_published": Operation(_open_published, len(BLOB), raises=(BlobMissing,)),
    "read_at": Operation(lambda world: world.reader.read_at(7, 70), BLOB[7:77]),
    "reader-aclose": Operation(lambda world: world.reader.aclose()),
    "incoming": Operation(_listed, sorted([KEY, SOURCE])),
    "published": Operation(_listed_published, [KNOWN]),
    "free_bytes": Operation(_has_free_bytes, True),
}
