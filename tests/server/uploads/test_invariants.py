"""What must hold whenever a caller is cancelled, and when commands, appends, stores and time cross."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Literal

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.protocol.commands import FileSpec
from penstock.protocol.errors import (
    FileSizeExceeded,
    GatewayError,
    NetworkError,
    ServerError,
    UploadCancelled,
    UploadFailed,
    UploadLocked,
)
from penstock.protocol.events import SessionCompleted, UploadProgress
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.admission import Claim
from penstock.server.uploads.digests import Digest
from penstock.server.uploads.offsets import Manner
from penstock.storage.errors import StoreError
from tests.fakes.blobs import FakeBlobs
from tests.fakes.state import FakeState
from tests.server.uploads.cutting import AtStep, assert_at_rest, at_every_step
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body
from tests.server.uploads.sums import assert_nothing_held, assert_sums

pytestmark = pytest.mark.usefixtures("both_ways")

DATA = bytes(range(256)) * 1024  # 256 KiB


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def expect(rig: Rig, wanted: type[Exception], session_id: str, body: FedBody, **claim: Any) -> None:
    with pytest.raises(wanted):
        await rig.put(session_id, body, **claim)


@asynccontextmanager
async def running(
    rig: Rig, session_id: str, body: FedBody, wanted: type[GatewayError] | None = None, **claim: Any
) -> AsyncIterator[None]:
    """An append beside the block; both must end."""
    async with trio.open_nursery() as nursery:
        if wanted is None:
            nursery.start_soon(lambda: rig.put(session_id, body, **claim))
        else:
            nursery.start_soon(lambda: expect(rig, wanted, session_id, body, **claim))
        await settle()
        yield


async def failed_file(rig: Rig, size: int = 100, sent: int = 40) -> str:
    """A session whose only file failed for good with bytes in it."""
    session_id = await rig.one_file(size)
    await rig.put(session_id, whole_body(b"x" * sent), offset=0)
    rig.blobs.fail_sync = True
    await expect(rig, ServerError, session_id, whole_body(b"x"), offset=sent)
    rig.blobs.fail_sync = False
    assert rig.file(session_id).row.state is State.FAILED
    return session_id


async def until(condition: Callable[[], object]) -> None:
    """Let others run until something is so: the next step is then in the middle of what they do."""
    for _ in range(1000):
        if condition():
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("it never came to that")


# A refused input changes nothing


async def test_refused_pause_of_a_failed_file_leaves_its_new_attempt_alone(
    autojump_clock: MockClock,
) -> None:
    rig = await make_rig()
    session_id = await failed_file(rig)
    body = FedBody(length=100)
    async with running(rig, session_id, body):
        with pytest.raises(UploadFailed):
            await rig.command("upload-pause", session_id, fileId="f1")
        started_at = trio.current_time()
        body.feed(b"z" * 100)
    assert trio.current_time() == started_at  # not held
    assert await rig.finished_bytes(session_id) == b"z" * 100


async def test_refused_take_over_leaves_the_holder_alone(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 40, length=100)
    async with running(rig, session_id, body, offset=0):
        await expect(rig, FileSizeExceeded, session_id, whole_body(b"y" * 101), offset=0)
        body.feed(b"x" * 60)
    assert await rig.finished_bytes(session_id) == b"x" * 100


@contextmanager
def slow(store: FakeBlobs | FakeState) -> Iterator[None]:
    """What the store is asked in this block is done when the block ends."""
    store.gate = gate = trio.Event()
    try:
        yield
    finally:
        store.gate = None
        gate.set()


async def test_start_is_all_or_nothing_under_the_latch(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await two_files(rig)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rig.put(session_id, whole_body(b"abc"), file_id="f2"))
        await until(lambda: rig.file(session_id, "f2").row.state is State.FINISHING)
        with slow(rig.blobs):
            await rig.command("upload-pause", session_id)
            await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="c", file_id="f3")])
            with pytest.raises(UploadLocked):
                await rig.command("upload-start", session_id, fileIds=["f3", "f2"], category="personal")
            assert rig.file(session_id, "f3").row.state is State.PENDING
    assert_sums(rig)


async def two_files(rig: Rig) -> str:
    answer = await rig.session(
        {"fileName": "a", "fileId": "f1", "fileSize": 100}, {"fileName": "b", "fileId": "f2", "fileSize": 3}
    )
    return str(answer["sessionId"])


async def test_length_of_a_body_that_never_came_is_not_the_files(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file()
    body = FedBody(length=100)
    async with running(rig, session_id, body, NetworkError):
        body.break_off()
    await rig.put(session_id, whole_body(b"x" * 50))
    assert await rig.finished_bytes(session_id) == b"x" * 50


# Pause, resume and appends that come and go at the same moment


async def test_pause_right_after_resume_is_answered_at_once(autojump_clock: MockClock) -> None:
    for _ in range(20):  # which of two woken tasks runs first is chance
        rig = await make_rig()
        session_id = await rig.one_file(100)
        body = FedBody(b"x" * 10, length=100)
        async with running(rig, session_id, body):
            await rig.command("upload-pause", session_id, fileId="f1")
            started_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                for name in ("upload-resume", "upload-pause"):
                    nursery.start_soon(partial(rig.command, name, session_id, fileId="f1"))
            assert trio.current_time() == started_at
            await rig.command("upload-resume", session_id)
            body.feed(b"y" * 90)


@pytest.mark.parametrize("steps", range(12))
async def test_pause_beside_a_take_over_stops_the_newcomer(autojump_clock: MockClock, steps: int) -> None:
    """The writer that the pause waits for is replaced meanwhile: the new one must not grow the file."""
    rig = await make_rig()
    session_id = await rig.one_file(100)
    old, new = FedBody(b"x" * 10, length=100), FedBody(length=90)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: expect(rig, UploadLocked, session_id, old, offset=0))
        await settle()
        nursery.start_soon(lambda: rig.put(session_id, new, offset=10))
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        answer = await rig.command("upload-pause", session_id, fileId="f1")
        new.feed(b"y" * 90)
        await settle()
        assert rig.file(session_id).row.state is State.PAUSED
        assert rig.file(session_id).received == answer["uploadedBytes"]
        await rig.command("upload-resume", session_id, fileId="f1")
    assert await rig.finished_bytes(session_id) == b"x" * 10 + b"y" * 90


@pytest.mark.parametrize("steps", range(12))
async def test_pause_fact_is_told_though_the_append_ends(autojump_clock: MockClock, steps: int) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 10, length=100)
    async with rig.watcher(session_id) as watcher, trio.open_nursery() as nursery:
        caller = trio.CancelScope()
        nursery.start_soon(cancellable, caller, rig, session_id, body)
        await settle()
        nursery.start_soon(lambda: rig.command("upload-pause", session_id, fileId="f1"))
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        caller.cancel()
        await settle()
        events = await watcher.drain()
    facts = [e for e in events if isinstance(e, UploadProgress) and e.fact is True]
    assert rig.file(session_id).row.state is State.PAUSED
    assert [fact.current_file.status for fact in facts if fact.current_file] == ["paused"]


async def cancellable(scope: trio.CancelScope, rig: Rig, session_id: str, body: FedBody) -> None:
    with scope:
        await rig.put(session_id, body, offset=0)


async def test_failed_file_waits_under_the_latch_like_any_other(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await failed_file(rig)
    await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="b", file_id="f2", file_size=3)])
    await rig.command("upload-pause", session_id)
    body = whole_body(b"z" * 100)
    async with running(rig, session_id, body):
        assert body.taken == 0
        await rig.command("upload-resume", session_id)
    assert await rig.finished_bytes(session_id) == b"z" * 100


async def test_latch_holds_the_new_attempt_of_a_failed_file(autojump_clock: MockClock) -> None:
    """It was let in before the pause, but has not brought a byte."""
    rig = await make_rig()
    session_id = await failed_file(rig)
    await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="b", file_id="f2", file_size=3)])
    body = FedBody(length=100)
    async with running(rig, session_id, body):
        await rig.command("upload-pause", session_id)
        body.feed(b"z" * 100)
        await settle()
        assert body.taken == 0
        await rig.command("upload-resume", session_id)
    assert await rig.finished_bytes(session_id) == b"z" * 100


async def test_pause_of_a_whole_file_comes_too_late(autojump_clock: MockClock) -> None:
    """All bytes are here, only the end of a chunked body is not: nobody would ever finish the file."""
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 100)
    async with running(rig, session_id, body):
        with pytest.raises(GatewayError):
            await rig.command("upload-pause", session_id, fileId="f1")
    assert await rig.finished_bytes(session_id) == b"x" * 100


@pytest.mark.parametrize("how", ["break", "cut", "polite"])
async def test_whole_file_is_finished_however_the_request_ends(autojump_clock: MockClock, how: str) -> None:
    """A client that reads the offset would take the upload for done: nobody would ever finish it."""
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 100)
    with trio.move_on_after(1 if how == "cut" else 100):
        async with running(rig, session_id, body):
            if how == "break":
                body.break_off()
            elif how == "polite":
                await trio.sleep(5)
                await rig.offset(session_id, Manner.POLITE)
    assert await rig.finished_bytes(session_id) == b"x" * 100


async def test_pause_after_a_kill_does_not_hide_a_whole_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 99), offset=0)
    blob = rig.blobs.incoming_blobs[rig.file(session_id).row.blob_key]
    blob.data += b"x"  # written, and killed before it was promised
    await rig.open()
    await rig.command("upload-pause", session_id)
    assert (await rig.offset(session_id)).status == "completed"
    assert await rig.finished_bytes(session_id) == b"x" * 100


async def test_ack_of_a_pause_after_a_kill_names_the_true_bytes(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    rig.blobs.incoming_blobs[rig.file(session_id).row.blob_key].data += b"x" * 10
    await rig.open()
    answer = await rig.command("upload-pause", session_id, fileId="f1")
    assert answer["durableBytes"] == (await rig.offset(session_id)).offset == 50


async def test_writer_that_waited_is_not_stuck(autojump_clock: MockClock) -> None:
    """Time in which it was held is not time in which it brought nothing."""
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 10, length=100)
    async with running(rig, session_id, body):
        await rig.command("upload-pause", session_id, fileId="f1")
        await trio.sleep(20)
        await rig.command("upload-resume", session_id, fileId="f1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed_later, body, b"y" * 90)
            with pytest.raises(UploadLocked):
                await rig.offset(session_id, Manner.POLITE)


async def feed_later(body: FedBody, data: bytes) -> None:
    await trio.sleep(0.1)
    body.feed(data[:1])
    await trio.sleep(0.2)
    body.feed(data[1:])


# Cancel leaves nothing


@pytest.mark.parametrize("steps", range(10))
async def test_cancelled_new_attempt_leaves_no_bytes(autojump_clock: MockClock, steps: int) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    body = FedBody(length=100)
    async with running(rig, session_id, body, UploadCancelled):
        body.feed(b"y" * 10)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        await rig.command("upload-cancel", session_id, fileId="f1")
    assert rig.blobs.incoming_blobs == {}
    assert_nothing_held(rig)
    assert_sums(rig)


async def test_new_attempt_without_a_byte_leaves_no_blob(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    body = FedBody(length=100)
    async with running(rig, session_id, body, NetworkError):
        body.break_off()
    assert [bytes(blob.data) for blob in rig.blobs.incoming_blobs.values()] == [b"x" * 40]


async def test_cancelled_failure_is_forgotten_for_good(autojump_clock: MockClock) -> None:
    rig = await make_rig(max_retries=0)
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    body = FedBody(length=60)
    async with running(rig, session_id, body, NetworkError, offset=40, retry_limit=True):
        body.break_off()
    await rig.command("upload-cancel", session_id, fileId="f1")
    await rig.open()
    await rig.gateway.snapshot(ANYBODY, session_id)
    await expect(rig, UploadFailed, session_id, FedBody(b"y" * 60, length=60, ended=True), offset=40)


async def test_stopped_request_of_a_completed_file_is_told_so(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rig.put(session_id, whole_body(b"abc")))
        await until(lambda: rig.file(session_id).published)
        with pytest.raises(GatewayError):
            await rig.command("upload-cancel", session_id, fileId="f1")
    assert await rig.finished_bytes(session_id) == b"abc"


async def test_request_that_comes_while_a_cancel_waits_is_stopped_too(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await two_files(rig)
    body = FedBody(length=100)
    async with trio.open_nursery() as nursery:
        async with rig.gateway.append(ANYBODY, session_id, "f2", Claim(0, 3)):  # slow to let go
            nursery.start_soon(rig.command, "upload-cancel", session_id)
            await settle()
            nursery.start_soon(lambda: expect(rig, UploadCancelled, session_id, body, offset=0))
            await settle()
        body.feed(b"y" * 100)
    assert rig.file(session_id).row.state is State.CANCELLED
    assert_nothing_held(rig)


async def test_latch_of_an_ended_session_can_be_lifted(autojump_clock: MockClock) -> None:
    """A failed file's new attempt waits behind it."""
    rig = await make_rig()
    session_id = await failed_file(rig)
    await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="b", file_id="f2")])
    await rig.command("upload-pause", session_id)
    await rig.command("upload-cancel", session_id, fileId="f2")
    async with running(rig, session_id, whole_body(b"z" * 100)):
        await rig.command("upload-resume", session_id)
    assert await rig.finished_bytes(session_id) == b"z" * 100


# Empty files and unknown lengths


@pytest.mark.parametrize("length", [None, 0])
async def test_empty_body_over_old_bytes_is_an_empty_file(
    autojump_clock: MockClock, length: int | None
) -> None:
    rig = await make_rig()
    session_id = await rig.one_file()
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    await rig.put(session_id, FedBody(length=length, ended=True))
    assert await rig.finished_bytes(session_id) == b""
    row = rig.file(session_id).row
    assert (row.file_size, row.attempt) == (0, 2)
    assert_sums(rig)


async def test_empty_file_is_not_finished_before_it_is_sent(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(0)
    await rig.open()
    assert (await rig.offset(session_id)).status == "pending"
    await rig.put(session_id, whole_body(b""))
    assert await rig.finished_bytes(session_id) == b""


# Stores in trouble


async def test_store_that_fails_at_the_first_byte_is_one_plain_error(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(length=100)
    async with running(rig, session_id, body, ServerError):
        rig.store.fault = StoreError("the database is locked")
        body.feed(b"x" * 10)
    rig.store.fault = None
    assert_nothing_held(rig)
    await rig.put(session_id, whole_body(b"x" * 100))
    assert await rig.finished_bytes(session_id) == b"x" * 100
    assert_sums(rig)


async def test_failed_creation_reserves_nothing(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    rig.store.fault = StoreError("the database is locked")
    with pytest.raises(StoreError):
        await rig.one_file(100)
    assert rig.gateway.statistics().reserved_bytes == 0


@pytest.mark.parametrize("fsync", ["append", "complete"])
async def test_reservation_outlives_memory(
    autojump_clock: MockClock, fsync: Literal["append", "complete"]
) -> None:
    rig = await make_rig(fsync=fsync)
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    rig.gateway._registry.drop(rig.live(session_id))
    await rig.offset(session_id)
    assert rig.gateway.statistics().reserved_bytes == 60


async def test_broken_session_is_loaded_anew_only_when_its_appends_are_gone(
    autojump_clock: MockClock,
) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(300)
    body = FedBody(b"x" * 10, length=300)
    async with running(rig, session_id, body, GatewayError, offset=0):
        old = rig.live(session_id)
        visit = rig.file(session_id).append
        assert visit is not None
        rig.store.fault = StoreError("the database is locked")
        with pytest.raises(StoreError):
            await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="b")])
        rig.store.fault = None
        async with trio.open_nursery() as nursery:
            with slow(rig.blobs):  # its last bytes take long
                nursery.start_soon(rig.offset, session_id)
                await settle()
                assert session_id not in rig.gateway._registry.sessions
        assert visit.done.is_set()
        assert rig.live(session_id) is not old
    report = await rig.offset(session_id)
    await rig.put(session_id, whole_body((b"x" * 300)[report.offset :]), offset=report.offset)
    assert await rig.finished_bytes(session_id) == b"x" * 300
    assert_sums(rig)


async def test_power_cut_while_finishing_loses_nothing(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: expect(rig, ServerError, session_id, whole_body(b"abc")))
        await until(lambda: rig.file(session_id).published)
        with slow(rig.store):
            await until(lambda: rig.blobs.published_blobs)
            rig.store.power_cut()
            rig.store.fault = StoreError("no power")
    rig.store.fault = None
    rig.blobs.power_cut()
    await rig.open()
    assert (await rig.offset(session_id)).status == "completed"
    assert await rig.finished_bytes(session_id) == b"abc"


async def test_finishing_that_met_a_fault_is_tried_again(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: expect(rig, ServerError, session_id, whole_body(b"abc")))
        await until(lambda: rig.file(session_id).row.state is State.FINISHING)
        rig.blobs.fault = StoreError("the disk is away")
    rig.blobs.fault = None
    await rig.gateway.janitor.round()
    assert await rig.finished_bytes(session_id) == b"abc"


async def test_power_cut_without_sync_never_rolls_an_offset_back(autojump_clock: MockClock) -> None:
    rig = await make_rig(fsync="complete")
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    rig.blobs.power_cut()
    rig.store.power_cut()
    await rig.open()
    assert (await rig.offset(session_id)).status == "failed"


async def test_offset_of_a_file_out_of_retries_survives_a_kill(autojump_clock: MockClock) -> None:
    rig = await make_rig(max_retries=0, fsync="complete")
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    body = FedBody(length=60)
    async with running(rig, session_id, body, NetworkError, offset=40, retry_limit=True):
        body.break_off()
    # An append that brings no first byte does not start the file: it had been uploading before.
    assert rig.file(session_id).row.state is State.FAILED
    await rig.open()
    await rig.put(session_id, whole_body(b"y" * 60), offset=40)
    assert await rig.finished_bytes(session_id) == b"x" * 40 + b"y" * 60


# Time


async def test_activity_after_the_retry_wait_reopens_the_session(autojump_clock: MockClock) -> None:
    rig = await make_rig(retry_wait_s=60)
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 40, length=100)
    async with rig.watcher(session_id) as watcher:
        async with running(rig, session_id, body, NetworkError, offset=0):
            body.break_off()
        await trio.sleep(70)
        await rig.gateway.janitor.round()
        await rig.command("upload-cancel", session_id, fileId="f1")
        told = [e for e in await watcher.drain() if isinstance(e, SessionCompleted)]
    assert [(e.summary.failed_files, e.summary.cancelled_files) for e in told] == [(1, 0), (0, 1)]


async def test_forgotten_session_gives_its_reservation_back(autojump_clock: MockClock) -> None:
    rig = await make_rig(retry_wait_s=60, ended_retention_s=3600, retention_s=7200)
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 40, length=100)
    async with running(rig, session_id, body, NetworkError, offset=0):
        body.break_off()
    with trio.move_on_after(20_000):
        await rig.gateway.janitor.run()
    assert (await rig.store.counts())["sessions"] == 0
    assert rig.gateway.statistics().reserved_bytes == 0
    assert rig.blobs.incoming_blobs == {}


async def test_session_in_use_does_not_leave_memory(autojump_clock: MockClock) -> None:
    rig = await make_rig(session_timeout_s=60)
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 100, length=100, ended=True)
    await trio.sleep(70)
    async with trio.open_nursery() as nursery:
        with slow(rig.store):
            nursery.start_soon(rig.gateway.janitor.round)
            await settle()  # it is about to say good bye
            nursery.start_soon(lambda: rig.put(session_id, body))
            await settle()
    assert await rig.finished_bytes(session_id) == b"x" * 100
    assert_sums(rig)


async def test_more_files_lower_the_sessions_progress(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    async with rig.watcher(session_id):
        await rig.put(session_id, whole_body(b"x" * 100))
    await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="b", file_size=100)])
    assert (await rig.gateway.snapshot(ANYBODY, session_id)).total_progress == 50.0


# The caller is cancelled at any of its steps


WHOLE = b"x" * 70_000 + b"y" * 70_000
Scenario = Callable[[Rig, str, trio.CancelScope], Awaitable[None]]


async def paused_and_resumed(rig: Rig, session_id: str, caller: trio.CancelScope) -> None:
    body = FedBody(WHOLE[:70_000], length=len(WHOLE))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_scope, caller, partial(rig.put, session_id, body, offset=0))
        await until(lambda: body.taken or caller.cancel_called)
        await rig.command("upload-pause", session_id, fileId="f1")
        body.feed(WHOLE[70_000:])
        await rig.command("upload-resume", session_id, fileId="f1")


async def new_attempt(rig: Rig, session_id: str, caller: trio.CancelScope) -> None:
    await rig.put(session_id, whole_body(b"old"), offset=0)
    await in_scope(caller, partial(rig.put, session_id, whole_body(WHOLE)))


async def verified(rig: Rig, session_id: str, caller: trio.CancelScope) -> None:
    digest = Digest("sha256", hashlib.sha256(WHOLE[:100_000]).digest())
    await in_scope(caller, partial(rig.put, session_id, whole_body(WHOLE[:100_000]), offset=0, digest=digest))


async def taken_over(rig: Rig, session_id: str, caller: trio.CancelScope) -> None:
    old, new = FedBody(WHOLE[:100], length=200), whole_body(WHOLE[100:])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: expect(rig, UploadLocked, session_id, old, offset=0))
        await until(lambda: old.taken == 100)
        await rig.command("upload-pause", session_id)  # so that the bytes are durable, and may be continued
        await rig.command("upload-resume", session_id)
        await until(lambda: rig.file(session_id).durable == 100)
        await in_scope(caller, partial(rig.put, session_id, new, offset=100))
        await rig.offset(session_id, Manner.FORCE)


async def commanded(name: str, rig: Rig, session_id: str, caller: trio.CancelScope) -> None:
    """The one who commands goes away, not the one who sends."""
    body = FedBody(WHOLE[:70_000], length=len(WHOLE))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tolerant, partial(rig.put, session_id, body, offset=0))
        await until(lambda: body.taken)
        await in_scope(caller, partial(rig.command, name, session_id))
        body.break_off()


async def drained(rig: Rig, session_id: str, caller: trio.CancelScope) -> None:
    body = FedBody(WHOLE[:70_000], length=len(WHOLE))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_scope, caller, partial(rig.put, session_id, body, offset=0))
        await until(lambda: body.taken or caller.cancel_called)
        await rig.gateway.drain()
    await rig.open()
    await rig.offset(session_id)


async def in_scope(scope: trio.CancelScope, call: Callable[[], Awaitable[object]]) -> None:
    with scope:
        await tolerant(call)


async def tolerant(call: Callable[[], Awaitable[object]]) -> None:
    with suppress(GatewayError):
        await call()


SCENARIOS: dict[str, Scenario] = {
    "paused-and-resumed": paused_and_resumed,
    "new-attempt": new_attempt,
    "verified": verified,
    "taken-over": taken_over,
    "drained": drained,
    "pause": partial(commanded, "upload-pause"),
    "cancel": partial(commanded, "upload-cancel"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_caller_cancelled_at_every_step(name: str) -> None:
    at_every_step(partial(cut_once, SCENARIOS[name]), at_least=10)


async def cut_once(scenario: Scenario, cut: AtStep) -> None:
    rig = await make_rig(buffer_pool_bytes=128 * 1024)  # buffers of 64 KiB: several writes
    session_id = await rig.one_file(len(WHOLE))
    caller = trio.CancelScope()
    cut.arm(caller.cancel)
    await scenario(rig, session_id, caller)
    cut.disarm()
    assert_at_rest(rig)
    await finish(rig, session_id)
    assert_at_rest(rig)


async def finish(rig: Rig, session_id: str) -> None:
    """Go on as a client would, from the offset that it is told: nothing may be lost or doubled."""
    file = rig.file(session_id)
    if file.row.state is State.CANCELLED:
        assert rig.blobs.incoming_blobs == {}
        return
    await tolerant(partial(rig.command, "upload-resume", session_id))
    report = await rig.offset(session_id)
    assert not report.busy
    if report.status != "completed":
        kept = rig.blobs.incoming_blobs.get(file.row.blob_key)
        assert report.offset == file.row.synced == (kept.durable if kept else 0)
        again = report.attempt == 1 and report.offset == 3  # the old attempt of a file that got no new one
        start = None if again else report.offset
        await rig.put(session_id, whole_body(WHOLE[start or 0 :]), offset=start)
    assert await rig.finished_bytes(session_id) == WHOLE
    assert rig.blobs.incoming_blobs == {}


async def test_progress_never_overtakes_a_fact(autojump_clock: MockClock) -> None:
    """Who comes back with the `seq` of a progress event must have seen that fact."""
    rig = await make_rig()
    session_id = await rig.one_file(100)
    async with rig.watcher(session_id) as watcher:
        seen: list[bool] = []

        async def write() -> None:
            while (entry := await watcher.watch.pull()) is None or len(entry.events) < 2:
                if entry is not None:
                    seen.append(entry.seq <= watcher.watch.cursor)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await rig.put(session_id, whole_body(b"x" * 100))
    assert seen
    assert all(seen)
