"""Blobs as files: what is synced when, what a crash leaves behind, what a full or failing disk does."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from penstock.storage.blobs.base import SmallBlob
from penstock.storage.blobs.local import Fsync, LocalBlobs
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.errors import BlobFault, StoreError, StoreFull
from penstock.storage.kernel import Kernel
from tests.storage.faulty_kernel import FaultyKernel
from tests.storage.full_disk import file_size_limit

KEY = "0123456789abcdef0123456789abcdef.1"
NAME = "7d0c1b1e.jpg"


class Syncs(Kernel):
    """Its fdatasync counts, and fails or stalls when told to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.fails = False
        self.gate: threading.Event | None = None
        self.inside = threading.Event()

    def fdatasync(self, fd: int) -> None:
        self.inside.set()
        assert self.gate is None or self.gate.wait(10)
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.sizes.append(os.fstat(fd).st_size)
        super().fdatasync(fd)


@pytest.fixture
def directory(tmp_path: Path, syncs: Syncs) -> Iterator[DataDirectory]:
    with DataDirectory(tmp_path, ["personal"], syncs) as opened:
        yield opened


@pytest.fixture
def syncs() -> Syncs:
    return Syncs()


@pytest.fixture
def store(directory: DataDirectory) -> LocalBlobs:
    return LocalBlobs(directory, Disk(2))


async def put(store: LocalBlobs, data: bytes, key: str = KEY) -> None:
    writer = await store.open_writer(key, at=0)
    await writer.write(memoryview(data))
    await writer.aclose()


@pytest.mark.parametrize(
    ("fsync", "while_growing", "in_all"),
    [("append", [3, 6, 5], [3, 6, 5, 5]), ("complete", [], [5]), ("never", [], [])],
)
async def test_what_is_synced_when(
    directory: DataDirectory, syncs: Syncs, fsync: Fsync, while_growing: list[int], in_all: list[int]
) -> None:
    store = LocalBlobs(directory, Disk(2), fsync=fsync)
    writer = await store.open_writer(KEY, at=0)
    await writer.write(memoryview(b"abc"), sync=True)
    await writer.write(memoryview(b"def"))
    await writer.sync()
    await writer.aclose()
    await store.cut(KEY, 5)
    assert syncs.sizes == while_growing
    await store.publish(KEY, "personal", NAME)
    assert syncs.sizes == in_all
    assert store.statistics.syncs == len(in_all)


async def test_statistics_balance(store: LocalBlobs) -> None:
    writers = [await store.open_writer(key, at=0) for key in ("aa", "bb")]
    await writers[0].write(memoryview(b"abc"))
    assert (store.statistics.open_writers, store.statistics.written_bytes) == (2, 3)
    for writer in (*writers, *writers):
        await writer.aclose()
    await store.publish("aa", "personal", NAME)
    reader = await store.open_published("personal", NAME)
    assert (store.statistics.open_writers, store.statistics.open_readers) == (0, 1)
    await reader.aclose()
    await reader.aclose()
    assert store.statistics.open_readers == 0


async def test_no_descriptor_is_left_open(store: LocalBlobs) -> None:
    before = os.listdir("/proc/self/fd")
    await put(store, b"abc")
    for call in (store.open_writer(KEY, at=9), store.cut(KEY, 9), store.publish("ff", "personal", NAME)):
        with pytest.raises(StoreError):
            await call
    await store.cut(KEY, 1)
    await store.incoming()
    await store.publish(KEY, "personal", NAME)
    await store.publish(KEY, "personal", NAME)
    await store.published()
    assert os.listdir("/proc/self/fd") == before


async def test_files_are_for_us_alone(store: LocalBlobs, tmp_path: Path) -> None:
    await put(store, b"abc")
    await store.publish(KEY, "personal", NAME)
    assert stat.S_IMODE((tmp_path / "upload" / "personal" / NAME).stat().st_mode) == 0o600


async def test_a_symlink_is_not_followed(store: LocalBlobs, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "incoming" / KEY).symlink_to(tmp_path / "victim")
    (tmp_path / "upload" / "personal" / NAME).symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError):
        await store.open_writer(KEY, at=0)
    with pytest.raises(StoreError):
        await store.open_published("personal", NAME)
    assert (tmp_path / "victim").read_bytes() == b"precious"


async def test_what_others_left_is_not_listed(store: LocalBlobs, tmp_path: Path) -> None:
    for stray in ("incoming/.probe", "incoming/README", "upload/personal/.probe"):
        (tmp_path / stray).touch()
    assert await store.incoming() == []
    assert await store.published() == []


async def test_listings_have_the_files_time(store: LocalBlobs, tmp_path: Path) -> None:
    await put(store, b"abc")
    os.utime(tmp_path / "incoming" / KEY, (5, 1234.5))
    assert await store.incoming() == [(KEY, 1234.5)]
    await store.publish(KEY, "personal", NAME)
    assert await store.published() == [("personal", NAME, 1234.5)]


# The states a crash can leave behind while a blob is published.


def place(path: Path, data: bytes = b"abc") -> None:
    path.write_bytes(data)


def crashed_before_linking(path: Path) -> None:
    place(path / "incoming" / KEY)


def crashed_after_linking(path: Path) -> None:
    place(path / "incoming" / KEY)
    os.link(path / "incoming" / KEY, path / "upload" / "personal" / NAME)


def crashed_after_unlinking(path: Path) -> None:
    place(path / "upload" / "personal" / NAME)


@pytest.mark.parametrize("crash", [crashed_before_linking, crashed_after_linking, crashed_after_unlinking])
async def test_publishing_after_a_crash(store: LocalBlobs, tmp_path: Path, crash: type) -> None:
    crash(tmp_path)
    await store.publish(KEY, "personal", NAME)
    assert (tmp_path / "upload" / "personal" / NAME).read_bytes() == b"abc"
    assert await store.incoming() == []


async def test_a_twin_with_the_same_bytes_is_still_another_blob(store: LocalBlobs, tmp_path: Path) -> None:
    place(tmp_path / "incoming" / KEY)
    place(tmp_path / "upload" / "personal" / NAME)
    with pytest.raises(BlobFault, match="taken by another blob"):
        await store.publish(KEY, "personal", NAME)
    assert await store.size(KEY) == 3


async def test_a_full_disk_cuts_off_what_did_fit(store: LocalBlobs) -> None:
    sha256 = hashlib.sha256()
    writer = await store.open_writer(KEY, at=0)
    await writer.write(memoryview(b"a" * 100), hashes=[sha256])
    with file_size_limit(150), pytest.raises(StoreFull):
        await writer.write(memoryview(b"b" * 100), sync=True, hashes=[sha256])
    assert writer.written == await store.size(KEY) == 100
    assert store.statistics.written_bytes == 100
    await writer.write(memoryview(b"c" * 100), hashes=[sha256])
    await writer.aclose()
    await store.publish(KEY, "personal", NAME)
    reader = await store.open_published("personal", NAME)
    stored = await reader.read_at(0, 1000)
    await reader.aclose()
    assert stored == b"a" * 100 + b"c" * 100
    assert sha256.digest() == hashlib.sha256(stored).digest()


async def test_a_failed_sync_is_never_papered_over(store: LocalBlobs, syncs: Syncs) -> None:
    writer = await store.open_writer(KEY, at=0)
    syncs.fails = True
    with pytest.raises(BlobFault):
        await writer.write(memoryview(b"abc"), sync=True)
    syncs.fails = False
    with pytest.raises(BlobFault):
        await writer.sync()
    with pytest.raises(BlobFault):
        await writer.write(memoryview(b"def"))
    await writer.aclose()
    assert await store.size(KEY) == 3


async def test_a_failed_sync_stops_cutting_and_publishing(store: LocalBlobs, syncs: Syncs) -> None:
    await put(store, b"abc")
    syncs.fails = True
    with pytest.raises(BlobFault):
        await store.cut(KEY, 1)
    with pytest.raises(BlobFault):
        await store.publish(KEY, "personal", NAME)
    assert await store.published() == []


async def test_a_name_whose_sync_failed_is_made_anew(tmp_path: Path) -> None:
    """The kernel tells of lost entries of a directory once, as it does of lost bytes."""
    kernel = FaultyKernel()
    with DataDirectory(tmp_path, ["personal"], kernel) as directory:
        store = LocalBlobs(directory, Disk(1))
        kernel.fail(errno.EIO, name="fsync", path="incoming")
        with pytest.raises(StoreError):
            await store.open_writer(KEY, at=0)
        assert not (tmp_path / "incoming" / KEY).exists()
        await put(store, b"abc")
        kernel.fail(errno.EIO, name="fsync", path="upload/personal")
        with pytest.raises(StoreError):
            await store.publish(KEY, "personal", NAME)
        kernel.calls.clear()
        await store.publish(KEY, "personal", NAME)
        made = [call.name for call in kernel.calls if call.name in ("link", "fsync")]
        assert made == ["link", "fsync"]
        assert (tmp_path / "upload" / "personal" / NAME).read_bytes() == b"abc"


async def test_a_stalled_write_is_waited_for(store: LocalBlobs, syncs: Syncs) -> None:
    syncs.gate = threading.Event()
    writer = await store.open_writer(KEY, at=0)

    async def write() -> None:
        await writer.write(memoryview(b"abc"), sync=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.to_thread.run_sync(syncs.inside.wait)
        nursery.cancel_scope.cancel()
        assert store.disk.longest_running_s() > 0
        syncs.gate.set()
    assert writer.written == 3
    assert syncs.sizes == [3]
    await writer.aclose()


def small(*contents: bytes) -> list[SmallBlob]:
    return [SmallBlob(f"{n:032x}.1", f"small-{n}", memoryview(data)) for n, data in enumerate(contents)]


async def test_small_blobs_are_synced_each(store: LocalBlobs, syncs: Syncs) -> None:
    await store.store_small("personal", small(b"a", b"bc", b""))
    assert syncs.sizes == [1, 2, 0]
    assert (store.statistics.written_bytes, store.statistics.syncs) == (3, 3)


async def test_small_blobs_on_a_full_disk_leave_nothing(store: LocalBlobs) -> None:
    with file_size_limit(150), pytest.raises(StoreFull):
        await store.store_small("personal", small(bytes(100), bytes(200)))
    assert await store.incoming() == []
    assert await store.published() == []


async def test_small_blobs_whose_sync_fails_leave_nothing(store: LocalBlobs, syncs: Syncs) -> None:
    syncs.fails = True
    with pytest.raises(BlobFault):
        await store.store_small("personal", small(b"a", b"b"))
    assert await store.incoming() == []
    assert await store.published() == []


class _NoLinks(Kernel):
    """A file system that knows no hard links, such as exFAT."""

    def link(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("kernel", [Kernel, _NoLinks])
async def test_a_small_blob_never_takes_the_place_of_another(tmp_path: Path, kernel: type[Kernel]) -> None:
    with DataDirectory(tmp_path, ("personal",), kernel=kernel()) as directory:
        store = LocalBlobs(directory, Disk(1), fsync="append")
        await store.store_small("personal", small(b"mine"))
        blobs = [blob._replace(key=f"a{blob.key}") for blob in small(b"theirs", b"more")]
        with pytest.raises(BlobFault):
            await store.store_small("personal", blobs)
        assert [name for _, name, _ in await store.published()] == ["small-0"]
        assert await store.incoming() == []
        reader = await store.open_published("personal", "small-0")
        assert await reader.read_at(0, 10) == b"mine"
        await reader.aclose()
