"""Any mix of what clients of upload resources, watchers, disks, time and power can do to them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Literal

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock.protocol.errors import GatewayError
from penstock.server.uploads import assembly
from penstock.server.uploads.offsets import Manner
from penstock.storage.errors import StoreError
from tests.server.uploads.resource_checks import assert_same, check, check_rest, picture, the_end
from tests.server.uploads.resource_model import KIB
from tests.server.uploads.resource_steps import Clients
from tests.server.uploads.resource_world import SIZES, World
from tests.server.uploads.rig import make_rig

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "200"))  # more of them by hand
Step = tuple[Any, ...]

WHICH = st.integers(0, 5)  # of the uploads, or of the requests that go on
JOINS = st.sampled_from(["alone", "alone", "session", "f1", "f2"])
KINDS = st.sampled_from(["known", "deferred", "stays-open", "partial", "partial", "partial-deferred"])
OFFSETS = st.sampled_from(["exact", "exact", "exact", "received", "off"])
SAYS = st.sampled_from(["nothing", "nothing", "length", "length", "short", "some", "too-much"])
CLAIMS = st.sampled_from(["tus", "tus", "draft", "digest", "wrong-digest"])
BYTES = st.sampled_from([1, 1000, 30 * KIB, 64 * KIB, 150 * KIB])

STEPS = st.one_of(
    st.tuples(st.just("create"), KINDS, st.sampled_from(SIZES), JOINS),
    st.tuples(st.just("create_keyed"), st.sampled_from(["0", "2"])),
    st.tuples(st.just("create_partial"), st.sampled_from(SIZES), JOINS),
    st.tuples(st.just("create_partial"), st.just(50 * KIB), JOINS),
    st.tuples(st.just("patch"), WHICH, OFFSETS, SAYS, CLAIMS),
    st.tuples(st.just("patch"), WHICH, OFFSETS, SAYS, CLAIMS),
    st.tuples(st.just("send_all"), WHICH, SAYS, CLAIMS),
    st.tuples(st.just("put"), WHICH),
    st.tuples(st.just("feed"), WHICH, BYTES),
    st.tuples(st.just("feed"), WHICH, BYTES),
    st.tuples(st.just("feed_all"), WHICH),
    st.tuples(st.just("feed_all"), WHICH),
    st.tuples(st.sampled_from(["end", "break_off", "cut", "cut"]), WHICH),
    st.tuples(st.just("concatenate"), st.lists(st.integers(0, 3), min_size=1, max_size=3), JOINS),
    st.tuples(st.just("concatenate"), st.lists(st.integers(0, 1), min_size=1, max_size=2), JOINS),
    st.tuples(st.just("head"), WHICH, st.sampled_from(Manner)),
    st.tuples(st.just("head"), WHICH, st.sampled_from(Manner)),
    st.tuples(st.just("command"), st.sampled_from(["upload-pause", "upload-resume"]), st.none() | WHICH),
    st.tuples(st.just("command"), st.just("upload-cancel"), WHICH),
    st.tuples(st.just("command"), st.just("upload-cancel"), st.none()),
    st.tuples(st.just("terminate"), WHICH),
    st.tuples(st.just("kill"), st.sampled_from(["kill", "power", "zeros"])),
    st.tuples(st.sampled_from(["full", "slow", "fault"]), st.booleans()),
    st.tuples(st.sampled_from(["full", "slow", "fault"]), st.just(False)),
    st.tuples(st.just("wait"), st.sampled_from([0.2, 3.0, 20.0, 70.0, 700.0, 2000.0, 5000.0])),
)
REFUSABLE = ("create", "create_keyed", "concatenate", "command", "terminate")
# After a step: let everything come to rest, or only so many turns of the scheduler.
REST = st.none() | st.none() | st.integers(0, 6) | st.integers(0, 40)
MIXES = st.lists(st.tuples(STEPS, REST), max_size=30)

LIMITS: dict[str, Any] = {
    "buffer_pool_bytes": 256 * KIB,
    "sync_every_bytes": 50 * KIB,
    "retention_s": 3000.0,
    "ended_retention_s": 4000.0,
    "session_timeout_s": 1500.0,
    "janitor_every_s": 400.0,
}


def refusable(world: World, name: str, arguments: list[Any]) -> bool:
    """Whether its refusal must leave everything alone. A take-over may be refused afterwards."""
    if name == "head":
        return arguments[1] is Manner.PEEK
    if name == "command" and any(
        file.append and file.received == file.row.file_size for file in world.files()
    ):
        return False  # a pause that comes too late ends the body that has not ended yet
    if name == "concatenate" and world.is_full:
        return False  # it was begun, and breaks off
    if name not in ("patch", "send_all", "put"):
        return name in REFUSABLE
    upload = world.upload(arguments[0])
    file = world.file_in_memory(upload) if upload is not None else None
    return file is not None and not file.visitors


async def live(steps: list[tuple[Step, int | None]], fsync: Literal["append", "complete", "never"]) -> None:
    rig = await make_rig(fsync=fsync, **LIMITS)
    async with trio.open_nursery() as nursery:
        world = Clients(rig, nursery)
        await world.begin()
        at_rest = True
        for (name, *arguments), turns in steps:
            world.rig.blobs.now = world.rig.gateway.clock.now()
            before = picture(world) if at_rest and refusable(world, name, arguments) else None
            world.refused, world.asked = False, None
            with suppress(GatewayError, StoreError):
                await getattr(world, name)(*arguments)
            if turns is None:
                await trio.testing.wait_all_tasks_blocked()
            for _ in range(turns or 0):
                await trio.lowlevel.checkpoint()
            await check(world)
            at_rest = turns is None and world.rig.blobs.gate is None and world.rig.store.fault is None
            if at_rest:
                check_rest(world)
            if before is not None and at_rest and (world.refused or name == "head"):
                assert_same(before, picture(world))
        await the_end(world)
        nursery.cancel_scope.cancel()


def run(steps: list[tuple[Step, int | None]], fsync: Literal["append", "complete", "never"]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(assembly, "STEP_BYTES", 20 * KIB)
        trio.run(live, steps, fsync, clock=MockClock(autojump_threshold=0))


@settings(max_examples=EXAMPLES)
@given(MIXES)
def test_any_mix(steps: list[tuple[Step, int | None]]) -> None:
    run(steps, "append")


@settings(max_examples=EXAMPLES // 2)
@given(MIXES)
def test_any_mix_without_syncs(steps: list[tuple[Step, int | None]]) -> None:
    run(steps, "complete")


@settings(max_examples=EXAMPLES // 4)
@given(MIXES)
def test_any_mix_with_no_sync_at_all(steps: list[tuple[Step, int | None]]) -> None:
    run(steps, "never")
