"""A disk that fails at any system call of any blob operation: what is raised, what is left, what works after.

Each operation is made again and again, with a fault at its first call, its second, … until it has no more.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from penstock.storage.data_directory import KEY_BYTES, DataDirectory, DataDirectoryError
from penstock.storage.errors import BlobFault, StoreError, StoreFull
from tests.acceptance.sizes import full_or
from tests.storage.faulty_kernel import FaultyKernel
from tests.storage.operations import (
    BLOB,
    CATEGORY,
    KEY,
    OPERATIONS,
    SMALL,
    SOURCE,
    Files,
    Operation,
    World,
    descriptors,
    incoming,
    world,
)

# ENOENT: the directory is gone. EMFILE: no descriptor is left.
SOME = (errno.ENOSPC, errno.EIO, errno.ENOENT)
ERRORS = full_or(SOME, (*SOME, errno.EROFS, errno.EDQUOT, errno.EMFILE))
FULL = (errno.ENOSPC, errno.EDQUOT)

every_operation = pytest.mark.parametrize("name", OPERATIONS)
every_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: errno.errorcode[error])


class Attempt:
    """An operation on a disk that fails somewhere in it."""

    def __init__(self, world: World, operation: Operation) -> None:
        self.world = world
        self.operation = operation
        self.before = world.files()
        self.goal = operation.after(self.before)
        self.descriptors = descriptors()
        self.written = world.writer.written
        self.outcome: object = None
        self.error: StoreError | None = None

    async def run(self) -> None:
        """Anything but a StoreError is let through, and fails the test. Then the disk is well again."""
        try:
            self.outcome = await self.operation.act(self.world)
        except StoreError as error:
            self.error = error
        self.world.kernel.heal()
        assert descriptors() <= self.descriptors

    def check_done(self) -> None:
        assert self.error is None
        assert self.outcome == self.operation.gives
        assert second_names_dropped(self.world.files()) == self.goal

    def check_error(self, error: int) -> None:
        assert type(self.error) in self.operation.documented
        assert type(self.error) is not StoreFull or error in FULL

    def check_each_file_is_old_or_new(self) -> None:
        now = second_names_dropped(self.world.files())
        for path in now | self.before | self.goal:
            assert now.get(path) in (self.before.get(path), self.goal.get(path)), path

    def check_nothing_is_changed(self) -> None:
        assert self.world.files() == self.before
        assert self.world.writer.written == self.written

    def check_nothing_is_lost(self) -> None:
        """What was there before and is to stay is there; behind it there may be anything, but in no
        published blob."""
        now = self.world.files()
        for path in self.before.keys() & self.goal.keys():
            assert now[path].startswith(min(self.before[path], self.goal[path], key=len)), path
        for path in now:
            if path.startswith("upload"):
                assert now[path] in (self.before.get(path), self.goal.get(path)), path

    async def run_again(self) -> None:
        if self.sync_failed:
            await replace_broken_writer(self.world, self.written)
        self.error = None
        await self.run()

    @property
    def sync_failed(self) -> bool:
        return self.operation.writes and type(self.error) is BlobFault


def second_names_dropped(files: Files) -> Files:
    """Without the incoming names of blobs that were stored and published at once: they belong to nobody."""
    return {path: data for path, data in files.items() if path not in {incoming(blob.key) for blob in SMALL}}


async def replace_broken_writer(world: World, at: int) -> None:
    """After a failed sync it refuses for ever, and another one takes its place."""
    for call in (
        world.writer.write(memoryview(b"x")),
        world.writer.sync(),
        world.writer.copy_from(SOURCE, 0, 1),
    ):
        with pytest.raises(BlobFault):
            await call
    await world.writer.aclose()
    world.writer = await world.store.open_writer(KEY, at=at)


async def fault_each_call(
    path: Path,
    operation: Operation,
    error: int,
    judge: Callable[[Attempt], Awaitable[None]],
    *,
    name: str | None = None,
    lasting: bool = False,
) -> int:
    """Let the first call fail, then the second, … until there is none left to fail. How many there were."""
    for nth in count(1):
        before = descriptors()
        async with world(path / str(nth)) as there:
            attempt = Attempt(there, operation)
            fault = there.kernel.fail(error, nth=nth, name=name, lasting=lasting)
            await attempt.run()
            if fault.happened:
                if attempt.error is not None:
                    attempt.check_error(error)
                await judge(attempt)
            else:
                attempt.check_done()
        assert descriptors() == before
        assert (there.store.statistics.open_writers, there.store.statistics.open_readers) == (0, 0)
        if not fault.happened:
            return nth - 1
    raise AssertionError("a count has no end")


async def judge_one_fault(attempt: Attempt) -> None:
    attempt.check_each_file_is_old_or_new()
    if attempt.error is None:
        attempt.check_done()
        return
    if attempt.operation.whole and not attempt.sync_failed:
        attempt.check_nothing_is_changed()
    await attempt.run_again()
    attempt.check_done()


async def judge_vanishing(attempt: Attempt) -> None:
    """That something is not there is an answer, too, and here it is a wrong one."""
    if attempt.error is None:
        attempt.check_each_file_is_old_or_new()
    else:
        await judge_one_fault(attempt)


async def judge_lasting_fault(attempt: Attempt) -> None:
    """Nor could be undone what was begun. Once the disk is well, the same writer puts that right."""
    attempt.check_nothing_is_lost()
    if attempt.operation.writes:
        await check_it_goes_on(attempt)
    elif attempt.error is not None and (
        not attempt.operation.whole or attempt.world.files() == attempt.before
    ):
        await attempt.run_again()
        attempt.check_done()


async def check_it_goes_on(attempt: Attempt) -> None:
    """With fewer bytes than those that failed, so that none of them can hide behind the new ones."""
    if attempt.sync_failed:
        await replace_broken_writer(attempt.world, attempt.written)
    writer = attempt.world.writer
    at = writer.written
    await writer.write(memoryview(b"x"))
    assert writer.written == at + 1
    assert attempt.world.files()[incoming(KEY)] == attempt.goal[incoming(KEY)][:at] + b"x"


@every_error
@every_operation
async def test_one_call_fails(memory: Path, name: str, error: int) -> None:
    judge = judge_vanishing if error == errno.ENOENT else judge_one_fault
    assert await fault_each_call(memory, OPERATIONS[name], error, judge)


@pytest.mark.parametrize("call", ["close", "clone_range"])
@every_operation
async def test_a_signal_breaks_a_call_off(memory: Path, name: str, call: str) -> None:
    """One of those two: Python repeats all others."""
    await fault_each_call(memory, OPERATIONS[name], errno.EINTR, judge_one_fault, name=call)


@every_error
@every_operation
async def test_all_calls_fail_from_one_on(memory: Path, name: str, error: int) -> None:
    assert await fault_each_call(memory, OPERATIONS[name], error, judge_lasting_fault, lasting=True)


@every_operation
async def test_the_directory_is_gone(memory: Path, name: str) -> None:
    """Removed behind our back. What is open still is; all else is refused, or is not there."""
    before = descriptors()
    async with world(memory / "data") as there:
        attempt = Attempt(there, OPERATIONS[name])
        shutil.rmtree(there.path)
        await attempt.run()
        if attempt.error is not None:
            attempt.check_error(errno.ENOENT)
        assert not there.path.exists()
    assert descriptors() == before


# Writes that come up short.


@pytest.mark.parametrize("name", ["write", "write-sync", "pour", "copy_from", "store_small"])
async def test_short_writes_go_on(memory: Path, name: str) -> None:
    operation = OPERATIONS[name]
    async with world(memory) as there:
        attempt = Attempt(there, operation)
        there.kernel.fail(errno.EXDEV, name="copy_file_range", lasting=True)
        there.kernel.most_bytes = 77
        await attempt.run()
        attempt.check_done()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=lambda error: errno.errorcode[error])
@pytest.mark.parametrize("name", ["write", "write-sync", "pour", "copy_from", "store_small"])
async def test_what_got_in_before_the_error_is_cut_off(memory: Path, name: str, error: int) -> None:
    for nth in (2, 3):
        async with world(memory / str(nth)) as there:
            attempt = Attempt(there, OPERATIONS[name])
            there.kernel.fail(errno.EXDEV, name="copy_file_range", lasting=True)
            there.kernel.most_bytes = 1
            there.kernel.fail(error, nth=nth, name="pwrite", path="incoming/")
            await attempt.run()
            attempt.check_error(error)
            attempt.check_nothing_is_changed()
            await attempt.run_again()
            attempt.check_done()


@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_what_was_poured_before_the_error_stays(memory: Path, nth: int) -> None:
    """And what was about to be written is still in the buffer."""
    pieces = [b"first!", b"second", b"third"]
    rest = pieces[1:]
    buffer = memoryview(bytearray(pieces[0]))

    def refill(buffer: memoryview) -> int:
        piece = rest.pop(0) if rest else b""
        buffer[: len(piece)] = piece
        return len(piece)

    async with world(memory) as there:
        there.kernel.fail(errno.ENOSPC, nth=nth, name="pwrite", path="incoming/")
        with pytest.raises(StoreFull):
            await there.writer.pour(buffer, len(buffer), refill)
        there.kernel.heal()
        assert there.files()[incoming(KEY)] == BLOB + b"".join(pieces[: nth - 1])
        assert bytes(buffer).startswith(pieces[nth - 1])
        assert there.store.statistics.written_bytes == len(b"".join(pieces[: nth - 1]))
        await there.writer.write(buffer[: len(pieces[nth - 1])])
        assert there.files()[incoming(KEY)] == BLOB + b"".join(pieces[:nth])


# The data directory.


def opened(path: Path, kernel: FaultyKernel) -> bytes:
    """Open and close it; its key."""
    with DataDirectory(path, [CATEGORY], kernel) as directory:
        return directory.key


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("there", [True, False])
@every_error
def test_opening_the_data_directory_fails(memory: Path, error: int, there: bool, lasting: bool) -> None:
    for nth in count(1):
        kernel, path = FaultyKernel(syncs=False), memory / str(nth) / "data"
        key = opened(path, kernel) if there else None
        before = descriptors()
        fault = kernel.fail(error, nth=nth, lasting=lasting or error == errno.ENOENT)
        with suppress(DataDirectoryError):
            found = opened(path, kernel)
            assert found == (path / "key").read_bytes()
        assert descriptors() == before
        kernel.heal()
        again = opened(path, kernel)
        assert len(again) == KEY_BYTES
        assert key in (None, again)
        if not fault.happened:
            break
