"""Creations that join a file which is there already, and requests for one file that meet."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.protocol.errors import (
    FileSizeExceeded,
    InconsistentLength,
    InsufficientStorage,
    InvalidMessage,
    NetworkError,
    UploadCancelled,
    UploadFailed,
    UploadLocked,
)
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.admission import Claim
from penstock.server.uploads.idempotency import IdempotencyKey
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.resources import NewUpload, Place
from tests.server.uploads.crash import killed
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body
from tests.server.uploads.sums import assert_sums
from tests.server.uploads.test_concatenation import finished
from tests.server.uploads.test_invariants import until

KEY = IdempotencyKey("POST /files/", "k1", "print")


async def join(rig: Rig, session_id: str, length: int | None) -> Place:
    wanted = NewUpload(length=length, session_id=session_id, file_id="f1")
    return (await rig.gateway.resources.create(ANYBODY, wanted)).place


async def refused(rig: Rig, wanted: type[Exception], place: Place, body: FedBody, offset: int = 0) -> None:
    with pytest.raises(wanted):
        await rig.patch(place, body, offset=offset)


async def test_a_length_that_says_all_is_here_completes(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file()
    await rig.put(session_id, whole_body(b"abc"), offset=0)
    await join(rig, session_id, 3)
    assert await rig.finished_bytes(session_id) == b"abc"


async def test_a_running_request_is_told_no_length(autojump_clock: MockClock) -> None:
    """It would go on beyond it."""
    rig = await make_rig()
    session_id = await rig.one_file()
    body = FedBody(b"abc")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, body)
        await wait_all_tasks_blocked()
        with pytest.raises(UploadLocked):
            await join(rig, session_id, 4)
        await join(rig, session_id, None)
        body.feed(b"defghij")
        body.end()
    assert await rig.finished_bytes(session_id) == b"abcdefghij"
    assert_sums(rig)


async def test_a_length_that_a_body_said_holds_while_its_bytes_do(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file()
    broken = FedBody(b"abc", length=10)
    broken.break_off()
    with pytest.raises(NetworkError):
        await rig.put(session_id, broken)
    with pytest.raises(InconsistentLength):
        await join(rig, session_id, 20)
    assert (await rig.head(await join(rig, session_id, 10))).length == 10


async def test_a_length_beyond_the_limit_is_refused_when_it_is_said(autojump_clock: MockClock) -> None:
    rig = await make_rig(max_file_bytes=10)
    session_id = await rig.one_file()
    with pytest.raises(FileSizeExceeded):
        await join(rig, session_id, 20)
    assert rig.file(session_id).row.file_size is None


async def test_a_running_request_decides_whether_its_file_stays_open(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    body = FedBody(b"abc", length=6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, body)
        await wait_all_tasks_blocked()
        wanted = NewUpload(session_id=session_id, file_id="f1", stays_open=True)
        await rig.gateway.resources.create(ANYBODY, wanted)
        body.feed(b"def")
    assert await rig.finished_bytes(session_id) == b"abcdef"


async def test_a_termination_beside_the_last_byte_wins(autojump_clock: MockClock) -> None:
    for steps in range(25):
        rig = await make_rig()
        place = await rig.upload(3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tolerant, rig, place)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            await rig.gateway.resources.terminate(ANYBODY, place)
        assert (rig.blobs.incoming_blobs, rig.blobs.published_blobs) == ({}, {}), steps
        with pytest.raises(UploadCancelled):
            await rig.head(place)


async def tolerant(rig: Rig, place: Place) -> None:
    with suppress(UploadCancelled):
        await rig.patch(place, whole_body(b"abc"))


async def test_two_creations_of_one_new_file_meet(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file()
    places: list[Place] = []

    async def create() -> None:
        places.append(await rig.upload(5, session_id=session_id, file_id="f2"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        nursery.start_soon(create)
    assert len(set(places)) == 1
    assert_sums(rig)


async def test_an_empty_upload_whose_creation_was_cut_is_completed_by_a_repetition(
    autojump_clock: MockClock,
) -> None:
    for steps in range(40):
        rig = await make_rig()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.gateway.resources.create, ANYBODY, NewUpload(length=0), KEY)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        made = await rig.gateway.resources.create(ANYBODY, NewUpload(length=0), KEY)
        assert await finished(rig, made.place) == b"", steps
        assert (await rig.store.counts())["files"] == 1


async def test_a_kill_in_an_empty_creation_is_made_good_by_its_repetition(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.gateway.resources.create, ANYBODY, NewUpload(length=0), KEY)
        await until(lambda: rig.store._tables.files)
        after = killed(rig)
    rig = after
    await rig.open()
    made = await rig.gateway.resources.create(ANYBODY, NewUpload(length=0), KEY)
    assert await finished(rig, made.place) == b""


async def test_a_refused_partial_leaves_nothing_in_memory(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    rig.blobs.full_at_bytes = 1
    with pytest.raises(InsufficientStorage):
        await rig.upload(10, partial=True)
    with pytest.raises(InvalidMessage):
        await rig.upload(0, partial=True, file_name="x" * 2000)
    assert rig.gateway.statistics().sessions == 0


async def test_a_new_attempt_that_is_stopped_before_it_began_is_not_told_of_the_old_failure(
    autojump_clock: MockClock,
) -> None:
    rig = await make_rig()
    place = await rig.upload(3)
    with pytest.raises(FileSizeExceeded):
        await rig.put(place.session_id, FedBody(b"abcd", ended=True), offset=0, file_id=place.file_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(superseded, rig, place)
        await wait_all_tasks_blocked()
        with pytest.raises(UploadFailed):
            await rig.head(place, Manner.FORCE)


async def superseded(rig: Rig, place: Place) -> None:
    with pytest.raises(UploadLocked):
        await rig.put(place.session_id, FedBody(length=3), file_id=place.file_id)


async def test_who_comes_while_a_cancel_waits_for_others_is_counted_right(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    place = Place(rig.file(session_id).row.upload_id, session_id, "f1")
    other = await rig.upload(3, session_id=session_id)
    async with trio.open_nursery() as nursery:
        async with rig.gateway.append(ANYBODY, session_id, other.file_id, Claim(0, 3)):  # slow to let go
            nursery.start_soon(refused, rig, UploadCancelled, place, FedBody(b"abcd", length=6))
            await wait_all_tasks_blocked()
            nursery.start_soon(rig.command, "upload-cancel", session_id)
            await wait_all_tasks_blocked()
            nursery.start_soon(refused, rig, UploadCancelled, place, FedBody(b"abcde", length=6))
            await wait_all_tasks_blocked()
            assert_sums(rig)
    assert_sums(rig)
    assert rig.gateway.statistics().reserved_bytes == 0
