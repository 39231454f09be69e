"""Partials, and the files that are made of them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from penstock.protocol.errors import (
    FileSizeExceeded,
    InsufficientPermissions,
    InsufficientStorage,
    InvalidMessage,
    UploadCancelled,
    UploadLocked,
)
from penstock.protocol.events import UploadProgress
from penstock.server.uploads import assembly
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.assembly import Piece, bytes_to_copy
from penstock.server.uploads.resources import NewUpload, Place
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body


async def partial(rig: Rig, data: bytes, **wanted: Any) -> Place:
    place = await rig.upload(len(data), partial=True, **wanted)
    await rig.patch(place, whole_body(data))
    return place


async def concatenate(rig: Rig, *places: Place, **wanted: Any) -> Place:
    ids = [place.upload_id for place in places]
    concat = "final;" + " ".join(f"/files/{upload_id}" for upload_id in ids)
    made = await rig.gateway.concatenation.run(ANYBODY, NewUpload(**wanted), concat, ids)
    return made.place


async def finished(rig: Rig, place: Place) -> bytes:
    return await rig.finished_bytes(place.session_id, place.file_id)


async def facts(rig: Rig, session_id: str) -> list[tuple[int, bytes]]:
    return await rig.store.facts(session_id, after=0, limit=1000)


async def test_partials_become_a_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    one, two = await partial(rig, b"abc"), await partial(rig, b"def")
    place = await concatenate(rig, one, two, file_name="a.bin", upload_metadata="filename YS5iaW4=")
    assert await finished(rig, place) == b"abcdef"
    report = await rig.head(place)
    assert (report.offset, report.length, report.complete) == (6, 6, True)
    assert report.upload_concat == f"final;/files/{one.upload_id} /files/{two.upload_id}"
    assert report.upload_metadata == "filename YS5iaW4="


async def test_partials_are_known_to_nobody(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    place = await partial(rig, b"abc")
    report = await rig.head(place)
    assert (report.offset, report.length, report.complete, report.upload_concat) == (3, 3, True, "partial")
    assert report.final_offset == 0  # so that a repeated last request is known again
    assert await facts(rig, place.session_id) == []
    assert (await rig.gateway.snapshot(ANYBODY, place.session_id)).files == []
    await rig.open()
    assert (await rig.head(place)).offset == 3
    await rig.gateway.resources.terminate(ANYBODY, place)
    assert rig.blobs.incoming_blobs == {}
    assert await facts(rig, place.session_id) == []
    with pytest.raises(UploadCancelled):
        await rig.head(place)


async def test_a_partial_may_be_used_again_and_in_any_order(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    one, two = await partial(rig, b"abc"), await partial(rig, b"def")
    first = await concatenate(rig, one, two)
    second = await concatenate(rig, two, one, two)
    assert await finished(rig, first) == b"abcdef"
    assert await finished(rig, second) == b"defabcdef"


async def test_the_same_list_again_finds_the_same_file(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    one, two = await partial(rig, b"abc"), await partial(rig, b"def")
    first = await concatenate(rig, one, two)
    assert await concatenate(rig, one, two) == first
    await rig.open()
    assert await concatenate(rig, one, two) == first
    assert await concatenate(rig, one, two, upload_metadata="filename YQ==") != first
    await rig.gateway.resources.terminate(ANYBODY, first)
    assert await concatenate(rig, one, two) != first


async def test_what_cannot_be_concatenated(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    whole = await rig.upload(3)
    await rig.patch(whole, whole_body(b"abc"))
    unfinished = await rig.upload(3, partial=True)
    gone = await partial(rig, b"abc")
    await rig.gateway.resources.terminate(ANYBODY, gone)
    missing = Place("0" * 32, "", "")
    before = await rig.store.counts()
    for place in (whole, unfinished, gone, missing):
        with pytest.raises(InvalidMessage, match=place.upload_id):
            await concatenate(rig, place)
    assert await rig.store.counts() == before


async def test_a_full_disk_stops_it_until_there_is_room(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    one = await partial(rig, b"abc")
    rig.blobs.full_at_bytes = 4
    with pytest.raises(InsufficientStorage):
        await concatenate(rig, one, one)
    rig.blobs.full_at_bytes = 10**6
    assert await finished(rig, await concatenate(rig, one, one)) == b"abcabc"


async def test_too_much_to_copy_is_refused(autojump_clock: MockClock) -> None:
    rig = await make_rig(max_concat_copy_bytes=5)
    one = await partial(rig, b"abc")
    before = await rig.store.counts()
    with pytest.raises(FileSizeExceeded, match="copied"):
        await concatenate(rig, one, one)
    assert await rig.store.counts() == before
    rig.blobs.block_bytes = 3  # the file system shares, so nothing has to be copied
    assert await finished(rig, await concatenate(rig, one, one)) == b"abcabc"


@pytest.mark.parametrize(
    ("sizes", "block", "copied"),
    [
        ([4096, 4096, 100], 4096, 100),
        ([4096, 100, 4096], 4096, 4196),
        ([100, 4096], 4096, 4196),
        ([4096], None, 4096),
        ([], None, 0),
    ],
)
def test_what_has_to_be_copied(sizes: list[int], block: int | None, copied: int) -> None:
    pieces = [Piece("key", 0, size) for size in sizes]
    assert bytes_to_copy(pieces, block) == copied


async def test_cut_anywhere_it_goes_on_where_it_was(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 2)
    completed = 0
    for steps in range(0, 60, 2):
        rig = await make_rig(sync_every_bytes=3)
        one, two = await partial(rig, b"abcde"), await partial(rig, b"fghij")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(concatenate, rig, one, two)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        rig.blobs.copied_bytes = 0
        place = await concatenate(rig, one, two)
        assert await finished(rig, place) == b"abcdefghij"
        assert (await rig.store.counts())["finished"] == 1
        completed += rig.blobs.copied_bytes < 10
    assert completed  # some of them had copied something, and it was not copied again


async def test_a_crash_in_the_middle_leaves_nothing_half(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 2)
    for power_cut in (False, True):
        rig = await make_rig(sync_every_bytes=3)
        one, two = await partial(rig, b"abcde"), await partial(rig, b"fghij")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(concatenate, rig, one, two)
            while rig.blobs.copied_bytes < 6:
                await trio.lowlevel.checkpoint()
            tables = rig.store._tables.copy()
            nursery.cancel_scope.cancel()
        rig.store._tables = tables
        if power_cut:
            rig.blobs.power_cut()
            rig.store.boot_id = "boot-2"
        await rig.open()
        assert rig.blobs.published_blobs == {}
        place = await concatenate(rig, one, two)
        assert await finished(rig, place) == b"abcdefghij"


async def test_a_second_request_joins_the_first(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 1)
    rig = await make_rig()
    one, two = await partial(rig, b"abc"), await partial(rig, b"def")
    rig.blobs.copied_bytes = 0
    places: list[Place] = []

    async def ask() -> None:
        places.append(await concatenate(rig, one, two))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert len(set(places)) == 1
    assert rig.blobs.copied_bytes == 6


async def test_partials_go_with_the_final_if_they_are_not_kept(autojump_clock: MockClock) -> None:
    rig = await make_rig(keep_partials=False)
    one, two = await partial(rig, b"abc"), await partial(rig, b"def")
    place = await concatenate(rig, one, two, one)
    assert await finished(rig, place) == b"abcdefabc"
    assert rig.blobs.incoming_blobs == {}


async def test_partials_expire(autojump_clock: MockClock) -> None:
    rig = await make_rig(retention_s=100, ended_retention_s=100, session_timeout_s=50)
    await partial(rig, b"abc")
    with trio.move_on_after(400):
        await rig.gateway.janitor.run()
    assert rig.blobs.incoming_blobs == {}
    assert (await rig.store.counts())["sessions"] == 0
    assert rig.gateway.statistics().reserved_bytes == 0


# Partials of a file that is registered


async def with_parts(rig: Rig, *sizes: int) -> tuple[str, list[Place]]:
    session_id = await rig.one_file(sum(sizes))
    where = {"session_id": session_id, "file_id": "f1", "partial": True}
    return session_id, [await rig.upload(size, **where) for size in sizes]


async def test_their_bytes_are_the_files_progress(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, (one, two) = await with_parts(rig, 3, 3)
    assert rig.gateway.statistics().reserved_bytes == 6  # not twice
    async with rig.watcher(session_id) as watcher:
        await rig.patch(one, whole_body(b"abc"))
        event, _ = await rig.gateway.progress(ANYBODY, session_id)
        assert (event.file_id, event.uploaded_bytes, event.progress) == ("f1", 3, 50.0)
        assert event.total_progress == 50.0
        await rig.patch(two, whole_body(b"def"))
        assert rig.gateway.statistics().reserved_bytes == 0
        place = await concatenate(rig, one, two, session_id=session_id, file_id="f1")
        events = await watcher.drain()
        names = [event.NAME for event in events if event.NAME != "upload-progress"]
        shares = [event.progress for event in events if isinstance(event, UploadProgress)]
    assert names == ["upload-started", "upload-completed", "session-completed"]
    assert shares == sorted(shares)
    assert place.file_id == "f1"
    assert await rig.finished_bytes(session_id) == b"abcdef"
    assert [view.file_id for view in (await rig.gateway.snapshot(ANYBODY, session_id)).files] == ["f1"]


@pytest.mark.parametrize("whole_session", [False, True])
async def test_a_pause_of_the_file_reaches_them(autojump_clock: MockClock, whole_session: bool) -> None:
    rig = await make_rig(pause_hold_s=1000)
    session_id, places = await with_parts(rig, 3, 3)
    bodies = [FedBody(b"a", length=3) for _ in places]
    which = {} if whole_session else {"fileId": "f1"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.patch, places[0], bodies[0])
        await trio.sleep(2)
        ack = await rig.command("upload-pause", session_id, **which)
        assert ack["uploadedBytes"] == 1
        nursery.start_soon(rig.patch, places[1], bodies[1])  # a new one is held as well
        for body in bodies:
            body.feed(b"bc")
        await trio.sleep(100)
        assert rig.file(session_id).arrived_bytes == 1
        await rig.command("upload-resume", session_id, **which)
        bodies[0].end()
        bodies[1].end()
    assert rig.file(session_id).arrived_bytes == 6


async def test_a_pause_ends_their_requests_at_last(autojump_clock: MockClock) -> None:
    rig = await make_rig(pause_hold_s=10)
    session_id, (one, _) = await with_parts(rig, 3, 3)
    body = FedBody(b"a", length=3)
    async with trio.open_nursery() as nursery:

        async def append() -> None:
            with pytest.raises(UploadLocked):
                await rig.patch(one, body)

        nursery.start_soon(append)
        await trio.sleep(2)
        await rig.command("upload-pause", session_id)
    assert (await rig.head(one)).offset == 1


async def test_a_cancel_of_the_file_takes_them_along(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, (one, two) = await with_parts(rig, 3, 3)
    async with rig.watcher(session_id) as watcher, trio.open_nursery() as nursery:

        async def append() -> None:
            with pytest.raises(UploadCancelled):
                await rig.patch(one, FedBody(b"a", length=3))

        nursery.start_soon(append)
        await trio.sleep(2)
        await rig.command("upload-cancel", session_id, fileId="f1")
        assert rig.blobs.incoming_blobs == {}
        assert rig.gateway.statistics().reserved_bytes == 0
        names = [name for name in await watcher.names() if name != "upload-progress"]
    assert names == ["upload-started", "upload-cancelled", "session-completed"]
    with pytest.raises(UploadCancelled):
        await rig.patch(two, whole_body(b"def"))
    with pytest.raises(UploadCancelled):
        await rig.upload(3, partial=True, session_id=session_id, file_id="f1")


async def test_their_numbers_survive_a_restart(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, (one, two) = await with_parts(rig, 3, 3)
    await rig.patch(one, whole_body(b"abc"))
    await rig.open()
    event, _ = await rig.gateway.progress(ANYBODY, session_id)
    assert (await rig.gateway.snapshot(ANYBODY, session_id)).files[0].uploaded_bytes == 3
    assert event.total_progress == 50.0
    await rig.patch(two, whole_body(b"def"))
    await concatenate(rig, one, two, session_id=session_id, file_id="f1")
    assert await rig.finished_bytes(session_id) == b"abcdef"


async def test_a_final_is_paused_and_resumed_like_any_file(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 1)
    rig = await make_rig(pause_hold_s=1000)
    session_id, (one, two) = await with_parts(rig, 100, 100)
    await rig.patch(one, whole_body(b"a" * 100))
    await rig.patch(two, whole_body(b"b" * 100))
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            await concatenate(rig, one, two, session_id=session_id, file_id="f1")

        nursery.start_soon(ask)
        while rig.file(session_id).received < 2:
            await trio.lowlevel.checkpoint()
        await rig.command("upload-pause", session_id)
        copied = rig.file(session_id).received
        await trio.sleep(100)
        assert rig.file(session_id).received == copied < 200
        await rig.command("upload-resume", session_id)
    assert await rig.finished_bytes(session_id) == b"a" * 100 + b"b" * 100


async def test_bytes_for_a_final_are_refused(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, (one, two) = await with_parts(rig, 3, 3)
    await rig.patch(one, whole_body(b"abc"))
    await rig.patch(two, whole_body(b"def"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: concatenate(rig, one, two, session_id=session_id, file_id="f1"))
        while not rig.file(session_id).row.is_final:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    with pytest.raises(InsufficientPermissions):
        await rig.put(session_id, whole_body(b"abcdef"))
