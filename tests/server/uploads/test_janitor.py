"""What time does: sessions leave memory, expire, and are forgotten."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from penstock.protocol.events import SessionCompleted, UploadCancelled
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from tests.fakes.blobs import Blob
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body

EMPTY = {"sessions": 0, "files": 0, "facts": 0}


async def later(rig: Rig, seconds: float) -> None:
    """Let time pass with the janitor at work."""
    with trio.move_on_after(seconds):
        await rig.gateway.janitor.run()


async def rows(rig: Rig) -> dict[str, int]:
    return {table: count for table, count in (await rig.store.counts()).items() if table in EMPTY}


async def test_idle_session_times_out_but_stays(autojump_clock: MockClock) -> None:
    rig = await make_rig(session_timeout_s=600, retention_s=7200)
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    async with rig.watcher(session_id) as watcher:
        await later(rig, 700)
        assert (await watcher.names())[-1] == "session-error"
        assert watcher.watch.ended
    assert rig.gateway.statistics().sessions == 0
    assert (await rig.offset(session_id)).offset == 40


async def test_unfinished_session_expires(autojump_clock: MockClock) -> None:
    rig = await make_rig(session_timeout_s=600, retention_s=3600, ended_retention_s=3600)
    session_id = await rig.one_file(100)
    await rig.put(session_id, whole_body(b"x" * 40), offset=0)
    await later(rig, 3000)
    async with rig.watcher(session_id) as watcher:
        await later(rig, 700)
        cancelled = [e for e in await watcher.drain() if isinstance(e, UploadCancelled)]
    assert [e.reason for e in cancelled] == ["expired"]
    assert rig.blobs.incoming_blobs == {}
    await later(rig, 3700)
    assert await rows(rig) == EMPTY


async def test_a_silent_writer_keeps_its_upload(autojump_clock: MockClock) -> None:
    rig = await make_rig(retention_s=100, session_timeout_s=90, body_idle_timeout_s=500, janitor_every_s=5)
    session_id = await rig.one_file(10)
    body = FedBody(b"hello", length=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, body)
        await later(rig, 300)
        body.feed(b"world")
        body.end()
    assert await rig.finished_bytes(session_id) == b"helloworld"


async def test_running_append_is_never_expired(autojump_clock: MockClock) -> None:
    rig = await make_rig(retention_s=100, session_timeout_s=90, janitor_every_s=5)
    session_id = await rig.one_file(300)
    body = FedBody(length=300)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.put, session_id, body)

        async def drip() -> None:
            for _ in range(300):
                body.feed(b"x")
                await trio.sleep(1)
            nursery.cancel_scope.cancel()

        nursery.start_soon(drip)
        await rig.gateway.janitor.run()
    assert await rig.finished_bytes(session_id) == b"x" * 300


async def test_finished_files_outlive_their_rows(autojump_clock: MockClock) -> None:
    rig = await make_rig(ended_retention_s=1000)
    session_id = await rig.one_file(3)
    await rig.put(session_id, whole_body(b"abc"))
    name = rig.file(session_id).row.stored_name
    await later(rig, 1100)
    assert await rows(rig) == EMPTY
    row, reader = await rig.gateway.open_finished("personal", str(name))
    await reader.aclose()
    assert row.file_name == "a.bin"


async def test_finished_retention_removes_them(autojump_clock: MockClock) -> None:
    rig = await make_rig(finished_retention_s=500)
    session_id = await rig.one_file(3)
    await rig.put(session_id, whole_body(b"abc"))
    await later(rig, 600)
    assert rig.blobs.published_blobs == {}
    assert (await rig.store.counts())["finished"] == 0


async def test_retrying_files_lapse_and_complete_the_session_once(autojump_clock: MockClock) -> None:
    rig = await make_rig(retry_wait_s=600, body_idle_timeout_s=10)
    answer = await rig.session(
        {"fileName": "a", "fileId": "f1", "fileSize": 3}, {"fileName": "b", "fileId": "f2", "fileSize": 3}
    )
    session_id = answer["sessionId"]
    await rig.put(session_id, whole_body(b"abc"))
    with trio.move_on_after(5):
        await rig.put(session_id, FedBody(b"x", length=3), file_id="f2")
    assert rig.file(session_id, "f2").row.state is State.RETRYING
    async with rig.watcher(session_id) as watcher:
        await later(rig, 700)
        done = [e for e in await watcher.drain() if isinstance(e, SessionCompleted)]
        assert [(e.summary.completed_files, e.summary.failed_files) for e in done] == [(1, 1)]
        assert (await rig.gateway.snapshot(ANYBODY, session_id)).overall_status == "partial"
        await rig.put(session_id, whole_body(b"yz"), offset=1, file_id="f2")
        done = [e for e in await watcher.drain() if isinstance(e, SessionCompleted)]
        assert [e.summary.completed_files for e in done] == [2]


async def test_answers_are_forgotten(autojump_clock: MockClock) -> None:
    from penstock.protocol.commands import CreateSession
    from penstock.server.uploads.idempotency import IdempotencyKey

    rig = await make_rig(idempotency_s=100)
    await rig.gateway.create_session(ANYBODY, CreateSession(), IdempotencyKey("s", "k", "f"))
    await later(rig, 50)
    assert (await rig.store.counts())["answers"] == 1
    await later(rig, 100)
    assert (await rig.store.counts())["answers"] == 0


async def test_lapsed_files_stay_resumable_until_they_expire(autojump_clock: MockClock) -> None:
    rig = await make_rig(retry_wait_s=60, ended_retention_s=60, retention_s=3600)
    session_id = await rig.one_file(3)
    with trio.move_on_after(5):
        await rig.put(session_id, FedBody(b"x", length=3))
    await later(rig, 600)
    assert (await rig.offset(session_id)).offset == 1
    await later(rig, 3600)
    assert await rows(rig) == EMPTY
    assert rig.blobs.incoming_blobs == {}


async def test_orphans_are_looked_for_once_an_hour(autojump_clock: MockClock) -> None:
    """A sweep looks at every file there is: with a million finished ones that is no matter of seconds."""
    rig = await make_rig(janitor_every_s=30)
    looks: list[float] = []
    listing = rig.blobs.published

    async def noted() -> list[tuple[str, str, float]]:
        looks.append(trio.current_time())
        return await listing()

    rig.blobs.published = noted  # type: ignore[method-assign]  # the store is a fake; this counts its calls
    await later(rig, 3 * 3600 + 100)
    assert len(looks) == 3


async def test_what_a_fault_left_is_swept_without_a_restart(autojump_clock: MockClock) -> None:
    rig = await make_rig(janitor_every_s=30)
    rig.blobs.incoming_blobs["f" * 32 + ".1"] = orphan = Blob()
    orphan.changed_at = rig.gateway.clock.now()
    await later(rig, 3500)
    assert len(rig.blobs.incoming_blobs) == 1
    await later(rig, 200)
    assert rig.blobs.incoming_blobs == {}


async def test_young_bytes_may_have_a_row_soon(autojump_clock: MockClock) -> None:
    rig = await make_rig(janitor_every_s=30)
    await later(rig, 3500)
    rig.blobs.incoming_blobs["f" * 32 + ".1"] = young = Blob()
    young.changed_at = rig.gateway.clock.now()
    await later(rig, 200)
    assert len(rig.blobs.incoming_blobs) == 1
    await later(rig, 3600)
    assert rig.blobs.incoming_blobs == {}
