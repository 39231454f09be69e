"""Worker threads of one device: how many, how long, and what an OSError becomes."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

import pytest
import trio

from penstock.storage.disk import Disk
from penstock.storage.errors import StoreError, StoreFull
from tests.storage.gate import Gate


def raising(number: int) -> Callable[[], None]:
    def call() -> None:
        raise OSError(number, "why")

    return call


async def test_the_result_comes_back() -> None:
    assert await Disk(1).run(divmod, 7, 2) == (3, 1)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EFBIG, StoreFull), (errno.EIO, StoreError)],
)
async def test_what_an_oserror_means(number: int, kind: type[StoreError]) -> None:
    with pytest.raises(StoreError, match="why") as caught:
        await Disk(1).run(raising(number))
    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, OSError)


async def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError):
        await Disk(1).run(divmod, 1, 0)


async def test_the_oldest_running_call_is_timed() -> None:
    disk, gate = Disk(2), Gate()
    assert disk.longest_running_s() == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.run, gate)
        await gate.wait_inside()
        first = disk.longest_running_s()
        await disk.run(divmod, 1, 1)
        assert 0 < first < disk.longest_running_s()
        gate.let_go()
    assert disk.longest_running_s() == 0


async def test_a_failed_call_is_not_timed_on() -> None:
    disk = Disk(1)
    with pytest.raises(StoreError):
        await disk.run(raising(errno.EIO))
    assert disk.longest_running_s() == 0


async def test_no_more_threads_than_said() -> None:
    disk, gate, third = Disk(2), Gate(), threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.run, gate)
        nursery.start_soon(disk.run, gate)
        await gate.wait_inside()
        await gate.wait_inside()
        nursery.start_soon(disk.run, third.set)
        await trio.testing.wait_all_tasks_blocked()
        assert not third.is_set()
        gate.let_go()
    assert third.is_set()


async def test_a_running_call_is_never_abandoned() -> None:
    disk, gate = Disk(1), Gate()
    ended = False

    async def call() -> None:
        nonlocal ended
        await disk.run(gate)
        ended = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await gate.wait_inside()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert disk.longest_running_s() > 0
            gate.let_go()
    assert ended


async def test_a_waiting_call_is_cancelled_unless_shielded() -> None:
    disk, plain, shielded = Disk(1), threading.Event(), threading.Event()
    with trio.CancelScope() as scope:
        scope.cancel()
        await disk.run_shielded(shielded.set)
        await disk.run(plain.set)
    assert shielded.is_set()
    assert not plain.is_set()
