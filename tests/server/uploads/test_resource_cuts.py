"""Calls of upload resources, cut at every step: the caller goes away, the process dies, power goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.server.uploads import assembly
from tests.server.uploads.crash import killed, without_power
from tests.server.uploads.resource_scenarios import SCENARIOS, Places, Scenario, tolerant
from tests.server.uploads.rig import Rig, make_rig
from tests.server.uploads.sums import assert_nothing_held, assert_sums
from tests.server.uploads.test_invariants import CutAfter


class SnapAfter(trio.abc.Instrument):
    """Keeps what a crash would leave before the n-th step that any task takes since it was armed."""

    def __init__(self, steps: int, crash: Callable[[Rig], Rig]) -> None:
        self.left = steps
        self.crash = crash
        self.rig: Rig | None = None  # armed while it is set
        self.after: Rig | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.rig is None:
            return
        self.left -= 1
        if self.left == 0:
            self.after = self.crash(self.rig)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 2)


def for_every_step(once: Callable[[int], bool]) -> None:
    """`once(n)` cuts before the n-th step; False when there was no n-th."""
    for steps in range(1, 1000):
        if not once(steps):
            assert steps > 2, "the scenario is over before it begins"
            return
    raise AssertionError("the scenario has no end")


async def prepared(scenario: Scenario, fsync: str = "append") -> tuple[Rig, Places]:
    rig = await make_rig(buffer_pool_bytes=128 * 1024, sync_every_bytes=3, fsync=fsync, **scenario.settings)
    return rig, await scenario.prepare(rig)


async def finish(rig: Rig, scenario: Scenario, places: Places) -> None:
    await scenario.finish(rig, places)
    assert_nothing_held(rig)
    assert_sums(rig)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_caller_goes_away_at_any_step(name: str) -> None:
    async def run(cut: CutAfter) -> None:
        rig, places = await prepared(SCENARIOS[name])
        with trio.CancelScope() as caller:
            cut.scope = caller
            await tolerant(SCENARIOS[name].call, rig, places)
        cut.scope = None
        assert_nothing_held(rig)
        assert_sums(rig)
        await finish(rig, SCENARIOS[name], places)

    def once(steps: int) -> bool:
        cut = CutAfter(steps)
        trio.run(run, cut, clock=MockClock(autojump_threshold=0), instruments=[cut])
        return cut.left <= 0

    for_every_step(once)


@pytest.mark.parametrize(
    ("crash", "fsync"), [(killed, "append"), (killed, "complete"), (without_power, "append")]
)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_process_dies_at_any_step(
    name: str, crash: Callable[[Rig], Rig], fsync: Literal["append", "complete"]
) -> None:
    async def run(snap: SnapAfter) -> None:
        rig, places = await prepared(SCENARIOS[name], fsync)
        snap.rig = rig
        await tolerant(SCENARIOS[name].call, rig, places)
        snap.rig = None
        if snap.after is not None:
            await snap.after.open()
            await finish(snap.after, SCENARIOS[name], places)

    def once(steps: int) -> bool:
        snap = SnapAfter(steps, crash)
        trio.run(run, snap, clock=MockClock(autojump_threshold=0), instruments=[snap])
        return snap.left <= 0

    for_every_step(once)
