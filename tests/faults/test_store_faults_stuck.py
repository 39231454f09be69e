"""Disks that are slow, or stuck: nobody is let in behind a call that hangs, and nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

from tests.acceptance.api import Answer
from tests.faults.requests import CREATIONS
from tests.faults.scenes import Scene, scene, watched
from tests.faults.senders import BIG, DIALECTS, SMALL, SMALL_FORM, ask, code_of, registered, tus
from tests.faults.store_world import World, running
from tests.server.edge.harness import until
from tests.storage.gate import Gate

STALL_S = 0.05
SLOW_CALL_S = 0.002


class Slow(Gate):
    """Every call takes a moment."""

    def __call__(self) -> None:
        time.sleep(SLOW_CALL_S)


@pytest.mark.parametrize("sender", DIALECTS)
async def test_a_slow_disk_is_only_slow(sender: str, tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        upload = await registered(world.api, SMALL if sender == SMALL_FORM else BIG)
        async with scene(world, upload) as played:
            world.kernel.hold(Slow())
            await played.complete(DIALECTS[sender].request(upload, 0), DIALECTS[sender])
            assert await played.told() == ["upload-started", "upload-completed", "session-completed"]
            world.heal()


@pytest.mark.parametrize("threads", [1, 8])
async def test_a_stuck_disk_lets_nobody_in_and_loses_nothing(threads: int, tmp_path: Path) -> None:
    """One thread: then everything that needs the disk would wait for the one call."""
    async with running(
        tmp_path, disk_stall_s=STALL_S, disk_threads=threads, lease_wait_s=STALL_S, takeover_idle_s=STALL_S
    ) as world:
        upload, other = await registered(world.api, BIG), await registered(world.api, BIG, "other")
        answers: list[Answer] = []

        async def send() -> None:
            answers.append(await ask(world.api, tus(upload)))

        async with scene(world, upload) as played, watched(world, other) as refused:
            gate = Gate()
            world.kernel.hold(gate, name="pwrite")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                await gate.wait_inside()
                await until(world.health)
                await _nobody_is_let_in(world, refused)
                assert (await ask(world.api, DIALECTS["tus"].head(upload))).status == 423
                gate.let_go()
            world.heal()
            await until(lambda: not world.health())
            assert (await world.api.call("GET", "/readyz")).status == 200
            (answer,) = answers
            assert answer.status == 423  # its client has asked for the offset meanwhile
            await played.complete(tus(upload, await played.offset(DIALECTS["tus"])), DIALECTS["tus"])
            await refused.complete(tus(other), DIALECTS["tus"])


async def _nobody_is_let_in(world: World, refused: Scene) -> None:
    ready = await world.api.call("GET", "/readyz")
    assert ready.status == 503
    assert "disk" in ready.json()["reasons"]
    assert (await world.api.call("GET", "/healthz")).status == 200
    requests = [dialect.request(refused.upload, 0) for dialect in DIALECTS.values()]
    for request in (*requests, *CREATIONS.values()):
        answer = await ask(world.api, request)
        assert (answer.status, code_of(answer)) == (503, "SERVER_BUSY"), request
        assert answer.headers["retry-after"]
    assert await refused.told() == []  # to be refused is no event
