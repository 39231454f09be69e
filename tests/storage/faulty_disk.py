"""Run by tests in a process of its own whose disk is made to fail: `python -m tests.storage.faulty_disk`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from penstock.storage.blobs.local import LocalBlobs
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.errors import StoreError, StoreFull
from penstock.storage.state.base import AddFact
from penstock.storage.state.sqlite import SqliteState

MIB = 1024 * 1024


async def publish(path: Path) -> None:
    """Publish two blobs, the second under the name of the first."""
    with DataDirectory(path, ["personal"]) as directory:
        store = LocalBlobs(directory, Disk(1))
        for key in ("aa", "bb"):
            writer = await store.open_writer(key, at=0)
            await writer.write(memoryview(key.encode()))
            await writer.aclose()
            try:
                await store.publish(key, "personal", "name")
            except StoreError as error:
                print(type(error).__name__)


async def fill(path: Path) -> None:
    """Write until the disk is full, make room, go on."""
    with DataDirectory(path, ["personal"]) as directory:
        store = LocalBlobs(directory, Disk(1))
        ballast = path / "ballast"
        ballast.write_bytes(bytes(MIB))
        writer = await store.open_writer("aa", at=0)
        try:
            while True:
                await writer.write(memoryview(os.urandom(MIB // 3)), sync=True)
        except StoreFull:
            print("full", 0 < writer.written == await store.size("aa"))
        ballast.unlink()
        before = writer.written
        await writer.write(memoryview(bytes(MIB // 3)), sync=True)
        print("goes on", writer.written == before + MIB // 3)
        await writer.aclose()


async def copy(path: Path) -> None:
    """Copy a blob that leaves no room for a second one, then a part of it that does fit."""
    with DataDirectory(path, ["personal"]) as directory:
        store = LocalBlobs(directory, Disk(1))
        content = os.urandom(5 * MIB // 2)
        source, target = await store.open_writer("aa", at=0), await store.open_writer("bb", at=0)
        await source.write(memoryview(content))
        await target.write(memoryview(b"front"))
        try:
            await target.copy_from("aa", 0, len(content))
        except StoreFull:
            print("full", target.written == await store.size("bb") == 5)
        else:
            print("all", (path / "incoming" / "bb").read_bytes() == b"front" + content)
        await target.aclose()
        target = await store.open_writer("bb", at=5)
        await target.copy_from("aa", 3, MIB)
        print("copied", (path / "incoming" / "bb").read_bytes() == b"front" + content[3 : MIB + 3])
        await target.aclose()
        await source.aclose()


async def commit(path: Path) -> None:
    """Commit for ever; say what was acknowledged, and stop at the second failure."""
    state = await SqliteState.open(path / "state.db")
    failures = 0
    for seq in range(1, 1 << 40):
        try:
            await state.commit((AddFact("s1", seq, os.urandom(300)),), hard=seq % 2 == 0)
        except StoreError as error:
            print(type(error).__name__, flush=True)
            failures += 1
            if failures == 2:
                return
        else:
            print(seq, flush=True)


if __name__ == "__main__":
    trio.run(
        {"publish": publish, "fill": fill, "copy": copy, "commit": commit}[sys.argv[1]], Path(sys.argv[2])
    )
