"""Files that are put together from partials: begun anew, begun twice, cut, and in each other's way."""

from __future__ import annotations

from functools import partial as bind

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.protocol.errors import (
    InvalidMessage,
    UploadLocked,
)
from penstock.protocol.lifecycle import State
from penstock.server.uploads import assembly
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.resources import Place
from tests.server.uploads.crash import killed
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body
from tests.server.uploads.sums import assert_nothing_held
from tests.server.uploads.test_concatenation import concatenate, partial, with_parts
from tests.server.uploads.test_invariants import until
from tests.server.uploads.test_joining import join

pytestmark = pytest.mark.usefixtures("both_ways")


async def both(rig: Rig) -> tuple[str, list[Place]]:
    """A registered file of six bytes, and its two halves."""
    session_id, places = await with_parts(rig, 3, 3)
    for place, data in zip(places, (b"abc", b"def"), strict=True):
        await rig.patch(place, whole_body(data))
    return session_id, places


# Bytes of partials and bytes that were sent do not mix


async def test_a_final_takes_the_place_of_bytes_that_were_sent(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, places = await both(rig)
    await rig.put(session_id, whole_body(b"xyz"), offset=0)
    async with rig.watcher(session_id) as watcher:
        await concatenate(rig, *places, session_id=session_id, file_id="f1")
        names = [name for name in await watcher.names() if name != "upload-progress"]
    assert names == ["upload-started", "upload-completed", "session-completed"]
    assert await rig.finished_bytes(session_id) == b"abcdef"
    assert rig.file(session_id).row.attempt == 2
    assert len(rig.blobs.incoming_blobs) == 2  # the partials


async def test_a_final_waits_for_nobody_who_sends(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id, places = await both(rig)
    body = FedBody(b"xy", length=6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rig.put(session_id, body, offset=0))
        await wait_all_tasks_blocked()
        with pytest.raises(UploadLocked):
            await concatenate(rig, *places, session_id=session_id, file_id="f1")
        body.feed(b"zxyz")
    assert await rig.finished_bytes(session_id) == b"xyzxyz"


async def cut_final(rig: Rig, session_id: str, *places: Place) -> None:
    """A concatenation whose client goes away in the middle."""
    file, last = rig.file(session_id), places[-1].upload_id
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: concatenate(rig, *places, session_id=session_id, file_id="f1"))
        await until(lambda: (file.row.upload_concat or "").endswith(last) and file.received > 1)
        nursery.cancel_scope.cancel()


async def test_another_list_begins_anew(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 1)
    rig = await make_rig()
    session_id, (one, two) = await both(rig)
    await cut_final(rig, session_id, one, two)
    await cut_final(rig, session_id, two, one)
    await concatenate(rig, one, two, session_id=session_id, file_id="f1")  # the first list once more
    assert await rig.finished_bytes(session_id) == b"abcdef"


async def test_a_final_that_was_given_up_can_be_sent(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 1)
    rig = await make_rig()
    session_id, places = await both(rig)
    await cut_final(rig, session_id, *places)
    place = await join(rig, session_id, 6)
    report = await rig.head(place)
    assert (report.offset, report.upload_concat) == (0, None)
    await rig.patch(place, whole_body(b"xyzxyz"))
    assert await rig.finished_bytes(session_id) == b"xyzxyz"


async def test_who_was_held_does_not_put_together_what_has_become_another_file(
    autojump_clock: MockClock,
) -> None:
    rig = await make_rig(pause_hold_s=1000)
    session_id, (one, two) = await both(rig)
    await rig.command("upload-pause", session_id, fileId="f1")

    async def first() -> None:
        with pytest.raises(InvalidMessage):
            await concatenate(rig, one, two, session_id=session_id, file_id="f1")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await wait_all_tasks_blocked()
        nursery.start_soon(lambda: concatenate(rig, two, one, session_id=session_id, file_id="f1"))
        await wait_all_tasks_blocked()
        await rig.command("upload-resume", session_id)
    assert await rig.finished_bytes(session_id) == b"defabc"


# A concatenation that is asked for again


async def test_repetitions_that_were_held_join_the_first(autojump_clock: MockClock) -> None:
    rig = await make_rig(pause_hold_s=1000)
    session_id, places = await both(rig)
    await rig.command("upload-pause", session_id)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: concatenate(rig, *places, session_id=session_id, file_id="f1"))
        await wait_all_tasks_blocked()
        await rig.command("upload-resume", session_id)
    assert await rig.finished_bytes(session_id) == b"abcdef"


async def test_a_repetition_does_not_need_the_partials(autojump_clock: MockClock) -> None:
    rig = await make_rig(keep_partials=False)
    one = await partial(rig, b"abc")
    first = await concatenate(rig, one)
    assert rig.blobs.incoming_blobs == {}
    assert await concatenate(rig, one) == first


async def test_a_partial_that_is_removed_while_it_is_copied(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 1)
    rig = await make_rig()
    session_id, places = await with_parts(rig, 3, 100)
    await rig.patch(places[0], whole_body(b"abc"))
    await rig.patch(places[1], whole_body(b"d" * 100))
    async with rig.watcher(session_id) as watcher, trio.open_nursery() as nursery:
        nursery.start_soon(not_together, rig, session_id, *places)
        await until(lambda: rig.file(session_id).received > 1)
        await rig.gateway.resources.terminate(ANYBODY, places[1])
        await wait_all_tasks_blocked()
        assert "session-error" not in await watcher.names()  # nothing is wrong with the disk
    assert_nothing_held(rig)
    assert rig.file(session_id).row.state is State.UPLOADING


async def not_together(rig: Rig, session_id: str, *places: Place) -> None:
    with pytest.raises(InvalidMessage):
        await concatenate(rig, *places, session_id=session_id, file_id="f1")


async def test_a_kill_never_leaves_a_final_that_nobody_completes(autojump_clock: MockClock) -> None:
    for steps in range(40):
        rig = await make_rig()
        session_id = (await rig.session(open=True))["sessionId"]
        one = await partial(rig, b"abc")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bind(concatenate, session_id=session_id), rig, one)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            after = killed(rig)
            nursery.cancel_scope.cancel()
        rig = after
        await rig.open()
        await concatenate(rig, one, session_id=session_id)
        assert len(rig.live(session_id).files) == 1, steps
