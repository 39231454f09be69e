"""After a cancel in mid-upload nothing is left that costs: files, rows, descriptors, tasks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from penstock.server.app import create_app
from penstock.server.edge.guard import guarded
from penstock.server.edge.host import Edge
from penstock.server.settings import Settings
from penstock.server.uploads import gateway as uploads
from penstock.storage.blobs.local import LocalBlobs
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.state.sqlite import SqliteState
from tests.acceptance.api import Answer, Api, Upload
from tests.acceptance.content import Content
from tests.acceptance.gateway import Gateway, polled, running, until
from tests.acceptance.sizes import MIB, full_or, tell

pytestmark = pytest.mark.acceptance

ROUNDS = full_or(12, 50)
CONTENT = Content(4 * MIB)
OF_SESSIONS = ("sessions", "files", "facts")
BRIEFLY = ("--ended-retention-s", "2", "--janitor-every-s", "0.3")


def cancel_points() -> Iterator[int]:
    """Anywhere in the file, the very beginning and the last byte too."""
    yield 0
    yield CONTENT.size - 1
    dice = random.Random(7)
    for _ in range(ROUNDS - 2):
        yield dice.randrange(CONTENT.size)


async def cancel_at(upload: Upload, point: int) -> None:
    """Send this many bytes, cancel, and see the request end."""
    async with upload.putting(CONTENT) as putting:
        await putting.send(point)
        await upload.until_received(point)
        assert (await upload.cancel()).status == 200
        with suppress(trio.BrokenResourceError):
            await putting.send(1000)
        answer = await putting.answer()
    assert (answer.status, answer.json()["code"]) == (410, "UPLOAD_CANCELLED")
    assert (await upload.show())["status"] == "cancelled"
    assert (await upload.cancel()).status == 200, "cancelling the cancelled is fine"


async def test_cancelled_at_any_point_nothing_is_left(tmp_path: Path) -> None:
    async with running(tmp_path, *BRIEFLY) as gateway:
        api = Api(gateway)
        await cancel_at(await api.create_one(CONTENT.size), 1)  # whatever the first upload opens for good
        await until(lambda: not any(gateway.rows()[name] for name in OF_SESSIONS))
        paths, rows, descriptors = gateway.paths(), gateway.rows(), gateway.descriptors()
        for number, point in enumerate(cancel_points()):
            upload = await api.create_one(CONTENT.size)
            await cancel_at(upload, point)
            assert gateway.paths() == paths
            assert gateway.rows(but=OF_SESSIONS) == {k: v for k, v in rows.items() if k not in OF_SESSIONS}
            check_tombstones(gateway)
            tell(f"cancelled {number + 1} of {ROUNDS}, at byte {point}")
        await until(lambda: gateway.descriptors() == descriptors)
        await until(lambda: gateway.rows() == rows)


def check_tombstones(gateway: Gateway) -> None:
    """What a cancelled session leaves until its retention is over: rows that say it has ended."""
    rows = gateway.rows()
    sessions = {row[0] for row in rows["sessions"]}
    assert sessions, "the last one was just cancelled"
    for name in ("files", "facts"):
        assert {row[0] for row in rows[name]} <= sessions
    assert all("cancelled" in row for row in rows["files"])


# The same in this process, where the tree of tasks can be seen.


class Inside:
    """What `Api` wants to know of a gateway."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.host, self.port = address


def task_names() -> list[str]:
    """All tasks of this run, as a sorted list of what they run."""

    def below(task: trio.lowlevel.Task) -> Iterator[str]:
        yield task.name
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from below(child)

    root = trio.lowlevel.current_root_task()
    assert root is not None
    return sorted(below(root))


async def test_cancelled_at_any_point_no_task_is_left(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(Settings(), port=0, data_dir=tmp_path / "data", janitor_every_s=1000.0)
    disk = Disk(settings.disk_threads)
    with DataDirectory(settings.data_dir, settings.categories) as directory:
        async with await SqliteState.open(
            settings.data_dir / "state.db", kept_facts=settings.kept_facts
        ) as state:
            blobs = LocalBlobs(directory, disk, fsync=settings.fsync)
            gateway = await uploads.Gateway.open(
                blobs, state, settings, server_key=directory.key, boot_id=state.boot_id
            )
            edge = Edge(guarded(create_app(gateway, settings), settings), settings)
            async with trio.open_nursery() as nursery:
                await nursery.start(_serve, edge)
                await check_tasks(Api(Inside(edge.addresses[0])), gateway)  # type: ignore[arg-type]  # no process
                nursery.cancel_scope.cancel(reason="the test is over")


async def _serve(edge: Edge, task_status: trio.TaskStatus[list[str]]) -> None:
    await edge.serve(task_status=task_status)


async def check_tasks(api: Api, gateway: uploads.Gateway) -> None:
    idle = task_names()
    for point in cancel_points():
        upload = await api.create_one(CONTENT.size)
        await cancel_at(upload, point)
        await until(lambda: task_names() == idle)
    left = gateway.statistics()
    assert (left.appends, left.reserved_bytes, left.buffer_bytes, left.waiting_for_buffers) == (0, 0, 0, 0)


async def test_a_whole_session_cancelled_ends_every_request(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        api = Api(gateway)
        created = await api.create(
            *({"fileName": "a", "fileId": f"f{n}", "fileSize": CONTENT.size} for n in range(5))
        )
        answers: list[Answer] = []

        async def put(file_id: str) -> None:
            upload = Upload(api, created["sessionId"], file_id, created["watchKey"])
            async with upload.putting(CONTENT) as putting:
                await putting.send(MIB)
                answers.append(await putting.answer())

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(put, f"f{number}")
            await polled(
                partial(api.snapshot, created["sessionId"]), lambda seen: seen["totalProgress"] >= 25
            )
            gone = await api.call("DELETE", f"/api/upload/sessions/{created['sessionId']}")
            assert gone.status == 204
        assert [answer.status for answer in answers] == [410] * 5
        assert gateway.incoming_bytes() == 0
        assert list((gateway.data / "incoming").iterdir()) == []
