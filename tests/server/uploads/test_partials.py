"""Partials and their file: what the one does to the other."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.protocol.errors import (
    FileSizeExceeded,
    GatewayError,
    InsufficientStorage,
    UploadAlreadyCompleted,
    UploadCancelled,
    UploadFailed,
)
from penstock.protocol.lifecycle import State
from penstock.server.uploads import assembly
from penstock.server.uploads.actor import ANYBODY
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body
from tests.server.uploads.sums import assert_nothing_held, assert_sums
from tests.server.uploads.test_concatenation import concatenate, with_parts
from tests.server.uploads.test_finals import both, cut_final
from tests.server.uploads.test_invariants import slow
from tests.server.uploads.test_joining import refused

pytestmark = pytest.mark.usefixtures("both_ways")


async def test_a_partials_first_byte_after_the_file_has_ended(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, (one, _) = await with_parts(rig, 3, 3)
    body = FedBody(length=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, rig, UploadAlreadyCompleted, one, body)
        await wait_all_tasks_blocked()
        await rig.put(session_id, whole_body(b"abcdef"))
        body.feed(b"abc")
    assert (await rig.head(one)).offset == 0
    assert_nothing_held(rig)
    assert_sums(rig)


async def test_bytes_of_a_partial_are_no_progress_of_a_file_that_has_ended(autojump_clock: MockClock) -> None:
    rig = await make_rig(progress_interval_s=0)
    session_id, (one, _) = await with_parts(rig, 3, 3)
    body = FedBody(b"a", length=3)
    async with rig.watcher(session_id) as watcher, trio.open_nursery() as nursery:
        nursery.start_soon(rig.patch, one, body)
        await wait_all_tasks_blocked()
        await rig.put(session_id, whole_body(b"abcdef"))
        assert (await watcher.names())[-2:] == ["session-completed", "upload-progress"]
        body.feed(b"bc")
        await wait_all_tasks_blocked()
        assert await watcher.names() == []
    assert (await rig.head(one)).offset == 3
    assert_sums(rig)


async def test_a_partials_first_byte_revives_no_failed_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, (one, _) = await with_parts(rig, 3, 3)
    body = FedBody(length=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, rig, UploadFailed, one, body)
        await wait_all_tasks_blocked()
        with pytest.raises(FileSizeExceeded):
            await rig.put(session_id, FedBody(b"abcdefg", ended=True), offset=0)
        body.feed(b"abc")
    assert rig.file(session_id).row.state is State.FAILED


async def test_a_partial_can_be_sent_though_its_file_was_begun_from_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 1)
    rig = await make_rig()
    session_id, (one, two) = await both(rig)
    await cut_final(rig, session_id, one, two)
    three = await rig.upload(3, session_id=session_id, file_id="f1", partial=True)
    await rig.patch(three, whole_body(b"ghi"))
    await concatenate(rig, three, one, session_id=session_id, file_id="f1")
    assert await rig.finished_bytes(session_id) == b"ghiabc"


async def test_a_pause_holds_no_partial_that_is_gone(autojump_clock: MockClock) -> None:
    rig = await make_rig(pause_hold_s=1000)
    session_id, (one, _) = await with_parts(rig, 3, 3)
    await rig.gateway.resources.terminate(ANYBODY, one)
    await rig.command("upload-pause", session_id)
    started_at = trio.current_time()
    await refused(rig, UploadCancelled, one, whole_body(b"abc"))
    assert trio.current_time() == started_at


async def test_a_failed_partial_is_no_progress_before_and_after_a_restart(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, (one, two) = await both(rig)
    rig.blobs.incoming_blobs[rig.live(session_id).partials[one.file_id].row.blob_key].data.clear()
    await rig.open()
    with pytest.raises(UploadFailed):
        await rig.head(one)
    assert rig.file(session_id).arrived_bytes == 3
    assert_sums(rig)
    await rig.open()
    await rig.head(two)
    assert rig.file(session_id).arrived_bytes == 3
    assert_sums(rig)


async def test_nothing_is_told_of_a_full_disk_where_nobody_listens(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(3, partial=True)
    rig.blobs.full_at_bytes = 1
    await refused(rig, InsufficientStorage, place, whole_body(b"abc"))
    assert await rig.store.facts(place.session_id, after=0, limit=10) == []


async def test_partials_that_were_sent_twice_are_no_more_than_the_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, _ = await both(rig)
    again = await rig.upload(3, session_id=session_id, file_id="f1", partial=True)
    await rig.patch(again, whole_body(b"def"))
    event, _ = await rig.gateway.progress(ANYBODY, session_id)
    assert (event.uploaded_bytes, event.total_progress) == (6, 100.0)


async def test_a_pause_that_comes_too_late_does_not_hold_partials(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, (one, _) = await with_parts(rig, 3, 3)
    whole, part = FedBody(b"abcde", length=6), FedBody(b"a", length=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rig.put(session_id, whole, offset=0))
        nursery.start_soon(rig.patch, one, part)
        await wait_all_tasks_blocked()
        whole.feed(b"f")
        with slow(rig.blobs):
            nursery.start_soon(too_late, rig, session_id)
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        started_at = trio.current_time()
        part.feed(b"bc")
    assert trio.current_time() == started_at
    assert await rig.finished_bytes(session_id) == b"abcdef"


async def too_late(rig: Rig, session_id: str) -> None:
    with pytest.raises(GatewayError):
        await rig.command("upload-pause", session_id, fileId="f1")


async def test_a_partial_made_beside_a_cancel_is_cancelled_or_refused(autojump_clock: MockClock) -> None:
    for steps in range(8):
        rig = await make_rig()
        session_id, _ = await with_parts(rig, 3, 3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add_part, rig, session_id)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            await rig.command("upload-cancel", session_id, fileId="f1")
        assert rig.gateway.statistics().reserved_bytes == 0, steps


async def add_part(rig: Rig, session_id: str) -> None:
    with suppress(UploadCancelled):
        await rig.upload(3, session_id=session_id, file_id="f1", partial=True)


async def test_a_partial_outlives_the_files_of_its_session(autojump_clock: MockClock) -> None:
    rig = await make_rig(ended_retention_s=100, retention_s=1000, session_timeout_s=50)
    session_id = await rig.one_file(3)
    place = await rig.upload(5, session_id=session_id, partial=True)
    await rig.put(session_id, whole_body(b"abc"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.gateway.janitor.run)
        for offset in range(3):
            await trio.sleep(60)
            await rig.patch(place, whole_body(b"a"), offset=offset)
        assert (await rig.head(place)).offset == 3
        await trio.sleep(5000)
        nursery.cancel_scope.cancel()
    assert (await rig.store.counts())["sessions"] == 0
    assert rig.gateway.statistics().reserved_bytes == 0
    assert rig.blobs.incoming_blobs == {}
