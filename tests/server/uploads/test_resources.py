"""Upload resources: made, found, joined to sessions, ended; a file is the same however it is reached."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.protocol.errors import (
    ChecksumMismatch,
    FileNotFound,
    FileSizeExceeded,
    IdempotencyKeyReused,
    InconsistentLength,
    InsufficientPermissions,
    InsufficientStorage,
    InvalidMessage,
    NetworkError,
    ServerBusy,
    UploadAlreadyCompleted,
    UploadCancelled,
    UploadFailed,
    UploadLocked,
)
from penstock.protocol.events import UploadCompleted, UploadProgress
from penstock.server.uploads.actor import ANYBODY, Actor, Scope
from penstock.server.uploads.idempotency import IdempotencyKey
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.resources import NewUpload, Place
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body
from tests.server.uploads.test_invariants import slow

pytestmark = pytest.mark.usefixtures("both_ways")


async def later(rig: Rig, seconds: float) -> None:
    """Let time pass with the janitor at work."""
    with trio.move_on_after(seconds):
        await rig.gateway.janitor.run()


async def finished(rig: Rig, place: Place) -> bytes:
    return await rig.finished_bytes(place.session_id, place.file_id)


# Creation


async def test_an_upload_is_a_file_of_a_session_of_its_own(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(6, file_name="a.bin", file_type="video/mp4", metadata={"album": "summer"})
    snapshot = await rig.gateway.snapshot(ANYBODY, place.session_id)
    assert snapshot.metadata == {"album": "summer"}
    assert [(f.file_name, f.file_size, f.tus_url) for f in snapshot.files] == [
        ("a.bin", 6, f"/files/{place.upload_id}")
    ]
    assert await rig.gateway.resources.find(ANYBODY, place.upload_id) == place
    async with rig.watcher(place.session_id) as watcher:
        await rig.patch(place, whole_body(b"abc"))
        await rig.patch(place, whole_body(b"def"), offset=3)
        names = [name for name in await watcher.names() if name != "upload-progress"]
    assert names == ["upload-started", "upload-completed", "session-completed"]
    assert await finished(rig, place) == b"abcdef"
    report = await rig.head(place)
    assert (report.offset, report.complete, report.final_offset, report.expires_at) == (6, True, 3, None)


async def test_no_byte_is_complete_at_once(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(0)
    assert (await rig.head(place)).complete
    assert await finished(rig, place) == b""
    facts = await rig.store.facts(place.session_id, after=0, limit=100)
    assert sum(b"upload-completed" in payload for _, payload in facts) == 1


async def test_no_byte_in_a_paused_session_waits(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session = await rig.session(open=True)
    await rig.command("upload-pause", session["sessionId"])
    place = await rig.upload(0, session_id=session["sessionId"])
    with pytest.raises(UploadLocked):  # its client would take it for complete
        await rig.head(place)
    await rig.command("upload-resume", session["sessionId"])
    assert (await rig.head(place)).complete


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (NewUpload(length=101), FileSizeExceeded),
        (NewUpload(length=101, partial=True), FileSizeExceeded),
        (NewUpload(length=1, file_id="f1"), InvalidMessage),
        (NewUpload(length=1, category="elsewhere"), InvalidMessage),
        (NewUpload(length=1, metadata={"a": "x" * 5000}), InvalidMessage),
        (NewUpload(length=1, file_name="x" * 2000), InvalidMessage),
    ],
)
async def test_refused_creations_make_nothing(
    autojump_clock: MockClock, wanted: NewUpload, error: type[Exception]
) -> None:
    rig = await make_rig(max_file_bytes=100)
    with pytest.raises(error):
        await rig.gateway.resources.create(ANYBODY, wanted)
    assert (await rig.store.counts())["sessions"] == 0
    assert rig.gateway.statistics().reserved_bytes == 0


async def test_declared_bytes_are_reserved(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    rig.blobs.full_at_bytes = 100
    await rig.upload(60)
    with pytest.raises(InsufficientStorage):
        await rig.upload(60)
    place = await rig.upload(None)
    with pytest.raises(InsufficientStorage):  # a length that comes late counts, too
        await rig.patch(place, whole_body(b"abc"), length=60)
    assert (await rig.head(place)).length is None


async def test_nobody_is_let_in_while_draining(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    await rig.gateway.drain()
    with pytest.raises(ServerBusy):
        await rig.upload(6)


# Repeated creations


async def test_a_repeated_creation_makes_no_second_upload(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    key = IdempotencyKey("POST /files/", "k1", "print")
    first = await rig.gateway.resources.create(ANYBODY, NewUpload(length=6), key)
    await rig.patch(first.place, whole_body(b"abc"))
    await rig.open()  # also after a restart
    second = await rig.gateway.resources.create(ANYBODY, NewUpload(length=6), key)
    assert second.place == first.place
    assert (first.fresh, second.fresh, second.offset) == (True, False, 3)
    with pytest.raises(IdempotencyKeyReused):
        await rig.gateway.resources.create(ANYBODY, NewUpload(length=7), key._replace(fingerprint="other"))


async def test_a_repeated_creation_of_what_is_gone(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    key = IdempotencyKey("POST /files/", "k1", "print")
    made = await rig.gateway.resources.create(ANYBODY, NewUpload(length=6), key)
    await rig.command("upload-cancel", made.place.session_id)
    with pytest.raises(UploadCancelled):
        await rig.gateway.resources.create(ANYBODY, NewUpload(length=6), key)
    assert (await rig.store.counts())["files"] == 1


async def test_creations_with_one_key_at_once(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    key = IdempotencyKey("POST /files/", "k1", "print")
    places: list[Place] = []

    async def create() -> None:
        places.append((await rig.gateway.resources.create(ANYBODY, NewUpload(length=6), key)).place)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(create)
    assert len(set(places)) == 1
    assert (await rig.store.counts())["files"] == 1


async def test_creation_is_whole_or_nothing_wherever_it_is_cancelled(autojump_clock: MockClock) -> None:
    for steps in range(6):
        rig = await make_rig()
        key = IdempotencyKey("POST /files/", "k1", "print")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.gateway.resources.create, ANYBODY, NewUpload(length=6), key)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        made = await rig.gateway.resources.create(ANYBODY, NewUpload(length=6), key)
        counts = await rig.store.counts()
        assert (counts["sessions"], counts["files"]) == (1, 1), steps
        assert (await rig.head(made.place)).offset == 0


# Joining a session


async def test_a_registered_file_is_filled(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    made = await rig.gateway.resources.create(
        ANYBODY, NewUpload(length=6, session_id=session_id, file_id="f1", upload_metadata="filename YQ==")
    )
    assert made.fresh
    assert made.place == Place(rig.file(session_id).row.upload_id, session_id, "f1")
    assert (await rig.head(made.place)).upload_metadata == "filename YQ=="
    await rig.patch(made.place, whole_body(b"abcdef"))
    assert await rig.finished_bytes(session_id) == b"abcdef"


async def test_begun_by_put_finished_by_tus_and_the_other_way_round(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    await rig.put(session_id, whole_body(b"abc"), offset=0)
    made = await rig.gateway.resources.create(
        ANYBODY, NewUpload(length=6, session_id=session_id, file_id="f1")
    )
    assert (made.offset, made.fresh) == (3, False)
    await rig.patch(made.place, whole_body(b"def"), offset=3)
    assert await rig.finished_bytes(session_id) == b"abcdef"

    place = await rig.upload(6)
    await rig.patch(place, whole_body(b"abc"))
    await rig.put(place.session_id, whole_body(b"def"), offset=3, file_id=place.file_id)
    assert await finished(rig, place) == b"abcdef"


async def test_a_new_file_joins(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    named = await rig.upload(3, session_id=session_id, file_id="second", category="personal")
    unnamed = await rig.upload(3, session_id=session_id)
    assert list(rig.live(session_id).files) == ["f1", "second", unnamed.file_id]
    assert named.file_id == "second"


async def test_joining_is_refused_where_it_cannot_be(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    session = rig.live(session_id)

    async def refused(error: type[Exception], actor: Actor = ANYBODY, **wanted: Any) -> None:
        before = list(session.files), rig.file(session_id).row.upload_metadata
        with pytest.raises(error):
            await rig.gateway.resources.create(actor, NewUpload(**{"session_id": session_id, **wanted}))
        assert (list(session.files), rig.file(session_id).row.upload_metadata) == before

    await refused(InconsistentLength, length=7, file_id="f1", upload_metadata="x")
    await refused(InvalidMessage, length=6, file_id="f1", category="scenic")
    await refused(InvalidMessage, length=6, file_id="a/b")
    await refused(InsufficientPermissions, session_id=session.row.watch_key, length=6)
    await refused(InsufficientPermissions, Actor("mallory", frozenset({Scope.UPLOAD})), length=6)
    await rig.put(session_id, whole_body(b"abcdef"))
    await refused(UploadAlreadyCompleted, length=6, file_id="f1")


async def test_a_failed_file_is_begun_anew(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(6)
    rig.blobs.fail_sync = True
    with pytest.raises(Exception, match="damaged"):
        await rig.put(session_id, whole_body(b"abc"), offset=0)
    rig.blobs.fail_sync = False
    upload_id = rig.file(session_id).row.upload_id
    with pytest.raises(UploadFailed):
        await rig.head(Place(upload_id, session_id, "f1"))
    made = await rig.gateway.resources.create(
        ANYBODY, NewUpload(length=6, session_id=session_id, file_id="f1")
    )
    assert (made.offset, made.fresh, rig.file(session_id).row.attempt) == (0, True, 2)
    await rig.patch(made.place, whole_body(b"abcdef"))
    assert await rig.finished_bytes(session_id) == b"abcdef"


# Appends


async def test_a_late_length_stays_though_its_body_breaks_off(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(None)
    await rig.patch(place, whole_body(b"abc"))
    broken = FedBody(b"d")
    broken.break_off()
    with pytest.raises(NetworkError):
        await rig.patch(place, broken, offset=3, length=6)
    assert (await rig.head(place)).length == 6
    for wrong in (3, 7):
        with pytest.raises(InconsistentLength):
            await rig.patch(place, whole_body(b"e"), offset=4, length=wrong)
    await rig.patch(place, whole_body(b"ef"), offset=4, length=6)
    assert await finished(rig, place) == b"abcdef"


async def test_a_length_below_the_offset(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(None)
    await rig.patch(place, whole_body(b"abc"))
    with pytest.raises(InconsistentLength):
        await rig.patch(place, whole_body(b""), offset=3, length=2)
    assert (await rig.head(place)).length is None


async def test_a_length_that_is_the_offset_completes(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(None)
    await rig.patch(place, whole_body(b"abc"))
    await rig.patch(place, whole_body(b""), offset=3, length=3)
    assert (await rig.head(place)).complete


async def test_bytes_beyond_the_end_are_refused_and_fail_nothing(autojump_clock: MockClock) -> None:
    rig = await make_rig(max_file_bytes=4)
    place = await rig.upload(None)
    with pytest.raises(FileSizeExceeded):
        await rig.patch(place, FedBody(b"abcdef", ended=True))
    report = await rig.head(place)
    assert (report.offset, report.status) == (4, "uploading")
    place = await rig.upload(3)
    with pytest.raises(FileSizeExceeded):
        await rig.patch(place, FedBody(b"abcdef", ended=True))
    assert await finished(rig, place) == b"abc"


async def test_bytes_beyond_the_end_fail_those_who_do_not_clip(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(3)
    with pytest.raises(FileSizeExceeded):
        await rig.put(place.session_id, FedBody(b"abcdef", ended=True), offset=0, file_id=place.file_id)
    with pytest.raises(UploadFailed):
        await rig.head(place)


async def test_a_look_right_behind_an_append_costs_it_no_byte(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(None)
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            with suppress(UploadLocked):
                await rig.head(place)

        with slow(rig.blobs):  # it is still being let in
            nursery.start_soon(lambda: rig.patch(place, whole_body(b"abc"), length=6))
            await wait_all_tasks_blocked()
            nursery.start_soon(look)
            await wait_all_tasks_blocked()
    assert (await rig.head(place)).offset == 3


# What stays open until its client says otherwise


async def test_all_bytes_do_not_complete_what_stays_open(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(6, stays_open=True)
    await rig.patch(place, whole_body(b"abcdef"), stays_open=True)
    report = await rig.head(place, Manner.FORCE)
    assert (report.offset, report.complete) == (6, False)
    with pytest.raises(UploadLocked):  # a tus client would take it for complete
        await rig.head(place, Manner.POLITE)
    await rig.open()  # a restart does not complete it either
    assert not (await rig.head(place, Manner.FORCE)).complete
    await rig.patch(place, whole_body(b""), offset=6)
    assert await finished(rig, place) == b"abcdef"


async def test_the_end_of_the_body_is_the_end_of_the_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(None, stays_open=True)
    await rig.patch(place, whole_body(b"abc"), stays_open=True)
    await rig.patch(place, FedBody(b"def", ended=True), offset=3, ends_file=True)
    assert await finished(rig, place) == b"abcdef"


async def test_a_digest_of_the_whole_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    expected = f"sha-256=:{b64encode(hashlib.sha256(b'abcdef').digest()).decode()}:"
    place = await rig.upload(6, digest_wanted="sha-256")
    async with rig.watcher(place.session_id) as watcher:
        await rig.patch(place, whole_body(b"abc"))
        await rig.patch(place, whole_body(b"def"), offset=3)
        done = [event for event in await watcher.drain() if isinstance(event, UploadCompleted)]
    assert (await rig.head(place)).digest == expected == done[0].digest
    place = await rig.upload(6, digest_wanted=expected)
    await rig.patch(place, whole_body(b"abcdef"))
    assert (await rig.head(place)).complete


async def test_a_wrong_digest_of_the_whole_file_fails_it(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    other = b64encode(hashlib.sha512(b"other").digest()).decode()
    place = await rig.upload(6, digest_wanted=f"sha-512=:{other}:")
    async with rig.watcher(place.session_id) as watcher:
        with pytest.raises(ChecksumMismatch):
            await rig.patch(place, whole_body(b"abcdef"))
        names = [name for name in await watcher.names() if name != "upload-progress"]
    assert names == ["upload-started", "upload-failed", "session-completed"]
    with pytest.raises(UploadFailed):
        await rig.head(place)
    assert rig.blobs.published_blobs == {}


# Ends


async def test_termination_wins_over_a_running_append(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(6)
    body = FedBody(b"abc", length=6)
    async with rig.watcher(place.session_id) as watcher, trio.open_nursery() as nursery:

        async def append() -> None:
            with pytest.raises(UploadCancelled):
                await rig.patch(place, body)

        nursery.start_soon(append)
        await trio.sleep(2)
        await rig.gateway.resources.terminate(ANYBODY, place)
        assert rig.blobs.incoming_blobs == {}
        assert (await watcher.names())[-2:] == ["session-completed", "upload-progress"]
    for call in (rig.head(place), rig.gateway.resources.terminate(ANYBODY, place)):
        with pytest.raises(UploadCancelled):
            await call


async def test_a_finished_file_is_removed_unless_that_is_forbidden(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(3)
    await rig.patch(place, whole_body(b"abc"))
    await rig.gateway.resources.terminate(ANYBODY, place)
    assert rig.blobs.published_blobs == {}
    assert (await rig.store.counts())["finished"] == 0
    with pytest.raises(UploadCancelled):
        await rig.head(place)
    rig = await make_rig(terminate_finished=False)
    place = await rig.upload(3)
    await rig.patch(place, whole_body(b"abc"))
    with pytest.raises(InsufficientPermissions):
        await rig.gateway.resources.terminate(ANYBODY, place)
    assert await finished(rig, place) == b"abc"


async def test_after_a_command_the_client_is_kept_off_for_a_while(autojump_clock: MockClock) -> None:
    rig = await make_rig(cancel_grace_s=60)
    place = await rig.upload(6)
    await rig.patch(place, whole_body(b"abc"))
    await rig.command("upload-cancel", place.session_id)
    with pytest.raises(UploadLocked):
        await rig.head(place)
    with pytest.raises(UploadCancelled):
        await rig.head(place, Manner.FORCE)
    await trio.sleep(61)
    with pytest.raises(UploadCancelled):
        await rig.head(place)


async def test_what_expired_is_gone_at_once(autojump_clock: MockClock) -> None:
    rig = await make_rig(retention_s=100, ended_retention_s=200, session_timeout_s=50)
    place = await rig.upload(6)
    await rig.patch(place, whole_body(b"abc"))
    expires_at = (await rig.head(place)).expires_at
    assert expires_at is not None
    await later(rig, 140)
    assert rig.gateway.clock.now() > expires_at
    with pytest.raises(UploadCancelled):
        await rig.head(place)
    await later(rig, 300)
    with pytest.raises(FileNotFound):
        await rig.gateway.resources.find(ANYBODY, place.upload_id)


async def test_every_byte_pushes_the_expiry(autojump_clock: MockClock) -> None:
    rig = await make_rig(retention_s=100)
    place = await rig.upload(6)
    first = (await rig.head(place)).expires_at
    await trio.sleep(50)
    await rig.patch(place, whole_body(b"abc"))
    second = (await rig.head(place)).expires_at
    assert first is not None
    assert second is not None
    assert second - first >= 50


async def test_the_owner_alone_sees_it(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await rig.upload(6)
    mallory = Actor("mallory", frozenset({Scope.UPLOAD, Scope.WATCH}))
    for call in (
        rig.gateway.resources.find(mallory, place.upload_id),
        rig.gateway.resources.report(mallory, place, Manner.FORCE),
        rig.gateway.resources.terminate(mallory, place),
    ):
        with pytest.raises(InsufficientPermissions):
            await call
    with pytest.raises(FileNotFound):
        await rig.gateway.resources.find(ANYBODY, "0" * 32)


async def test_pause_and_resume_reach_an_upload(autojump_clock: MockClock) -> None:
    rig = await make_rig(pause_hold_s=1000)
    place = await rig.upload(6)
    body = FedBody(b"abc", length=6)
    async with rig.watcher(place.session_id) as watcher, trio.open_nursery() as nursery:
        nursery.start_soon(rig.patch, place, body)
        await trio.sleep(2)
        ack = await rig.command("upload-pause", place.session_id, fileId=place.file_id)
        assert ack["uploadedBytes"] == 3
        body.feed(b"def")
        await trio.sleep(120)
        assert rig.file(place.session_id, place.file_id).received == 3
        await rig.command("upload-resume", place.session_id, fileId=place.file_id)
        body.end()
    facts = [event for event in await watcher.drain() if isinstance(event, UploadProgress) and event.fact]
    assert [event.current_file.status for event in facts if event.current_file] == ["paused", "uploading"]
    assert await finished(rig, place) == b"abcdef"
