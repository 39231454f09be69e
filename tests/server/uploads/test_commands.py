"""Commands: idempotent wishes, facts once per change, refusals that change nothing."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from penstock.protocol.commands import CreateSession, FileSpec
from penstock.protocol.errors import (
    FileNotFound,
    FileSizeExceeded,
    InsufficientPermissions,
    InsufficientStorage,
    InvalidMessage,
    InvalidSession,
    SessionNotFound,
    UnsupportedFormat,
    UploadAlreadyCompleted,
    UploadCancelled,
    UploadLocked,
    UploadNotStarted,
)
from penstock.protocol.events import UploadProgress
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY, Actor
from penstock.server.uploads.idempotency import IdempotencyKey
from tests.server.uploads.rig import FedBody, Rig, make_rig, whole_body

pytestmark = pytest.mark.usefixtures("both_ways")

NOBODY = "00000000-0000-4000-8000-000000000000"


def two_files() -> list[dict[str, object]]:
    return [{"fileName": f"{name}.bin", "fileId": name, "fileSize": 3} for name in ("f1", "f2")]


async def two(rig: Rig) -> str:
    return str((await rig.session(*two_files()))["sessionId"])


async def test_start_admits_all_or_nothing(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await two(rig)
    async with rig.watcher(session_id) as watcher:
        with pytest.raises(FileNotFound):
            await rig.command("upload-start", session_id, fileIds=["f1", "nope"], category="personal")
        with pytest.raises(InvalidMessage, match="category"):
            await rig.command("upload-start", session_id, fileIds=["f1"], category="scenic")
        assert await watcher.names() == []
        await rig.command("upload-start", session_id, fileIds=["f1", "f2"], category="personal")
        await rig.command("upload-start", session_id, fileIds=["f1", "f2"], category="personal")
        assert await watcher.names() == ["upload-started", "upload-started"]
        await rig.put(session_id, whole_body(b"abc"))
        assert "upload-started" not in await watcher.names()
        with pytest.raises(UploadAlreadyCompleted):
            await rig.command("upload-start", session_id, fileIds=["f2", "f1"], category="personal")


async def test_start_under_the_latch_pauses(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await two(rig)
    await rig.command("upload-pause", session_id)
    await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="c", file_id="f3")])
    await rig.command("upload-start", session_id, fileIds=["f3"], category="personal")
    assert rig.file(session_id, "f3").row.state is State.PAUSED


async def test_pause_and_resume_are_facts_once(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await two(rig)
    async with rig.watcher(session_id) as watcher:
        for _ in range(2):
            ack = await rig.command("upload-pause", session_id, fileId="f1")
            assert (ack["status"], ack["durableBytes"]) == ("paused", 0)
        for _ in range(2):
            await rig.command("upload-resume", session_id, fileId="f1")
        events = await watcher.drain()
    assert [(e.seq, e.current_file.status) for e in events if isinstance(e, UploadProgress)] == [  # type: ignore[union-attr]  # set in facts about files
        (1, "paused"),
        (2, "uploading"),
    ]
    assert rig.file(session_id).row.state is State.PENDING


async def test_session_pause_tells_a_fact_per_changed_file_or_one_for_the_latch(
    autojump_clock: MockClock,
) -> None:
    rig = await make_rig()
    session_id = await two(rig)
    await rig.command("upload-pause", session_id, fileId="f1")
    async with rig.watcher(session_id) as watcher:
        await rig.command("upload-pause", session_id)
        assert [e.file_id for e in await watcher.drain()] == ["f2"]  # type: ignore[attr-defined]  # progress
        await rig.command("upload-resume", session_id)
        assert sorted(e.file_id for e in await watcher.drain()) == ["f1", "f2"]  # type: ignore[attr-defined]  # progress
        empty = (await rig.session())["sessionId"]
    async with rig.watcher(empty) as watcher:
        await rig.command("upload-pause", empty)
        await rig.command("upload-pause", empty)
        await rig.command("upload-resume", empty)
        assert [e.file_id for e in await watcher.drain()] == [None, None]  # type: ignore[attr-defined]  # progress


async def test_session_wide_resume_lifts_latch_exemptions_and_single_pauses(
    autojump_clock: MockClock,
) -> None:
    rig = await make_rig()
    session_id = await two(rig)
    await rig.command("upload-pause", session_id)
    await rig.command("upload-resume", session_id, fileId="f1")
    assert rig.file(session_id).row.exempt
    await rig.command("upload-resume", session_id)
    assert not rig.live(session_id).row.latch
    assert not rig.file(session_id).row.exempt
    assert rig.file(session_id, "f2").row.state is State.PENDING


async def test_refusals_by_state(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await two(rig)
    await rig.put(session_id, whole_body(b"abc"))
    for name in ("upload-pause", "upload-resume", "upload-cancel"):
        with pytest.raises(UploadAlreadyCompleted):
            await rig.command(name, session_id, fileId="f1")
    await rig.command("upload-cancel", session_id, fileId="f2")
    for name in ("upload-pause", "upload-resume"):
        with pytest.raises(UploadCancelled):
            await rig.command(name, session_id, fileId="f2")
        with pytest.raises(UploadAlreadyCompleted):
            await rig.command(name, session_id)
    assert rig.live(session_id).overall_status(rig.gateway.clock.now()) == "partial"


async def test_unknown_sessions_and_bad_references(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    with pytest.raises(SessionNotFound):
        await rig.command("upload-pause", NOBODY)
    with pytest.raises(SessionNotFound):
        await rig.gateway.snapshot(ANYBODY, "w_" + "0" * 40)
    with pytest.raises(InvalidSession):
        await rig.command("upload-pause", "../../etc/passwd")
    with pytest.raises(InvalidMessage, match="fileid"):
        await rig.command("upload-pause", NOBODY, fileid="f1")


async def test_a_watch_key_only_watches(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    answer = await rig.session(*two_files(), metadata={"secret": "x"})
    key, session_id = answer["watchKey"], answer["sessionId"]
    for name in ("upload-pause", "upload-cancel", "upload-resume"):
        with pytest.raises(InsufficientPermissions):
            await rig.command(name, key)
    with pytest.raises(InsufficientPermissions):
        await rig.put(key, whole_body(b"abc"))
    snapshot = repr(await rig.gateway.snapshot(ANYBODY, key))
    assert session_id not in snapshot
    assert "/api/upload" not in snapshot
    assert "secret" not in snapshot


async def test_somebody_else_s_session(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    alice = Actor("alice", ANYBODY.scopes)
    answer = await rig.gateway.create_session(alice, CreateSession())
    with pytest.raises(InsufficientPermissions):
        await rig.gateway.snapshot(ANYBODY, answer["sessionId"])


async def test_client_progress_is_kept_apart(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await two(rig)
    with pytest.raises(UploadNotStarted):
        await rig.command("upload-progress", session_id, fileId="f1", progress=50)
    await rig.command("upload-start", session_id, fileIds=["f1"], category="personal")
    await rig.command("upload-progress", session_id, fileId="f1", progress=50)
    view = await rig.gateway.file(ANYBODY, session_id, "f1")
    assert (view.client_progress, view.progress) == (50, 0)
    answer = await rig.command("upload-progress", session_id, fileId="f1", requestUpdate=True)
    assert answer["progress"]["fileId"] == "f1"
    with pytest.raises(InvalidMessage, match="requestUpdate"):
        await rig.command("upload-progress", session_id, fileId="f1")


async def test_a_command_whose_asker_is_gone_still_runs_to_its_end(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(100)
    async with trio.open_nursery() as nursery:

        async def put() -> None:
            with pytest.raises(UploadCancelled):
                await rig.put(session_id, FedBody(b"x" * 30, length=100))

        nursery.start_soon(put)
        await trio.sleep(0.1)
        rig.blobs.gate = trio.Event()
        with trio.move_on_after(1):
            nursery.start_soon(_open_later, rig.blobs.gate)
            await rig.command("upload-cancel", session_id)
    assert rig.file(session_id).row.state is State.CANCELLED
    assert rig.blobs.incoming_blobs == {}


async def _open_later(gate: trio.Event) -> None:
    await trio.sleep(2)
    gate.set()


async def test_cancel_of_a_file_being_published_is_refused(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    session_id = await rig.one_file(3)
    async with trio.open_nursery() as nursery:
        body = whole_body(b"abc")
        nursery.start_soon(rig.put, session_id, body)
        while not rig.file(session_id).published:
            await trio.lowlevel.checkpoint()
        with pytest.raises((UploadLocked, UploadAlreadyCompleted)):
            await rig.command("upload-cancel", session_id, fileId="f1")
    assert await rig.finished_bytes(session_id) == b"abc"


async def test_registration_is_checked_whole(autojump_clock: MockClock) -> None:
    rig = await make_rig(
        max_file_bytes=10, max_session_files=3, allowed_formats=("bin", "image/png"), max_metadata_bytes=20
    )
    cases: list[tuple[type[Exception], str, CreateSession]] = [
        (InvalidMessage, "category", CreateSession(category="nope")),
        (InvalidMessage, "metadata", CreateSession(metadata={"a": "x" * 20})),
        (FileSizeExceeded, r"files\[0\].fileSize", CreateSession(files=[spec("a.bin", size=11)])),
        (UnsupportedFormat, r"files\[1\]", CreateSession(files=[spec("a.bin"), spec("a.exe")])),
        (InvalidMessage, r"files\[1\].fileId", CreateSession(files=[spec("a.bin", "x"), spec("b.bin", "x")])),
    ]
    for error, message, wanted in cases:
        with pytest.raises(error, match=message):
            await rig.gateway.create_session(ANYBODY, wanted)
    assert (await rig.store.counts())["sessions"] == 0
    await rig.gateway.create_session(
        ANYBODY, CreateSession(files=[FileSpec(file_name="x", file_type="image/png")])
    )


def spec(name: str, file_id: str | None = None, size: int | None = None) -> FileSpec:
    return FileSpec(file_name=name, file_id=file_id, file_size=size)


async def test_declared_bytes_are_reserved(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    free = await rig.blobs.free_bytes()
    session_id = await rig.one_file(free - 10)
    with pytest.raises(InsufficientStorage):
        await rig.one_file(11)
    await rig.command("upload-cancel", session_id)
    await rig.one_file(11)
    assert rig.gateway.statistics().reserved_bytes == 11


async def test_idempotent_creation(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    key = IdempotencyKey("POST /sessions", "k1", "fp")
    wanted = CreateSession(files=[FileSpec(file_name="a")])
    answers: list[object] = []

    async def create() -> None:
        answers.append(await rig.gateway.create_session(ANYBODY, wanted, key))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(create)
    await rig.open()  # another process finds it, too
    await create()
    assert all(answer == answers[0] for answer in answers)
    assert (await rig.store.counts())["sessions"] == 1


async def test_open_session_completes_when_registration_ends(autojump_clock: MockClock) -> None:
    rig = await make_rig()
    answer = await rig.session({"fileName": "a", "fileId": "f1"}, open=True)
    session_id = answer["sessionId"]
    async with rig.watcher(session_id) as watcher:
        await rig.put(session_id, whole_body(b"abc"))
        assert "session-completed" not in await watcher.names()
        await rig.gateway.complete_registration(ANYBODY, session_id)
        await rig.gateway.complete_registration(ANYBODY, session_id)
        assert await watcher.names() == ["session-completed", "upload-progress"]
        await rig.gateway.register(ANYBODY, session_id, [FileSpec(file_name="b", file_id="f2")])
        await rig.put(session_id, whole_body(b"abc"), file_id="f2")
        assert (await watcher.names())[-2:] == ["session-completed", "upload-progress"]


async def test_snapshot_pages(autojump_clock: MockClock) -> None:
    from penstock.protocol.snapshot import parse_cursor

    rig = await make_rig()
    answer = await rig.session(*({"fileName": f"n{i}", "fileId": f"i{i}", "fileSize": 1} for i in range(700)))
    session_id = answer["sessionId"]
    await rig.put(session_id, whole_body(b"x"), file_id="i0")
    seen: list[str] = []
    page = await rig.gateway.snapshot(ANYBODY, session_id)
    while True:
        seen += [file.file_id for file in page.files]
        assert page.files_total == 700
        if page.cursor is None:
            break
        page = await rig.gateway.snapshot(ANYBODY, session_id, parse_cursor(page.cursor))
    assert sorted(seen) == sorted(f"i{i}" for i in range(700))
    assert seen[-1] == "i0"
