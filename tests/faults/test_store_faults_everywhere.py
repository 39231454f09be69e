"""A fault at any call of the kernel and any statement of the database, during uploads in every dialect.

Whatever fails: the answer is one that the fault allows, a success is true, and afterwards the client gets its
file stored without a byte being wrong.
"""

from __future__ import annotations

import errno
import random
import sqlite3
from pathlib import Path

import pytest

from tests.acceptance.content import Content
from tests.acceptance.sizes import full_or, tell
from tests.acceptance.watcher import check_offsets
from tests.faults.requests import REQUESTS, Play
from tests.faults.scenes import Scene, bystander, watched
from tests.faults.senders import BIG, DIALECTS, SMALL, SMALL_FORM, Dialect, ask, put, registered
from tests.faults.store_world import BUFFER_BYTES, World, open_descriptors, running
from tests.faults.table import RESUMING
from tests.server.edge.harness import until

ERRORS = (errno.ENOSPC, errno.EIO)
CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_READONLY)
RUNS = full_or(8, 40)  # of each kind of request and seed
SEEDS = tuple(range(full_or(1, 20)))
ALLOWED = {500, 507, 423}  # 423: paused; or all of it is here, and nobody can say that it is complete

KINDS = (
    *(("send", sender) for sender in DIALECTS),
    *(("go on", sender) for sender in RESUMING),
    ("any pause", "PUT"),
    ("any pause", "tus"),
    ("concatenate", "tus POST"),
)


class Fault:
    """A seeded choice of what fails; `strike` arms it."""

    def __init__(self, dice: random.Random, calls: int, statements: int) -> None:
        self.in_database = dice.random() < 0.5
        self.nth = dice.randint(1, statements if self.in_database else calls)
        self.error = dice.choice(CODES if self.in_database else ERRORS)
        self.lasting = dice.random() < 0.5

    def __repr__(self) -> str:
        where = "statement" if self.in_database else "call"
        return f"{where} {self.nth}: {self.error}{', and all later ones' if self.lasting else ''}"

    def strike(self, world: World) -> None:
        if self.in_database:
            world.statements.fail(self.error, nth=self.nth, lasting=self.lasting)
        else:
            world.kernel.fail(self.error, nth=self.nth, lasting=self.lasting)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("kind", "sender"), KINDS)
async def test_a_fault_anywhere(kind: str, sender: str, seed: int, tmp_path: Path) -> None:
    dice = random.Random(f"{seed} {kind} {sender}")
    async with running(tmp_path, sync_every_bytes=2 * BUFFER_BYTES, pause_hold_s=0.05) as world:
        descriptors = open_descriptors()
        async with bystander(world):
            calls, statements = await _measured(world, kind, sender)
            for number in range(RUNS):
                fault = Fault(dice, calls, statements)
                tell(f"{kind}, {sender}, {number}: {fault}")
                try:
                    await _run(world, kind, sender, fault)
                except Exception as error:
                    error.add_note(f"{kind}, {sender}: {fault}")
                    raise
        await world.assert_nothing_held(descriptors)


async def _measured(world: World, kind: str, sender: str) -> tuple[int, int]:
    """How many calls and statements there are without a fault."""
    async with watched(world, await registered(world.api, _content(sender))) as scene:
        await REQUESTS[kind](scene, sender, world.begin_counting)
        return world.counted()


async def _run(world: World, kind: str, sender: str, fault: Fault) -> None:
    dialect = DIALECTS.get(sender, DIALECTS["tus"])
    async with watched(world, await registered(world.api, _content(sender))) as scene:
        play = await REQUESTS[kind](scene, sender, lambda: fault.strike(world))
        if play.answer.status < 300:
            await _check_success(scene)
        else:
            assert play.answer.status in ALLOWED, play.answer
        await scene.told()
        world.heal()
        await _end_well(scene, play, dialect)
        check_offsets(scene.watcher.events)
        await scene.assert_watchable()
    await until(lambda: (world.gateway.statistics().appends, world.blobs.statistics.open_writers) == (1, 1))
    assert world.gateway.statistics().buffer_bytes == 0


async def _check_success(scene: Scene) -> None:
    """Not only as it is remembered: as a process would find it that starts now."""
    scene.world.heal()
    await scene.assert_stored()
    rows = await scene.world.state.load_session(scene.upload.session_id)
    assert rows is not None
    (row,) = (row for row in rows[1] if row.file_id == scene.upload.file_id)
    assert row.state.value == "completed"


async def _end_well(scene: Scene, play: Play, dialect: Dialect) -> None:
    upload = scene.upload
    if play.request.path == "/files/":  # a concatenation is asked for again
        answer = await ask(scene.world.api, play.request)
        assert answer.status == play.done, answer
        await scene.assert_stored()
        return
    head = await ask(scene.world.api, DIALECTS["PUT"].head(upload))
    view = await upload.view()
    if view["status"] == "failed" and not view["canRetry"]:
        await scene.complete(put(upload), DIALECTS["PUT"])
    elif view["status"] == "completed":
        await scene.assert_stored()
    else:
        assert head.status == 200, head
        await scene.world.api.command(upload.session_id, "upload-resume")
        offset = await scene.offset(dialect)
        await scene.complete(dialect.request(upload, offset), dialect)


def _content(sender: str) -> Content:
    return SMALL if sender == SMALL_FORM else BIG
