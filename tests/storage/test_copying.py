"""Bytes from blob to blob on a real disk: shared, copied by the kernel or by hand, and what goes wrong."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.storage.blobs.copying import Copier, Span
from penstock.storage.blobs.files import STEP_BYTES
from penstock.storage.blobs.local import LocalBlobs
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.errors import BlobFault, BlobMissing, StoreError, StoreFull
from penstock.storage.kernel import Kernel
from tests.storage.cloning import CloneCalls, Cloned, CopyCalls, CopyingKernel
from tests.storage.faulty_kernel import FaultyKernel
from tests.storage.full_disk import file_size_limit

KEY, SOURCE = "aa.1", "ee.1"
CANNOT = [
    *(errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.EPERM),
    *(errno.ENOTTY, errno.ETXTBSY, errno.EAGAIN, errno.EINTR),
]
by_name = pytest.mark.parametrize("error", CANNOT, ids=lambda error: errno.errorcode[error])


@pytest.fixture
def directory(tmp_path: Path, clones: CloneCalls, copies: CopyCalls) -> Iterator[DataDirectory]:
    with DataDirectory(tmp_path, ["personal"], CopyingKernel(clones, copies)) as opened:
        yield opened


@pytest.fixture
def clones() -> CloneCalls:
    return CloneCalls()


@pytest.fixture
def copies() -> CopyCalls:
    return CopyCalls()


@pytest.fixture
def store(directory: DataDirectory) -> LocalBlobs:
    return LocalBlobs(directory, Disk(2))


@pytest.fixture
def block(directory: DataDirectory) -> int:
    return os.fstatvfs(directory.incoming_fd).f_bsize


def content(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def place(path: Path, data: bytes, key: str = SOURCE) -> bytes:
    (path / "incoming" / key).write_bytes(data)
    return data


def placed(path: Path, key: str = KEY) -> bytes:
    return (path / "incoming" / key).read_bytes()


async def copied(store: LocalBlobs, start: int, count: int, at: int = 0) -> None:
    """Copy behind the `at` bytes that are there."""
    writer = await store.open_writer(KEY, at=at)
    try:
        await writer.copy_from(SOURCE, start, count)
        assert writer.written == at + count
    finally:
        await writer.aclose()


# What can be shared


async def test_the_probe_is_made_once_and_leaves_nothing(
    store: LocalBlobs, clones: CloneCalls, block: int, tmp_path: Path
) -> None:
    before = os.listdir("/proc/self/fd")
    assert await store.sharing_block() == block
    assert await store.sharing_block() == block
    assert clones.calls == 1
    assert os.listdir("/proc/self/fd") == before
    assert os.listdir(tmp_path / "incoming") == []


@by_name
async def test_a_file_system_that_cannot_share(store: LocalBlobs, clones: CloneCalls, error: int) -> None:
    clones.error = error
    assert await store.sharing_block() is None
    assert await store.sharing_block() is None
    assert clones.calls == 1


async def test_a_call_that_shares_nothing_is_not_believed(store: LocalBlobs, clones: CloneCalls) -> None:
    clones.lies = True
    assert await store.sharing_block() is None


async def test_a_probe_that_fails_for_another_reason_is_repeated(
    store: LocalBlobs, clones: CloneCalls, block: int
) -> None:
    clones.error = errno.EIO
    with pytest.raises(StoreError):
        await store.sharing_block()
    clones.error = errno.ENOSPC
    with pytest.raises(StoreFull):
        await store.sharing_block()
    clones.error = None
    assert await store.sharing_block() == block


def test_where_there_are_no_unnamed_files_nothing_is_shared() -> None:
    fd = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert Copier(CopyingKernel(), fd).sharing_block() is None
    finally:
        os.close(fd)


async def test_the_real_call_shares_or_says_no(block: int, tmp_path: Path) -> None:
    with DataDirectory(tmp_path / "real", []) as directory:
        store = LocalBlobs(directory, Disk(2))
        assert await store.sharing_block() in (None, block)
        data = place(directory.path, content(3 * block + 5))
        await copied(store, 0, len(data))
        assert placed(directory.path) == data


def test_the_real_call_is_the_ioctl(tmp_path: Path) -> None:
    """It shares a block, or says that it cannot; never that there is no such call."""
    block = os.statvfs(tmp_path).f_bsize
    (tmp_path / "source").write_bytes(bytes(block))
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        try:
            Kernel().clone_range(source.fileno(), 0, block, target.fileno(), 0)
        except OSError as error:
            assert error.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL)  # noqa: PT017 - either is fine
        else:
            assert (tmp_path / "target").read_bytes() == bytes(block)


# Sharing


async def test_whole_blocks_are_shared_and_the_rest_is_copied(
    store: LocalBlobs, clones: CloneCalls, copies: CopyCalls, block: int, tmp_path: Path
) -> None:
    data = place(tmp_path, content(10 * block))
    before = place(tmp_path, content(3 * block + 7, seed=2), KEY)
    await store.sharing_block()
    clones.cloned.clear()
    await copied(store, 2 * block + 7, 4 * block, at=len(before))
    assert clones.cloned == [Cloned(3 * block, 3 * block, 4 * block)]
    assert copies.calls == 2
    assert placed(tmp_path) == before + data[2 * block + 7 : 6 * block + 7]


async def test_what_is_not_aligned_alike_is_copied(
    store: LocalBlobs, clones: CloneCalls, copies: CopyCalls, block: int, tmp_path: Path
) -> None:
    data = place(tmp_path, content(4 * block))
    await store.sharing_block()
    await copied(store, 1, 3 * block)
    assert (len(clones.cloned), copies.calls) == (1, 1)  # the probe's, and one for all
    assert placed(tmp_path) == data[1 : 3 * block + 1]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, 3),
    start=st.integers(0, 3),
    count=st.integers(0, 3),
    odd=st.tuples(*[st.integers(-2, 2)] * 3),
)
def test_any_span_is_copied_right_and_all_that_can_be_is_shared(
    tmp_path: Path, block: int, at: int, start: int, count: int, odd: tuple[int, int, int]
) -> None:
    at, start, count = (
        max(0, blocks * block + odd_) for blocks, odd_ in zip((at, start, count), odd, strict=True)
    )
    data, before = content(7 * block), content(at, seed=2)
    clones = CloneCalls()
    (tmp_path / "source").write_bytes(data)
    (tmp_path / "target").write_bytes(before)
    directory_fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        copier = Copier(CopyingKernel(clones), directory_fd)
        copier.sharing_block()
        clones.cloned.clear()
        with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("r+b") as target:
            copier.copy(Span(source.fileno(), start, count, target.fileno(), at))
    finally:
        os.close(directory_fd)
    assert (tmp_path / "target").read_bytes() == before + data[start : start + count]
    whole = max(0, (at + count) // block - -(-at // block)) if (at - start) % block == 0 else 0
    assert sum(one.length for one in clones.cloned) == whole * block


@by_name
async def test_what_cannot_be_shared_after_all_is_copied(
    store: LocalBlobs, clones: CloneCalls, block: int, tmp_path: Path, error: int
) -> None:
    data = place(tmp_path, content(3 * block + 5))
    await store.sharing_block()
    clones.error = error
    await copied(store, 0, len(data))
    assert clones.calls == 2
    assert placed(tmp_path) == data


@pytest.mark.parametrize(("error", "kind"), [(errno.EIO, StoreError), (errno.ENOSPC, StoreFull)])
async def test_sharing_that_fails_leaves_the_blob_as_it_was(
    store: LocalBlobs, clones: CloneCalls, block: int, tmp_path: Path, error: int, kind: type[StoreError]
) -> None:
    place(tmp_path, content(3 * block))
    place(tmp_path, b"abc", KEY)
    await store.sharing_block()
    clones.error = error
    with pytest.raises(kind):
        await copied(store, 3, 2 * block, at=3)  # the head was copied by then
    assert placed(tmp_path) == b"abc"


# Copying


async def test_short_copies_go_on(
    store: LocalBlobs, clones: CloneCalls, copies: CopyCalls, tmp_path: Path
) -> None:
    clones.error = errno.EOPNOTSUPP
    data = place(tmp_path, content(1000))
    copies.most_bytes = 7
    await copied(store, 3, 995)
    assert copies.calls == 143
    assert placed(tmp_path) == data[3:998]


@pytest.mark.parametrize("fails_after", [0, 2])
@pytest.mark.parametrize(
    "error", [*CANNOT, None], ids=lambda error: "says-0" if error is None else errno.errorcode[error]
)
async def test_what_the_kernel_does_not_copy_is_read_and_written(
    store: LocalBlobs,
    clones: CloneCalls,
    copies: CopyCalls,
    tmp_path: Path,
    error: int | None,
    fails_after: int,
) -> None:
    clones.error = errno.EOPNOTSUPP
    data = place(tmp_path, content(2 * STEP_BYTES + 10))
    copies.most_bytes, copies.fails_after, copies.error = 7, fails_after, error
    await copied(store, 5, 2 * STEP_BYTES + 4)
    assert copies.calls == fails_after + 1
    assert placed(tmp_path) == data[5:-1]


@pytest.mark.parametrize(("error", "kind"), [(errno.EIO, StoreError), (errno.ENOSPC, StoreFull)])
async def test_a_copy_that_fails_leaves_the_blob_as_it_was(
    store: LocalBlobs,
    clones: CloneCalls,
    copies: CopyCalls,
    tmp_path: Path,
    error: int,
    kind: type[StoreError],
) -> None:
    clones.error = errno.EOPNOTSUPP
    data = place(tmp_path, content(100))
    copies.most_bytes, copies.fails_after, copies.error = 7, 2, error
    writer = await store.open_writer(KEY, at=0)
    await writer.write(memoryview(b"abc"))
    with pytest.raises(kind):
        await writer.copy_from(SOURCE, 0, 100)
    assert writer.written == await store.size(KEY) == 3
    assert store.statistics.copied_bytes == 0
    copies.fails_after = 1 << 40
    await writer.copy_from(SOURCE, 0, 100)
    await writer.aclose()
    assert store.statistics.copied_bytes == 100
    assert placed(tmp_path) == b"abc" + data


def by_sharing(clones: CloneCalls, copies: CopyCalls) -> None:
    pass


def by_the_kernel(clones: CloneCalls, copies: CopyCalls) -> None:
    clones.error = errno.EOPNOTSUPP


def by_hand(clones: CloneCalls, copies: CopyCalls) -> None:
    clones.error = errno.EOPNOTSUPP
    copies.fails_after, copies.error = 0, errno.ENOSYS


every_way = pytest.mark.parametrize("way", [by_sharing, by_the_kernel, by_hand])
Way = Callable[[CloneCalls, CopyCalls], None]


@every_way
async def test_a_full_disk_cuts_off_what_did_fit(
    store: LocalBlobs, clones: CloneCalls, copies: CopyCalls, block: int, tmp_path: Path, way: Way
) -> None:
    way(clones, copies)
    data = place(tmp_path, content(8 * block))
    before = place(tmp_path, content(block, seed=2), KEY)
    writer = await store.open_writer(KEY, at=block)
    with file_size_limit(5 * block - 10), pytest.raises(StoreFull):
        await writer.copy_from(SOURCE, 0, 7 * block)
    assert writer.written == await store.size(KEY) == block
    with file_size_limit(5 * block):
        await writer.copy_from(SOURCE, 0, 4 * block)
    await writer.aclose()
    assert placed(tmp_path) == before + data[: 4 * block]


@every_way
async def test_a_source_that_is_too_short_gives_nothing(
    store: LocalBlobs, clones: CloneCalls, copies: CopyCalls, block: int, tmp_path: Path, way: Way
) -> None:
    way(clones, copies)
    place(tmp_path, content(4 * block))
    with pytest.raises(BlobFault):
        await copied(store, 0, 4 * block + 1)
    assert copies.calls == 0
    assert placed(tmp_path) == b""


async def test_a_source_that_shrinks_meanwhile(
    store: LocalBlobs, clones: CloneCalls, copies: CopyCalls, tmp_path: Path
) -> None:
    clones.error = errno.EOPNOTSUPP
    place(tmp_path, content(100))
    place(tmp_path, b"abc", KEY)
    copies.most_bytes = 40
    copies.before = lambda: os.truncate(tmp_path / "incoming" / SOURCE, 70)
    with pytest.raises(BlobFault):
        await copied(store, 0, 100, at=3)
    assert placed(tmp_path) == b"abc"


async def test_a_symlink_is_no_source(store: LocalBlobs, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "incoming" / SOURCE).symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError):
        await copied(store, 0, 3)
    with pytest.raises(StoreError):
        await store.feed(SOURCE, Pieces(), 0, 3)
    assert placed(tmp_path) == b""


async def test_no_descriptor_is_left_open(store: LocalBlobs, copies: CopyCalls, tmp_path: Path) -> None:
    place(tmp_path, b"abc")
    before = os.listdir("/proc/self/fd")
    await copied(store, 0, 3)
    with pytest.raises(BlobFault):
        await copied(store, 0, 4)
    copies.fails_after, copies.error = 0, errno.EIO
    with pytest.raises(StoreError):
        await copied(store, 0, 3)
    await store.delete(SOURCE)
    with pytest.raises(BlobMissing):
        await copied(store, 0, 3)
    with pytest.raises(BlobMissing):
        await store.feed(SOURCE, Pieces(), 0, 3)
    assert os.listdir("/proc/self/fd") == before


async def test_copying_syncs_nothing(tmp_path: Path) -> None:
    kernel = FaultyKernel()
    with DataDirectory(tmp_path, ["personal"], kernel) as directory:
        store = LocalBlobs(directory, Disk(2))
        place(tmp_path, b"abcdef")
        writer = await store.open_writer(KEY, at=0)
        kernel.heal()
        await writer.copy_from(SOURCE, 0, 4)
        await writer.copy_from(SOURCE, 4, 2)
        assert not {"fsync", "fdatasync"} & {call.name for call in kernel.calls}
        await writer.aclose()
    assert (store.statistics.copied_bytes, store.statistics.written_bytes) == (6, 0)


async def test_a_writer_whose_sync_failed_copies_nothing(tmp_path: Path) -> None:
    kernel = FaultyKernel()
    with DataDirectory(tmp_path, ["personal"], kernel) as directory:
        store = LocalBlobs(directory, Disk(2))
        place(tmp_path, b"abcdef")
        writer = await store.open_writer(KEY, at=0)
        kernel.fail(errno.EIO, name="fdatasync")
        with pytest.raises(BlobFault):
            await writer.write(memoryview(b"x"), sync=True)
        with pytest.raises(BlobFault):
            await writer.copy_from(SOURCE, 0, 1)
        assert writer.written == await store.size(KEY) == 1
        await writer.aclose()


async def test_a_copy_that_has_begun_is_waited_for(
    store: LocalBlobs, clones: CloneCalls, copies: CopyCalls, tmp_path: Path
) -> None:
    clones.error = errno.EOPNOTSUPP
    inside, gate = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert gate.wait(10)

    copies.before = wait
    place(tmp_path, b"abcdef")
    writer = await store.open_writer(KEY, at=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.copy_from, SOURCE, 0, 6)
        await trio.to_thread.run_sync(inside.wait)
        nursery.cancel_scope.cancel()
        gate.set()
    assert writer.written == 6
    await writer.aclose()
    assert placed(tmp_path) == b"abcdef"


# Feeding


class Pieces:
    """A hash that remembers how it was fed."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.buffers: list[object] = []

    def update(self, data: memoryview, /) -> None:
        self.lengths.append(len(data))
        self.buffers.append(data.obj)


async def test_a_hash_is_fed_in_steps_through_one_buffer(store: LocalBlobs, tmp_path: Path) -> None:
    place(tmp_path, bytes(2 * STEP_BYTES + 100))
    pieces = Pieces()
    assert await store.feed(SOURCE, pieces, 50, 3 * STEP_BYTES) == 2 * STEP_BYTES + 50
    assert pieces.lengths == [STEP_BYTES, STEP_BYTES, 50]
    assert all(buffer is pieces.buffers[0] for buffer in pieces.buffers)


async def test_a_hash_is_fed_no_more_than_asked_for(store: LocalBlobs, tmp_path: Path) -> None:
    place(tmp_path, bytes(2 * STEP_BYTES))
    pieces = Pieces()
    assert await store.feed(SOURCE, pieces, 1, STEP_BYTES + 1) == STEP_BYTES + 1
    assert pieces.lengths == [STEP_BYTES, 1]
