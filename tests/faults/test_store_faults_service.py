"""Stores that fail at shutdown, in the janitor's rounds, and for good after a failed sync."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from tests.acceptance.api import Answer
from tests.faults.scenes import scene, watched
from tests.faults.senders import BIG, DIALECTS, File, ask, code_of, first_half, put, registered
from tests.faults.store_world import BUFFER_BYTES, World, running
from tests.server.edge.harness import until


@pytest.mark.parametrize(
    ("call", "error", "answer"),
    [
        ("none", 0, (503, "SERVER_BUSY")),
        ("pwrite", errno.ENOSPC, (507, "INSUFFICIENT_STORAGE")),
        ("fdatasync", errno.EIO, (500, "SERVER_ERROR")),
    ],
)
async def test_a_shutdown_on_a_failing_disk(
    call: str, error: int, answer: tuple[int, str], tmp_path: Path
) -> None:
    """It ends, the request is answered, and after the restart the client gets its file stored."""
    async with running(tmp_path) as world:
        upload = await registered(world.api, BIG)
        request = put(upload)
        headers = {"Content-Length": str(len(request.body))}
        async with world.api.exchange(request.method, request.path, headers) as exchange:
            await exchange.send(request.body[: 3 * BUFFER_BYTES])
            await until(lambda: world.received(upload.session_id, upload.file_id) == 3 * BUFFER_BYTES)
            await exchange.send(request.body[3 * BUFFER_BYTES : 3 * BUFFER_BYTES + 100])  # not written yet
            await until(lambda: world.received(upload.session_id, upload.file_id) > 3 * BUFFER_BYTES)
            if error:
                world.kernel.fail(error, name=call, lasting=call == "pwrite")
            await world.gateway.drain()
            said = await exchange.answer()
        assert (said.status, code_of(said)) == answer
        world.heal()
        await world.restart()
        async with scene(world, upload) as played:
            if call == "fdatasync":  # the file has failed
                await played.complete(put(upload), DIALECTS["PUT"])
            else:
                offset = await played.offset(DIALECTS["PUT"])
                await played.complete(put(upload, offset), DIALECTS["PUT"])


async def test_what_cannot_be_removed_does_not_keep_the_janitor_from_the_rest(tmp_path: Path) -> None:
    async with running(tmp_path, ended_retention_s=1e-9) as world:
        stubborn, other = await _failed(world), await _failed(world)
        world.kernel.fail(errno.EIO, name="unlink", path=stubborn.upload_id, lasting=True)
        await world.gateway.janitor.round()
        assert await world.state.load_session(other.session_id) is None
        assert await world.state.load_session(stubborn.session_id) is not None
        world.heal()
        await world.gateway.janitor.round()
        assert await world.state.load_session(stubborn.session_id) is None
        assert list(world.incoming.iterdir()) == []


async def _failed(world: World) -> File:
    """A file that has failed for good, its bytes still there."""
    upload = await registered(world.api, BIG)
    await first_half(world.api, upload)
    world.kernel.fail(errno.EIO, name="fdatasync")
    assert (await ask(world.api, DIALECTS["tus"].request(upload, upload.told))).status == 500
    world.heal()
    return upload


async def test_a_whole_file_that_could_not_be_published_is_so_by_the_janitor(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        upload = await registered(world.api, BIG)
        async with scene(world, upload) as played:
            world.kernel.fail(errno.EIO, name="link", lasting=True)
            assert (await ask(world.api, put(upload))).status == 500
            world.heal()
            await world.gateway.janitor.round()
            assert (await played.told())[-2:] == ["upload-completed", "session-completed"]
            await played.assert_stored()


async def test_after_a_failed_sync_the_database_takes_nothing_until_a_restart(tmp_path: Path) -> None:
    """A second sync would say that all is well; earlier soft commits may be gone all the same."""
    async with running(tmp_path) as world:
        upload = await registered(world.api, BIG)
        async with watched(world, upload) as played:
            world.statements.fail(sqlite3.SQLITE_IOERR_FSYNC, containing="COMMIT", nth=2)
            assert _said(await ask(world.api, put(upload))) == (500, "SERVER_ERROR")
            assert (await played.told())[-1] == "session-error SERVER_ERROR pause"
            world.heal()
            ready = await world.api.call("GET", "/readyz")
            assert (ready.status, "restart" in ready.json()["reasons"]["disk"]) == (503, True)
            assert _said(await ask(world.api, put(upload))) == (503, "SERVER_BUSY")
            assert (await ask(world.api, DIALECTS["tus"].head(upload))).status == 423
        await world.restart()
        async with scene(world, upload) as played:
            assert await played.offset(DIALECTS["tus"]) == BIG.size  # all of it was synced
            await played.assert_stored()


def _said(answer: Answer) -> tuple[int, str]:
    return answer.status, code_of(answer)
