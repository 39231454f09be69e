"""Every implementation of the storage contracts, by name, each opened in a directory of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Literal

from penstock.storage.blobs.base import BlobStore
from penstock.storage.blobs.local import LocalBlobs
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.state.base import StateStore
from penstock.storage.state.sqlite import SqliteState
from tests.fakes.blobs import FakeBlobs
from tests.fakes.state import FakeState
from tests.storage.cloning import CopyingKernel

CATEGORIES = ("personal", "scenic")
KEPT_FACTS = 10

Fsync = Literal["append", "complete", "never"]
Opener = Callable[[Path], AbstractAsyncContextManager[BlobStore]]
StateOpener = Callable[[Path], AbstractAsyncContextManager[StateStore]]


def local_blobs(fsync: Fsync) -> Opener:
    @asynccontextmanager
    async def opened(path: Path) -> AsyncIterator[BlobStore]:
        with DataDirectory(path, CATEGORIES) as directory:
            yield LocalBlobs(directory, Disk(4), fsync=fsync)

    return opened


@asynccontextmanager
async def sharing_blobs(path: Path) -> AsyncIterator[BlobStore]:
    with DataDirectory(path, CATEGORIES, CopyingKernel()) as directory:
        yield LocalBlobs(directory, Disk(4))


def fake_blobs(fsync: Fsync, block_bytes: int | None = None) -> Opener:
    @asynccontextmanager
    async def opened(path: Path) -> AsyncIterator[BlobStore]:
        yield FakeBlobs(CATEGORIES, fsync=fsync, block_bytes=block_bytes)

    return opened


@asynccontextmanager
async def sqlite_state(path: Path) -> AsyncIterator[StateStore]:
    async with await SqliteState.open(path / "state.db", boot_id="boot-1", kept_facts=KEPT_FACTS) as state:
        yield state


@asynccontextmanager
async def fake_state(path: Path) -> AsyncIterator[StateStore]:
    yield FakeState(boot_id="boot-1", kept_facts=KEPT_FACTS)


BLOB_STORES: dict[str, Opener] = {
    "local-append": local_blobs("append"),
    "local-complete": local_blobs("complete"),
    "local-never": local_blobs("never"),
    "local-sharing": sharing_blobs,
    "fake-append": fake_blobs("append"),
    "fake-never": fake_blobs("never"),
    "fake-sharing": fake_blobs("append", block_bytes=4096),
}
STATE_STORES: dict[str, StateOpener] = {"sqlite": sqlite_state, "fake": fake_state}
