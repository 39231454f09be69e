"""Appends: bytes in, pauses, stops, breaks, take-overs, and what is promised at every end."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.protocol.errors import (
    ChecksumMismatch,
    ConnectionTimeout,
    FileSizeExceeded,
    InsufficientStorage,
    InvalidMessage,
    NetworkError,
    OffsetMismatch,
    ServerBusy,
    UploadAlreadyCompleted,
    UploadCancelled,
    UploadFailed,
    UploadLocked,
)
from penstock.protocol.events import UploadFailed as UploadFailedEvent
from penstock.protocol.events import UploadProgress
from penstock.protocol.lifecycle import State
from penstock.server.uploads.digests import Digest
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.health import DiskHealth
from penstock.server.uploads.offsets import Manner
from tests.server.uploads.rig import SERVER_KEY, FedBody, Rig, make_rig, whole_body

pytestmark = pytest.mark.usefixtures("both_ways")

DATA = bytes(range(256)) * 4096  # 1 MiB


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def expect(rig: Rig, wanted: type[Exception], session_id: str, body: FedBody, **claim: Any) -> None:
    with pytest.raises(wanted):
        await rig.put(session_id, body, **claim)


async def test_whole_file_is_published_byte_identical(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(len(DATA))
    async with rig.watcher(session_id) as watcher:
        await rig.put(session_id, whole_body(DATA))
        names = await watcher.names()
    assert await rig.finished_bytes(session_id) == DATA
    assert names[0] == "upload-started"
    assert names[-3:] == ["upload-completed", "session-completed", "upload-progress"]
    assert rig.blobs.incoming_blobs == {}
    assert rig.blobs.open_writers == 0
    assert rig.gateway.statistics().buffer_bytes == 0


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 3 * 1024 * 1024 + 17])
@pytest.mark.parametrize("known", [True, False])
async def test_every_size(autojump_clock: MockClock, size: int, known: bool) -> None:
    rig = await make_rig()
    data = (DATA * 4)[:size]
    session_id = await rig.one_file(size if known else None)
    await rig.put(session_id, FedBody(data, ended=True, length=size if known else None))
    assert await rig.finished_bytes(session_id) == data


async def test_last_progress_says_100_before_completed(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(len(DATA))
    async with rig.watcher(session_id) as watcher:
        await rig.put(session_id, whole_body(DATA))
        events = await watcher.drain()
    names = [event.NAME for event in events]
    before = [e for e in events[: names.index("upload-completed")] if isinstance(e, UploadProgress)]
    assert before[-1].progress == 100.0
    last = events[-1]
    assert isinstance(last, UploadProgress)
    assert (last.overall_status, last.total_progress, last.file_id) == ("completed", 100.0, None)


async def test_completed_is_told_when_the_file_is_in_its_place(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    async with rig.watcher(session_id) as watcher, trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, whole_body(b"abc"))
        while rig.file(session_id).row.state is not State.FINISHING:
            await trio.lowlevel.checkpoint()
        rig.blobs.gate = trio.Event()
        await settle()
        early, published = await watcher.names(), rig.blobs.published_blobs.copy()
        rig.blobs.gate.set()
        await settle()
        assert (published, "upload-completed" in early) == ({}, False)
        assert "upload-completed" in await watcher.names()


async def test_in_parts_with_exact_offsets(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file()
    await rig.put(session_id, whole_body(b"abc"), offset=0, length=9)
    assert (await rig.offset(session_id)).offset == 3
    await expect(rig, OffsetMismatch, session_id, whole_body(b"xyz"), offset=0, length=9)
    await expect(rig, OffsetMismatch, session_id, whole_body(b"xyz"), offset=4, length=9)
    await expect(rig, InvalidMessage, session_id, whole_body(b"xyz"), offset=3, length=10)
    await expect(rig, FileSizeExceeded, session_id, whole_body(b"x" * 7), offset=3, length=9)
    assert rig.file(session_id).row.state is State.UPLOADING
    await rig.put(session_id, whole_body(b"defghi"), offset=3, length=9)
    assert await rig.finished_bytes(session_id) == b"abcdefghi"
    await expect(rig, UploadAlreadyCompleted, session_id, whole_body(b"x"), offset=9)


async def test_announced_offset_is_synced_first(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    key = rig.file(session_id).row.blob_key
    assert (await rig.offset(session_id)).offset == 40
    assert rig.blobs.incoming_blobs[key].durable == 40
    assert rig.file(session_id).row.synced == 40


async def test_break_keeps_the_bytes_and_is_told(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 30, length=100)
    async with rig.watcher(session_id) as watcher, trio.open_nursery() as nursery:
        nursery.start_soon(expect, rig, NetworkError, session_id, body)
        await settle()
        body.break_off()
        await settle()
        failed = (await watcher.drain())[-1]
    assert isinstance(failed, UploadFailedEvent)
    assert (failed.error.code, failed.can_retry, failed.retry_count) == ("NETWORK_ERROR", True, 0)
    assert (await rig.offset(session_id)).offset == 30
    assert rig.file(session_id).row.state is State.RETRYING
    await rig.put(session_id, whole_body(b"y" * 70), offset=30)
    assert await rig.finished_bytes(session_id) == b"x" * 30 + b"y" * 70


async def test_caller_cancelled_keeps_the_bytes(autojump_clock: MockClock) -> None:
    """The connection's own end (a vanished client) is an outer cancellation."""
    rig = await make_rig()
    session_id = await rig.one_file(100)
    with trio.move_on_after(5):
        await rig.put(session_id, FedBody(b"x" * 30, length=100))
    assert (await rig.offset(session_id)).offset == 30
    assert rig.file(session_id).row.state is State.RETRYING
    assert rig.file(session_id).append is None


async def test_silent_peer_times_out(autojump_clock: MockClock) -> None:
    rig = await make_rig(body_idle_timeout_s=60.0)
    session_id = await rig.one_file(100)
    start = trio.current_time()
    await expect(rig, ConnectionTimeout, session_id, FedBody(b"x" * 30, length=100))
    assert trio.current_time() - start == pytest.approx(60.0, abs=2.0)
    assert (await rig.offset(session_id)).offset == 30


async def test_slow_bytes_are_written_within_a_second(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x", length=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, rig, NetworkError, session_id, body)
        await trio.sleep(1.5)
        assert len(rig.blobs.incoming_bytes(rig.file(session_id).row.blob_key)) == 1
        assert rig.gateway.statistics().buffer_bytes == 0
        body.break_off()


async def test_retry_limit_ends_a_plain_put_but_not_a_resumable_one(autojump_clock: MockClock) -> None:
    rig = await make_rig(max_retries=2)
    for offset, ended in ((None, True), (5, False)):
        session_id = await rig.one_file(100)
        await rig.put(session_id, whole_body(b"x" * 5), offset=0)
        for _ in range(4):
            body = FedBody(length=100 if offset is None else 95)
            body.break_off()
            if rig.file(session_id).row.state is State.FAILED:
                break
            await expect(rig, NetworkError, session_id, body, offset=offset)
        assert rig.file(session_id).ended is ended
    session_id = await rig.one_file(100)


async def test_failed_by_retries_goes_on_at_the_exact_offset(autojump_clock: MockClock) -> None:
    rig = await make_rig(max_retries=0)
    session_id = await rig.one_file(10)
    await rig.put(session_id, whole_body(b"x" * 5), offset=0)
    body = FedBody(length=10)
    body.break_off()
    await expect(rig, NetworkError, session_id, body)
    assert rig.file(session_id).row.state is State.FAILED
    await rig.put(session_id, whole_body(b"y" * 5), offset=5)
    assert await rig.finished_bytes(session_id) == b"xxxxxyyyyy"


async def test_new_attempt_replaces_the_old_bytes_at_its_first_byte(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(10)
    await rig.put(session_id, whole_body(b"old"), offset=0)
    body = FedBody(length=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, body)
        await settle()
        assert rig.file(session_id).row.attempt == 1
        assert (await rig.offset(session_id)).offset == 3
        body.feed(b"n")
        await settle()
        assert rig.file(session_id).row.attempt == 2
        body.feed(b"ew bytes!")
    assert await rig.finished_bytes(session_id) == b"new bytes!"
    assert rig.blobs.incoming_blobs == {}


async def test_chunked_body_beyond_the_length_fails_the_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(10)
    await expect(rig, FileSizeExceeded, session_id, FedBody(b"x" * 11, ended=True))
    assert rig.file(session_id).row.state is State.FAILED
    await expect(rig, UploadFailed, session_id, whole_body(b"x"), offset=10)


async def test_file_size_limit(autojump_clock: MockClock) -> None:
    rig = await make_rig(max_file_bytes=10)
    session_id = await rig.one_file()
    await expect(rig, FileSizeExceeded, session_id, whole_body(b"x" * 11))
    assert rig.file(session_id).row.state is State.PENDING
    await expect(rig, FileSizeExceeded, session_id, FedBody(b"x" * 11, ended=True))
    assert rig.file(session_id).row.state is State.FAILED


async def test_content_length_must_fit_the_registered_size(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(10)
    await expect(rig, FileSizeExceeded, session_id, whole_body(b"x" * 11))
    with pytest.raises(InvalidMessage, match="Content-Length"):
        await rig.put(session_id, whole_body(b"x" * 9))
    assert rig.file(session_id).row.state is State.PENDING


# Pause


async def test_pause_closes_the_gate_and_resume_goes_on(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 30, length=100)
    async with rig.watcher(session_id) as watcher, trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, body)
        await settle()
        ack = await rig.command("upload-pause", session_id, fileId="f1")
        assert ack["uploadedBytes"] == 30
        key = rig.file(session_id).row.blob_key
        assert len(rig.blobs.incoming_bytes(key)) == 30
        body.feed(b"y" * 70)
        await trio.sleep(rig.settings.pause_hold_s / 2)
        assert body.unread_bytes == 70
        paused = (await watcher.drain())[-1]
        assert isinstance(paused, UploadProgress)
        assert (paused.fact, paused.durable_bytes) == (True, 30)
        assert rig.blobs.incoming_blobs[key].durable == 30
        await rig.command("upload-resume", session_id, fileId="f1")
        body.end()
    assert await rig.finished_bytes(session_id) == b"x" * 30 + b"y" * 70


async def test_pause_hold_ends_with_423_and_the_offset(autojump_clock: MockClock) -> None:
    rig = await make_rig(pause_hold_s=50.0)
    session_id = await rig.one_file(100)
    body = FedBody(b"x" * 30, length=100)
    async with trio.open_nursery() as nursery:

        async def put() -> None:
            with pytest.raises(UploadLocked) as caught:
                await rig.put(session_id, body)
            assert caught.value.headers["Upload-Offset"] == "30"
            assert "Retry-After" in caught.value.headers

        nursery.start_soon(put)
        await settle()
        await rig.command("upload-pause", session_id)
        start = trio.current_time()
    assert trio.current_time() - start == pytest.approx(50.0)
    assert rig.file(session_id).row.state is State.PAUSED
    assert (await rig.offset(session_id)).offset == 30
    await rig.command("upload-resume", session_id)
    await rig.put(session_id, whole_body(b"y" * 70), offset=30)
    assert await rig.finished_bytes(session_id) == b"x" * 30 + b"y" * 70


async def test_latch_holds_a_file_registered_later(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    await rig.command("upload-pause", session_id)
    await rig.gateway.register(*_registration(session_id))
    body = whole_body(b"new")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rig.put(session_id, body, file_id="f2"))
        await trio.sleep(20)
        assert body.taken == 0
        assert rig.file(session_id, "f2").row.state is State.PAUSED
        await rig.command("upload-resume", session_id)
    assert rig.file(session_id, "f2").row.state is State.COMPLETED


async def test_exempt_file_goes_on_under_the_latch(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    await rig.command("upload-pause", session_id)
    await rig.command("upload-resume", session_id, fileId="f1")
    await rig.put(session_id, whole_body(b"abc"))
    assert rig.file(session_id).row.state is State.COMPLETED


async def test_new_append_to_a_paused_file_is_held_then_423(autojump_clock: MockClock) -> None:
    rig = await make_rig(pause_hold_s=50.0)
    session_id = await rig.one_file(3)
    await rig.command("upload-pause", session_id, fileId="f1")
    start = trio.current_time()
    await expect(rig, UploadLocked, session_id, whole_body(b"abc"))
    assert trio.current_time() - start == pytest.approx(50.0)


async def test_pause_while_the_disk_is_stuck_waits_for_it_alone(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    body = FedBody(b"x", length=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, rig, NetworkError, session_id, body)
        await settle()
        rig.blobs.gate = trio.Event()
        body.feed(b"x" * 29)
        await settle()
        acked = trio.Event()

        async def pause() -> None:
            await rig.command("upload-pause", session_id)
            acked.set()

        nursery.start_soon(pause)
        await trio.sleep(3)
        early = acked.is_set()
        rig.blobs.gate.set()  # before anything is judged: the append waits for it
        await acked.wait()
        await rig.command("upload-resume", session_id)
        body.break_off()
    assert not early


# Cancel


async def test_cancel_leaves_nothing(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    async with rig.watcher(session_id) as watcher, trio.open_nursery() as nursery:
        nursery.start_soon(expect, rig, UploadCancelled, session_id, FedBody(b"x" * 30, length=100))
        await settle()
        await rig.command("upload-cancel", session_id, fileId="f1", reason="changed my mind")
        assert rig.blobs.incoming_blobs == {}
        assert (await watcher.names())[-3:] == ["upload-cancelled", "session-completed", "upload-progress"]
    assert rig.blobs.open_writers == 0
    statistics = rig.gateway.statistics()
    assert (statistics.appends, statistics.reserved_bytes, statistics.buffer_bytes) == (0, 0, 0)
    assert await rig.command("upload-cancel", session_id, fileId="f1")
    await expect(rig, UploadCancelled, session_id, whole_body(b"x"))


async def test_cancel_ends_a_held_append(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, rig, UploadCancelled, session_id, FedBody(b"x" * 30, length=100))
        await settle()
        await rig.command("upload-pause", session_id)
        start = trio.current_time()
        await rig.command("upload-cancel", session_id)
    assert trio.current_time() == start
    assert rig.blobs.incoming_blobs == {}


async def test_cancel_beats_another_reason(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, rig, UploadCancelled, session_id, FedBody(b"x" * 30, length=100))
        await settle()
        rig.blobs.gate = trio.Event()
        nursery.start_soon(rig.gateway.drain)
        await settle()
        nursery.start_soon(rig.command, "upload-cancel", session_id)
        await settle()
        rig.blobs.gate.set()
    assert rig.file(session_id).row.state is State.CANCELLED


# Take-over


async def test_second_plain_put_is_refused_and_the_first_undisturbed(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(60)
    body = FedBody(b"x" * 30, length=60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, body)
        await settle()
        await expect(rig, UploadLocked, session_id, whole_body(b"z" * 60))
        body.feed(b"y" * 30)
    assert await rig.finished_bytes(session_id) == b"x" * 30 + b"y" * 30


async def test_stale_offset_does_not_disturb_the_holder(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(60)
    await rig.put(session_id, whole_body(b"x" * 10), offset=0)
    body = FedBody(b"x" * 20, length=50)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rig.put(session_id, body, offset=10))
        await settle()
        for offset in (9, 31):
            await expect(rig, OffsetMismatch, session_id, whole_body(b"z" * 5), offset=offset)
        body.feed(b"y" * 30)
    assert await rig.finished_bytes(session_id) == b"x" * 30 + b"y" * 30


async def test_take_over_at_an_offset_the_holder_has_reached(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(60)
    async with trio.open_nursery() as nursery:
        first = FedBody(b"x" * 30, length=60)
        nursery.start_soon(lambda: expect(rig, UploadLocked, session_id, first, offset=0))
        await settle()
        await rig.put(session_id, whole_body(b"y" * 30), offset=30)
    assert await rig.finished_bytes(session_id) == b"x" * 30 + b"y" * 30


async def test_after_a_take_over_the_offset_is_read_again(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(60)
    async with trio.open_nursery() as nursery:
        first = FedBody(b"x" * 30, length=60)
        nursery.start_soon(lambda: expect(rig, UploadLocked, session_id, first, offset=0))
        await settle()
        with pytest.raises(OffsetMismatch) as caught:
            await rig.put(session_id, whole_body(b"y" * 30), offset=20)
    assert caught.value.offset == 30
    assert (await rig.offset(session_id)).offset == 30


async def test_polite_head_stops_an_idle_writer_only(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(60)
    body = FedBody(b"x" * 10, length=60)
    async with trio.open_nursery() as nursery:

        async def keep_feeding(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            with trio.CancelScope() as scope:
                task_status.started(scope)
                while True:
                    await trio.sleep(0.05)
                    body.feed(b"x")

        nursery.start_soon(lambda: expect(rig, UploadLocked, session_id, body, offset=0))
        scope = await nursery.start(keep_feeding)
        await trio.sleep(0.4)
        with pytest.raises(UploadLocked):
            await rig.offset(session_id, Manner.POLITE)
        scope.cancel()
        await trio.sleep(0.2)
        report = await rig.offset(session_id, Manner.POLITE)
    assert report.offset == body.taken
    assert not report.busy


async def test_polite_head_ends_a_held_append(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: expect(rig, UploadLocked, session_id, FedBody(b"x" * 10, length=60)))
        await settle()
        await rig.command("upload-pause", session_id)
        start = trio.current_time()
        assert (await rig.offset(session_id, Manner.POLITE)).offset == 10
    assert trio.current_time() == start


async def test_peek_stops_nobody_and_force_does(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(60)
    async with trio.open_nursery() as nursery:
        body = FedBody(b"x" * 10, length=60)
        nursery.start_soon(lambda: expect(rig, UploadLocked, session_id, body, offset=0))
        await settle()
        peeked = await rig.offset(session_id)
        assert (peeked.busy, peeked.offset) == (True, 0)
        assert (await rig.offset(session_id, Manner.FORCE)).offset == 10


# Digests


def sha256(data: bytes) -> Digest:
    return Digest("sha256", hashlib.sha256(data).digest())


async def test_digest_that_fits(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    await rig.put(session_id, whole_body(b"abc"), offset=0, digest=sha256(b"abc"))
    assert (await rig.offset(session_id)).offset == 3
    assert rig.file(session_id).row.floor is None
    await rig.put(session_id, whole_body(b"def"), offset=3, digest=sha256(b"def"))
    assert await rig.finished_bytes(session_id) == b"abcdef"


async def test_digest_that_does_not_fit_leaves_offset_and_bytes_as_they_were(
    autojump_clock: MockClock,
) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    await rig.put(session_id, whole_body(b"abc"), offset=0)
    await expect(rig, ChecksumMismatch, session_id, whole_body(b"dXf"), offset=3, digest=sha256(b"def"))
    row = rig.file(session_id).row
    assert (row.synced, row.floor, row.state) == (3, None, State.UPLOADING)
    assert rig.blobs.incoming_bytes(row.blob_key) == b"abc"
    await expect(rig, ChecksumMismatch, session_id, whole_body(b""), offset=3, digest=sha256(b"def"))
    await rig.put(session_id, whole_body(b"def"), offset=3)
    assert await rig.finished_bytes(session_id) == b"abcdef"


async def test_break_under_a_digest_drops_the_request_s_bytes(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    await rig.put(session_id, whole_body(b"abc"), offset=0)
    body = FedBody(b"de", length=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: expect(rig, NetworkError, session_id, body, offset=3, digest=sha256(b"def"))
        )
        await settle()
        assert rig.file(session_id).row.floor == 3
        assert (await rig.offset(session_id)).offset == 3
        body.break_off()
    assert (await rig.offset(session_id)).offset == 3
    assert rig.blobs.incoming_bytes(rig.file(session_id).row.blob_key) == b"abc"


@pytest.mark.parametrize("fsync", ["append", "complete", "never"])
async def test_unverified_bytes_are_not_announced(autojump_clock: MockClock, fsync: str) -> None:
    """Neither by a sync that is due, nor by a pause, nor where what is written counts without one."""
    rig = await make_rig(fsync=fsync, sync_every_bytes=1)
    session_id = await rig.one_file(6)
    body = FedBody(b"abc", length=6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rig.put(session_id, body, offset=0, digest=sha256(b"abcdef")))
        await trio.sleep(2)
        assert (await rig.command("upload-pause", session_id, fileId="f1"))["uploadedBytes"] == 3
        assert (await rig.offset(session_id)).offset == 0
        await rig.command("upload-resume", session_id, fileId="f1")
        body.feed(b"def")
    assert await rig.finished_bytes(session_id) == b"abcdef"


# Trouble below


async def test_full_disk_keeps_what_fits_and_can_go_on(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(len(DATA) * 3)
    rig.blobs.full_at_bytes = len(DATA) * 2
    async with rig.watcher(session_id) as watcher:
        await expect(rig, InsufficientStorage, session_id, whole_body(DATA * 3))
        events = await watcher.drain()
    assert [e.NAME for e in events][-2:] == ["upload-failed", "session-error"]
    offset = (await rig.offset(session_id)).offset
    assert offset <= len(DATA) * 2
    rig.blobs.full_at_bytes = 1 << 40
    await rig.put(session_id, whole_body((DATA * 3)[offset:]), offset=offset)
    assert await rig.finished_bytes(session_id) == DATA * 3
    assert rig.gateway.statistics().buffer_bytes == 0


async def test_more_appends_than_allowed(autojump_clock: MockClock) -> None:
    rig = await make_rig(max_appends=1)
    session_id = await rig.one_file(10)
    other = await rig.one_file(10)
    body = FedBody(b"x", length=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, body)
        await settle()
        await expect(rig, ServerBusy, other, whole_body(b"x" * 10))
        body.feed(b"x" * 9)
    await rig.put(other, whole_body(b"x" * 10))


async def test_drain_stops_at_a_durable_offset(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, rig, ServerBusy, session_id, FedBody(b"x" * 30, length=100))
        await settle()
        await rig.gateway.drain()
    assert rig.file(session_id).row.synced == 30
    assert rig.file(session_id).row.state is State.UPLOADING
    await expect(rig, ServerBusy, session_id, whole_body(b"x" * 70), offset=30)


def _registration(session_id: str) -> tuple[Any, str, Any]:
    from penstock.protocol.commands import FileSpec
    from penstock.server.uploads.actor import ANYBODY

    return ANYBODY, session_id, [FileSpec(file_name="b.bin", file_id="f2", file_size=3)]


async def test_nobody_is_let_in_behind_a_stuck_disk(autojump_clock: MockClock) -> None:
    oldest_s = 0.0
    rig = await make_rig()
    rig.gateway = await Gateway.open(
        rig.blobs,
        rig.store,
        rig.settings,
        server_key=SERVER_KEY,
        boot_id=rig.store.boot_id,
        disk_health=DiskHealth((lambda: oldest_s,), 30.0),
    )
    session_id = await rig.one_file(3)
    oldest_s = 31.0
    with pytest.raises(ServerBusy, match="31 s"):
        await rig.put(session_id, whole_body(b"abc"))
    oldest_s = 0.0
    await rig.put(session_id, whole_body(b"abc"))


async def test_a_length_read_off_a_body_does_not_bind_the_next_attempt(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file()
    body = FedBody(b"x" * 30, length=100)
    body.break_off()
    await expect(rig, NetworkError, session_id, body)
    await rig.put(session_id, whole_body(b"y" * 200))
    assert await rig.finished_bytes(session_id) == b"y" * 200


async def test_a_declared_length_binds_every_attempt(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file()
    await rig.put(session_id, whole_body(b"abc"), offset=0, length=9)
    await expect(rig, FileSizeExceeded, session_id, whole_body(b"y" * 10))
    await rig.put(session_id, whole_body(b"y" * 9))
