"""Small files that are stored many at a time: whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from penstock.protocol.commands import FileSpec
from penstock.protocol.errors import ServerBusy, UploadLocked
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.small import MAX_BATCH, Declined, Intake, Stored
from penstock.storage.errors import StoreError, StoreFull
from tests.server.uploads.rig import Rig, make_rig, whole_body


@pytest.fixture
async def rig() -> Rig:
    return await make_rig()


async def hold(intake: Intake, name: str, content: bytes, file_name: str = "a.txt") -> bool:
    middle = len(content) // 2
    pieces = [memoryview(content[:middle]), memoryview(content[middle:])]
    assert intake.has_room(len(content))
    return await intake.hold(name, FileSpec(file_name=file_name), pieces, len(content))


async def new_session(rig: Rig, *files: dict[str, Any]) -> str:
    return str((await rig.session(*files))["sessionId"])


def published(rig: Rig) -> list[bytes]:
    return [bytes(blob.data) for blob in rig.blobs.published_blobs.values()]


def buffer_bytes(rig: Rig) -> int:
    return rig.gateway.statistics().buffer_bytes


async def test_all_in_one_commit_each_with_its_facts(rig: Rig) -> None:
    sid = await new_session(rig, {"fileName": "r", "fileId": "r", "fileSize": 3})
    async with rig.watcher(sid) as watcher, rig.gateway.adding(ANYBODY, sid) as intake:
        commits = rig.blobs.syncs
        for name, content in {"x": b"one", "r": b"two", "y": b""}.items():
            assert await hold(intake, name, content)
        first, second, third = await intake.store()
        assert rig.blobs.syncs == commits + 3
        assert isinstance(first, Stored)
        assert isinstance(second, Stored)
        assert second.file_id == "r"
        assert isinstance(third, Stored)
        assert published(rig) == [b"one", b"two", b""]
        names = await watcher.names()
        assert names == ["upload-started", "upload-progress", "upload-completed"] * 3
        assert buffer_bytes(rig) == 0
    assert rig.live(sid).row.ended_at is not None
    for file in rig.live(sid).files.values():
        assert (file.row.state, file.durable) == (State.COMPLETED, file.row.file_size)
        assert file.row.synced == file.row.file_size
    _, rows = await rig.store.load_session(sid) or (None, [])
    assert rows == [file.row for file in rig.live(sid).files.values()]


async def test_nobody_watches_nothing_is_sampled(rig: Rig) -> None:
    sid = await new_session(rig)
    async with rig.gateway.adding(ANYBODY, sid) as intake:
        await hold(intake, "x", b"one")
        await intake.store()
    assert all(file.sample is None for file in rig.live(sid).files.values())


async def test_a_session_completes_when_the_last_request_that_adds_has_ended(rig: Rig) -> None:
    sid = await rig.one_file(3)
    async with rig.watcher(sid) as watcher:
        async with rig.gateway.adding(ANYBODY, sid):
            async with rig.gateway.adding(ANYBODY, sid):
                await rig.put(sid, whole_body(b"abc"))
            assert "session-completed" not in await watcher.names()
        assert "session-completed" in await watcher.names()
        async with rig.gateway.adding(ANYBODY, sid):
            pass
        assert await watcher.names() == []


async def test_room_is_bounded_by_files_and_bytes(rig: Rig) -> None:
    sid = await new_session(rig)
    async with rig.gateway.adding(ANYBODY, sid) as intake:
        for number in range(MAX_BATCH):
            assert await hold(intake, f"{number}", b"x")
        assert not intake.has_room(0)
        assert len(await intake.store()) == MAX_BATCH
        assert await hold(intake, "a", bytes(200_000))
        assert intake.has_room(1024 * 1024 - 200_000)
        assert not intake.has_room(1024 * 1024 - 199_999)
    assert buffer_bytes(rig) == 0  # what was held and not stored is dropped


async def test_a_pool_with_small_buffers_takes_small_ones_only() -> None:
    rig = await make_rig(buffer_pool_bytes=64 * 1024)
    sid = await new_session(rig)
    async with rig.gateway.adding(ANYBODY, sid) as intake:
        assert not await hold(intake, "a", bytes(64 * 1024 + 1))
        assert buffer_bytes(rig) == 0  # an append may have it
        assert await hold(intake, "a", bytes(64 * 1024))
        async with rig.gateway.adding(ANYBODY, sid) as other:
            with trio.move_on_after(0.01) as waiting:
                await hold(other, "b", b"x")
            assert waiting.cancelled_caught
        assert isinstance((await intake.store())[0], Stored)
    assert buffer_bytes(rig) == 0


@pytest.mark.parametrize("command", [{}, {"fileId": "f1"}], ids=["session", "file"])
async def test_what_is_paused_before_it_is_stored_goes_another_way(rig: Rig, command: dict[str, str]) -> None:
    sid = await rig.one_file(3)
    async with rig.gateway.adding(ANYBODY, sid) as intake:
        assert intake.takes_small("f1")
        await hold(intake, "f1", b"abc")
        await rig.command("upload-pause", sid, **command)
        assert not intake.takes_small("f1")
        assert intake.takes_small("new") is bool(command)
        assert await intake.store() == [Declined(None, b"abc")]
    assert published(rig) == []
    assert rig.file(sid).row.state is State.PAUSED


async def test_what_does_not_fit_its_registration_goes_another_way(rig: Rig) -> None:
    sid = await new_session(
        rig,
        *({"fileName": name, "fileId": name, "fileSize": 3} for name in ("short", "done", "begun")),
    )
    await rig.put(sid, whole_body(b"abc"), file_id="done")
    await rig.put(sid, whole_body(b"a"), file_id="begun", offset=0)
    async with rig.gateway.adding(ANYBODY, sid) as intake:
        await hold(intake, "short", b"ab")
        assert not intake.takes_small("done")
        await hold(intake, "done", b"abc")
        assert not intake.takes_small("begun")
        await hold(intake, "begun", b"abc")
        await hold(intake, "new", b"x" * 10, "n" * 10)
        *others, new = await intake.store()
        assert [type(one) for one in others] == [Declined] * 3
        assert isinstance(new, Stored)


async def test_started_by_command_is_not_told_twice(rig: Rig) -> None:
    sid = await rig.one_file(3)
    await rig.command("upload-start", sid, fileIds=["f1"], category="personal")
    async with rig.watcher(sid) as watcher, rig.gateway.adding(ANYBODY, sid) as intake:
        await hold(intake, "f1", b"abc")
        assert isinstance((await intake.store())[0], Stored)
        assert await watcher.names() == ["upload-progress", "upload-completed"]


async def test_commands_during_the_store_come_too_late(rig: Rig) -> None:
    sid = await rig.one_file(3)
    async with rig.gateway.adding(ANYBODY, sid) as intake, trio.open_nursery() as nursery:
        await hold(intake, "f1", b"abc")
        gate = rig.blobs.gate = trio.Event()
        nursery.start_soon(intake.store)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.file(sid).row.state is State.FINISHING
        for name in ("upload-pause", "upload-cancel"):
            with pytest.raises(UploadLocked):
                await rig.command(name, sid, fileId="f1")
        with pytest.raises(UploadLocked):
            await rig.put(sid, whole_body(b"xyz"))
        gate.set()
    assert rig.file(sid).row.state is State.COMPLETED
    assert published(rig) == [b"abc"]


async def test_a_store_is_not_cancelled_half_way(rig: Rig) -> None:
    sid = await rig.one_file(3)
    async with rig.gateway.adding(ANYBODY, sid) as intake, trio.open_nursery() as nursery:
        await hold(intake, "f1", b"abc")
        gate = rig.blobs.gate = trio.Event()
        nursery.start_soon(intake.store)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        gate.set()
    assert rig.file(sid).row.state is State.COMPLETED
    assert rig.live(sid).row.ended_at is not None


@pytest.mark.parametrize("trouble", [StoreError("broken"), StoreFull("full")])
async def test_where_bytes_cannot_be_stored_all_is_as_before(rig: Rig, trouble: StoreError) -> None:
    sid = await rig.one_file(3)
    async with rig.watcher(sid) as watcher, rig.gateway.adding(ANYBODY, sid) as intake:
        reserved = rig.gateway.statistics().reserved_bytes
        await hold(intake, "f1", b"abc")
        await hold(intake, "x", b"new")
        rig.blobs.fault = trouble
        first, second = await intake.store()
        rig.blobs.fault = None
        assert first == Declined("f1", b"abc")
        assert isinstance(second, Declined)
        assert second.content == b"new"
        assert second.file_id is not None
        assert await watcher.names() == []
        for file_id in ("f1", second.file_id):
            file = rig.file(sid, file_id)
            assert (file.row.state, file.received, file.row.stored_name) == (State.PENDING, 0, None)
            await rig.put(sid, whole_body(b"abc"), file_id=file_id)
        assert rig.gateway.statistics().reserved_bytes == reserved - 3
    assert published(rig) == [b"abc", b"abc"]


async def test_bytes_without_rows_are_swept(rig: Rig) -> None:
    sid = await rig.one_file(3)
    async with rig.gateway.adding(ANYBODY, sid) as intake:
        await hold(intake, "f1", b"abc")
        await hold(intake, "x", b"new")
        rig.store.fault = StoreError("no commit")
        with pytest.raises(StoreError):
            await intake.store()
    assert len(published(rig)) == 2
    rig.store.fault = None
    await rig.open()  # as after a crash
    assert published(rig) == []
    async with rig.gateway.adding(ANYBODY, sid) as intake:
        assert not intake.takes_small("f1")  # its bytes have not been looked at since
    assert (await rig.offset(sid)).offset == 0
    await rig.put(sid, whole_body(b"abc"))
    assert published(rig) == [b"abc"]


async def test_a_power_cut_takes_nothing_that_was_told(rig: Rig) -> None:
    sid = await rig.one_file(3)
    async with rig.gateway.adding(ANYBODY, sid) as intake:
        await hold(intake, "f1", b"abc")
        await intake.store()
        rig.blobs.power_cut()
        rig.store.power_cut()
    await rig.open()
    assert (await rig.gateway.file(ANYBODY, sid, "f1")).status == "completed"
    assert await rig.finished_bytes(sid) == b"abc"


async def test_nobody_adds_while_draining(rig: Rig) -> None:
    sid = await rig.one_file(3)
    async with rig.gateway.adding(ANYBODY, sid) as intake:
        assert intake.takes_small("f1")
        await rig.gateway.drain()
        assert not intake.takes_small("f1")
    with pytest.raises(ServerBusy):
        async with rig.gateway.adding(ANYBODY, sid):
            pass
