"""Upload resources, disks that hang, and power that goes."""

from __future__ import annotations

from functools import partial as bind
from typing import Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.protocol.errors import (
    FileSizeExceeded,
    ServerError,
    UploadFailed,
)
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.digests import Digest
from penstock.storage.errors import StoreError
from tests.server.uploads.crash import killed, without_power
from tests.server.uploads.rig import FedBody, make_rig, whole_body
from tests.server.uploads.sums import assert_sums
from tests.server.uploads.test_concatenation import concatenate, finished, partial
from tests.server.uploads.test_invariants import slow, until
from tests.server.uploads.test_joining import refused


async def test_a_creation_outlasts_a_disk_that_hangs(autojump_clock: MockClock) -> None:
    """What the janitor finds idle meanwhile is not: it would be counted twice, or never."""
    rig = await make_rig()
    async with trio.open_nursery() as nursery:
        with slow(rig.store):
            nursery.start_soon(bind(rig.upload, partial=True), 100)
            await trio.sleep(100)
            nursery.start_soon(rig.gateway.janitor.round)
            await wait_all_tasks_blocked()
    assert_sums(rig)
    assert rig.gateway.statistics().reserved_bytes == 100


async def test_a_touch_outlasts_a_disk_that_hangs(autojump_clock: MockClock) -> None:
    rig = await make_rig(fsync="complete")
    one = await partial(rig, b"abc")
    await rig.open()
    async with trio.open_nursery() as nursery:
        with slow(rig.blobs):
            nursery.start_soon(concatenate, rig, one)
            await trio.sleep(100)
            nursery.start_soon(rig.gateway.janitor.round)
            await wait_all_tasks_blocked()
    assert (await rig.store.counts())["finished"] == 1


async def test_commits_that_end_out_of_order_reserve_what_the_last_one_says(
    autojump_clock: MockClock,
) -> None:
    for _ in range(20):  # which of two woken tasks runs first is chance
        rig = await make_rig()
        session_id = await rig.one_file()
        async with trio.open_nursery() as nursery:
            with slow(rig.store):
                nursery.start_soon(bind(rig.upload, session_id=session_id, file_id="f2"), 100)
                await wait_all_tasks_blocked()
                nursery.start_soon(bind(rig.command, fileId="f2"), "upload-cancel", session_id)
                await wait_all_tasks_blocked()
        rig.gateway._registry.drop(rig.live(session_id))
        assert rig.gateway.statistics().reserved_bytes == 0


async def test_an_expiry_that_comes_too_late_removes_nothing(autojump_clock: MockClock) -> None:
    rig = await make_rig(retention_s=100)
    place = await rig.upload(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, rig, ServerError, place, whole_body(b"abc"))
        await until(lambda: rig.file(*place[1:]).row.state is State.FINISHING)
        rig.blobs.fault = StoreError("the disk is away")
    rig.blobs.fault = None
    await trio.sleep(200)
    await rig.gateway.janitor.round()
    assert (await rig.head(place)).complete


async def test_what_was_terminated_after_it_failed_can_begin_anew(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(3)
    with pytest.raises(FileSizeExceeded):
        await rig.put(place.session_id, FedBody(b"abcd", ended=True), offset=0, file_id=place.file_id)
    await rig.gateway.resources.terminate(ANYBODY, place)
    await rig.put(place.session_id, whole_body(b"abc"), file_id=place.file_id)
    assert (await rig.head(place)).complete


async def test_a_power_cut_in_a_new_attempt_keeps_what_it_says_is_kept(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(6)
    await rig.patch(place, whole_body(b"abc"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bind(rig.put, file_id=place.file_id), place.session_id, FedBody(b"x", length=6))
        await wait_all_tasks_blocked()
        rig = without_power(rig)
        nursery.cancel_scope.cancel()
    await rig.open()
    report = await rig.head(place)
    await rig.patch(place, whole_body(b"abcdef"[report.offset :]), offset=report.offset)
    assert await finished(rig, place) == b"abcdef"


@pytest.mark.parametrize("fsync", ["complete", "never"])
async def test_unsynced_bytes_do_not_become_a_file_after_a_power_cut(
    autojump_clock: MockClock, fsync: Literal["complete", "never"]
) -> None:
    rig = await make_rig(fsync=fsync)
    place = await rig.upload(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.patch, place, whole_body(b"abc"))
        await until(lambda: rig.file(*place[1:]).row.state is State.FINISHING)
        with slow(rig.blobs):
            await until(lambda: rig.store._tables.files[place[1:]].state is State.FINISHING)
            after = without_power(rig)
    rig = after
    await rig.open()
    with pytest.raises(UploadFailed):
        await rig.head(place)
    assert rig.blobs.published_blobs == {}


async def test_a_floor_is_worth_no_more_than_the_bytes_below_it(autojump_clock: MockClock) -> None:
    rig = await make_rig(fsync="complete")
    place = await rig.upload(6)
    await rig.patch(place, whole_body(b"abc"))
    body = FedBody(b"d", length=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bind(rig.patch, offset=3, digest=Digest("sha256", b"")), place, body)
        await wait_all_tasks_blocked()
        rig = without_power(rig)
        nursery.cancel_scope.cancel()
    await rig.open()
    with pytest.raises(UploadFailed):
        await rig.head(place)


@pytest.mark.parametrize("fsync", ["append", "complete", "never"])
@pytest.mark.parametrize("before", [0, 3])
async def test_a_kill_before_the_first_byte_fails_nothing(
    autojump_clock: MockClock, fsync: Literal["append", "complete", "never"], before: int
) -> None:
    """Its writer is open, but there is nothing yet that could have been lost."""
    rig = await make_rig(fsync=fsync)
    place = await rig.upload(6)
    if before:
        await rig.patch(place, whole_body(b"abc"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bind(rig.patch, offset=before), place, FedBody())
        await wait_all_tasks_blocked()
        rig = killed(rig)
        nursery.cancel_scope.cancel()
    await rig.open()
    assert (await rig.head(place)).offset == before


async def test_what_was_only_registered_before_a_power_cut_survives_a_kill_after_it(
    autojump_clock: MockClock,
) -> None:
    rig = await make_rig(fsync="complete")
    place = await rig.upload(6)
    rig = without_power(rig)
    await rig.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.patch, place, FedBody())
        await wait_all_tasks_blocked()
        rig = killed(rig)
        nursery.cancel_scope.cancel()
    await rig.open()
    await rig.patch(place, whole_body(b"abcdef"))
    assert await finished(rig, place) == b"abcdef"
