"""The faults that tests can switch on in the fakes."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.storage.errors import BlobFault, StoreError, StoreFull
from penstock.storage.state.base import AddFact
from tests.fakes.blobs import FakeBlobs
from tests.fakes.state import FakeState


async def test_full_blobs() -> None:
    store = FakeBlobs()
    store.full_at_bytes = 5
    writer = await store.open_writer("aa", at=0)
    await writer.write(memoryview(b"abc"))
    with pytest.raises(StoreFull):
        await writer.write(memoryview(b"def"))
    assert (writer.written, await store.free_bytes()) == (3, 2)
    await writer.write(memoryview(b"de"))
    assert store.incoming_bytes("aa") == b"abcde"


async def test_copies_into_full_blobs() -> None:
    store = FakeBlobs(block_bytes=4096)
    store.full_at_bytes = 5
    writer = await store.open_writer("aa", at=0)
    await writer.write(memoryview(b"abc"))
    with pytest.raises(StoreFull):
        await writer.copy_from("aa", 0, 3)
    assert (writer.written, store.copied_bytes) == (3, 0)
    await writer.copy_from("aa", 1, 2)
    assert store.incoming_bytes("aa") == b"abcbc"
    assert store.copied_bytes == 2


async def test_failing_syncs() -> None:
    store = FakeBlobs()
    writer = await store.open_writer("aa", at=0)
    store.fail_sync = True
    with pytest.raises(BlobFault):
        await writer.write(memoryview(b"abc"), sync=True)
    store.fail_sync = False
    with pytest.raises(BlobFault):
        await writer.sync()
    with pytest.raises(BlobFault):
        await writer.copy_from("aa", 0, 1)
    assert store.incoming_bytes("aa") == b"abc"


async def test_a_power_cut_takes_what_was_not_synced() -> None:
    store = FakeBlobs()
    writer = await store.open_writer("aa", at=0)
    await writer.write(memoryview(b"abc"), sync=True)
    await writer.write(memoryview(b"def"))
    await writer.copy_from("aa", 0, 3)
    store.power_cut()
    assert store.incoming_bytes("aa") == b"abc"


async def test_copies_are_durable_once_they_are_synced() -> None:
    store = FakeBlobs()
    writer = await store.open_writer("aa", at=0)
    await writer.write(memoryview(b"abc"))
    await writer.copy_from("aa", 0, 3)
    await writer.sync()
    store.power_cut()
    assert store.incoming_bytes("aa") == b"abcabc"


async def test_stalled_blobs(autojump_clock: MockClock) -> None:
    store = FakeBlobs()
    store.gate = trio.Event()
    begun_at = trio.current_time()

    async def go_on() -> None:
        await trio.sleep(30)
        assert store.gate is not None
        store.gate.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        with trio.move_on_after(5) as deadline:
            await store.delete("aa")
        assert not deadline.cancelled_caught  # as with a disk: late, but done
        assert trio.current_time() - begun_at == 30


@pytest.mark.parametrize("kind", ["blobs", "state"])
async def test_broken_stores(kind: str) -> None:
    blobs, state = FakeBlobs(), FakeState()
    blobs.fault = state.fault = StoreError("broken")
    call = blobs.delete("aa") if kind == "blobs" else state.commit((AddFact("s1", 1, b""),), hard=True)
    with pytest.raises(StoreError, match="broken"):
        await call
    assert (await state.counts())["facts"] == 0


async def test_stalled_commits_keep_their_order() -> None:
    state = FakeState()
    state.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for seq in (1, 2, 3):
            nursery.start_soon(commit, state, seq)
            await wait_all_tasks_blocked()
        assert state.commits == []
        state.gate.set()
    assert [changes for changes, _ in state.commits] == [[AddFact("s1", seq, b"")] for seq in (1, 2, 3)]


async def commit(state: FakeState, seq: int, hard: bool = True) -> None:
    await state.commit((AddFact("s1", seq, b""),), hard=hard)


async def test_a_power_cut_takes_soft_commits_since_the_last_hard_one() -> None:
    state = FakeState()
    for seq, hard in enumerate((False, True, False, False), start=1):
        await commit(state, seq, hard)
    epoch = state.epoch
    state.power_cut()
    assert await state.facts("s1", after=0, limit=9) == [(1, b""), (2, b"")]
    assert state.epoch != epoch
    assert state.boot_id == "boot-2"
