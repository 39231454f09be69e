"""After a crash: the file says how much is there, the row how much is promised."""

from __future__ import annotations

import hashlib
from typing import Literal

import pytest
import trio
from trio.testing import MockClock

from penstock.protocol.commands import FileSpec
from penstock.protocol.errors import ServerError, UploadCancelled, UploadFailed
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.digests import Digest
from tests.fakes.state import FakeState
from tests.server.uploads.crash import killed, without_power
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body

pytestmark = pytest.mark.usefixtures("both_ways")


async def crash_in_mid_upload(rig: Rig, session_id: str, sent: int, digest: Digest | None = None) -> None:
    """Let `sent` bytes come in and be written, then lose the process: its memory is simply dropped."""
    async with trio.open_nursery() as nursery:
        body = FedBody(b"x" * sent, length=100)
        nursery.start_soon(lambda: rig.put(session_id, body, offset=0, digest=digest))
        await trio.sleep(2)
        frozen_rows = rig.store._tables.copy()
        frozen_blobs = {key: bytes(blob.data) for key, blob in rig.blobs.incoming_blobs.items()}
        durable = {key: blob.durable for key, blob in rig.blobs.incoming_blobs.items()}
        nursery.cancel_scope.cancel()
    rig.store._tables = frozen_rows
    for key, data in frozen_blobs.items():
        rig.blobs.incoming_blobs[key].data[:] = data
        rig.blobs.incoming_blobs[key].durable = durable[key]
    await rig.open()


async def test_a_killed_process_loses_nothing_that_was_written(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await crash_in_mid_upload(rig, session_id, 40)
    assert (await rig.offset(session_id)).offset == 40
    row = rig.file(session_id).row
    assert row.synced == rig.blobs.incoming_blobs[row.blob_key].durable == 40
    await rig.put(session_id, whole_body(b"y" * 60), offset=40)
    assert await rig.finished_bytes(session_id) == b"x" * 40 + b"y" * 60


async def test_a_power_cut_keeps_what_was_promised(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    announced = (await rig.offset(session_id)).offset
    rig.blobs.power_cut()
    rig.store.power_cut()
    await rig.open()
    assert (await rig.offset(session_id)).offset >= announced == 40


@pytest.mark.parametrize("later", [False, True])
async def test_a_power_cut_takes_nothing_that_was_registered(autojump_clock: MockClock, later: bool) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    if later:
        await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="b", file_id="f2", file_size=3)])
    rig.blobs.power_cut()
    rig.store.power_cut()
    await rig.open()
    for file_id in ("f1", "f2") if later else ("f1",):
        await rig.put(session_id, whole_body(b"abc"), file_id=file_id)
        assert await rig.finished_bytes(session_id, file_id) == b"abc"


async def test_a_power_cut_brings_back_nothing_that_was_cancelled(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="b")])  # so that it is not the end
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    await rig.command("upload-cancel", session_id, fileId="f1")
    rig.blobs.power_cut()
    rig.store.power_cut()
    await rig.open()
    with pytest.raises(UploadCancelled):
        await rig.offset(session_id)


async def test_what_a_recovery_has_announced_survives_a_power_cut(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rig.put(session_id, FedBody(b"x" * 40, length=100), offset=0))
        await trio.sleep(2)
        after = killed(rig)
        nursery.cancel_scope.cancel()
    await after.open()
    assert (await after.offset(session_id)).offset == 40
    rebooted = without_power(after)
    await rebooted.open()
    assert (await rebooted.offset(session_id)).offset == 40


async def test_a_power_cut_loses_only_what_was_not_promised(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await crash_in_mid_upload(rig, session_id, 40)
    rig.blobs.power_cut()
    rig.store.boot_id = "boot-2"
    await rig.open()
    assert (await rig.offset(session_id)).offset == 0
    await rig.put(session_id, whole_body(b"z" * 100))
    assert await rig.finished_bytes(session_id) == b"z" * 100


async def test_unverified_bytes_are_cut_off(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    digest = Digest("sha256", hashlib.sha256(b"x" * 100).digest())
    await crash_in_mid_upload(rig, session_id, 40, digest)
    assert rig.store._tables.files[session_id, "f1"].floor == 0
    assert (await rig.offset(session_id)).offset == 0
    assert rig.file(session_id).row.floor is None
    assert rig.blobs.incoming_bytes(rig.file(session_id).row.blob_key) == b""


async def test_all_bytes_there_are_finished_at_the_first_touch(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await crash_in_mid_upload(rig, session_id, 99)
    key = rig.store._tables.files[session_id, "f1"].upload_id + ".1"
    rig.blobs.incoming_blobs[key].data += b"x"
    await rig.offset(session_id)
    assert await rig.finished_bytes(session_id) == b"x" * 100


async def test_missing_synced_bytes_fail_the_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    key = rig.file(session_id).row.blob_key
    del rig.blobs.incoming_blobs[key].data[30:]
    await rig.open()
    assert (await rig.offset(session_id)).status == "failed"
    with pytest.raises(UploadFailed):
        await rig.put(session_id, whole_body(b"y" * 60), offset=40)
    await rig.put(session_id, whole_body(b"z" * 100))
    assert await rig.finished_bytes(session_id) == b"z" * 100


async def test_a_sync_that_fails_fails_the_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    rig.blobs.fail_sync = True
    with pytest.raises(Exception, match="damaged"):
        await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    assert rig.file(session_id).row.state is State.FAILED
    rig.blobs.fail_sync = False
    await rig.put(session_id, whole_body(b"z" * 100))
    assert await rig.finished_bytes(session_id) == b"z" * 100


@pytest.mark.parametrize("size", [0, 40])
async def test_an_empty_file_may_follow_one_that_failed(autojump_clock: MockClock, size: int) -> None:
    """The size of the failed attempt was read off its body: it says nothing about the new one."""
    rig = await make_rig()
    session_id = await rig.one_file()
    rig.blobs.fail_sync = True
    with pytest.raises(ServerError):
        await rig.put(session_id, whole_body(b"x" * size))
    assert rig.file(session_id).row.state is State.FAILED
    rig.blobs.fail_sync = False
    await rig.put(session_id, whole_body(b""))
    assert await rig.finished_bytes(session_id) == b""


@pytest.mark.parametrize("fsync", ["complete", "never"])
async def test_without_sync_a_kill_keeps_and_a_power_cut_deactivates(
    autojump_clock: MockClock, fsync: Literal["complete", "never"]
) -> None:
    rig = await make_rig(fsync=fsync)
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    await rig.open()
    assert (await rig.offset(session_id)).offset == 40
    assert rig.blobs.syncs == 0 or fsync == "complete"
    rig.store.boot_id = "boot-2"
    await rig.open()
    assert (await rig.offset(session_id)).status == "failed"


async def test_interrupted_finishing_is_completed_at_start(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, whole_body(b"abc"))
        while not rig.file(session_id).published:
            await trio.lowlevel.checkpoint()
        frozen = rig.store._tables.copy()
    rig.store._tables = frozen
    await rig.open()
    assert (await rig.gateway.file(ANYBODY, session_id, "f1")).status == "completed"
    assert await rig.finished_bytes(session_id) == b"abc"


async def test_orphans_are_swept_at_start(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    kept = dict(rig.blobs.incoming_blobs)
    writer = await rig.blobs.open_writer("ab" * 16 + ".1", at=0)
    await writer.aclose()
    await rig.open()
    assert rig.blobs.incoming_blobs == kept


async def test_a_lost_database_costs_no_finished_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    await rig.put(session_id, whole_body(b"abc"))
    kept = dict(rig.blobs.published_blobs)
    rig.store = FakeState(born_at=rig.blobs.now + 1)
    await rig.open()
    assert rig.blobs.published_blobs == kept
    await rig.one_file(3)
    await rig.gateway.janitor.sweep_orphans(min_age_s=3600.0)
    assert rig.blobs.published_blobs == kept
