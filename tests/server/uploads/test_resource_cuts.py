"""Calls of upload resources, cut at every step: the caller goes away, the process dies, power goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import trio
import trio.testing

from penstock.server.uploads import assembly
from tests.server.uploads.crash import killed, without_power
from tests.server.uploads.cutting import AtStep, assert_at_rest, at_every_step
from tests.server.uploads.resource_scenarios import SCENARIOS, Places, Scenario, tolerant
from tests.server.uploads.rig import Rig, make_rig


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "STEP_BYTES", 2)


async def prepared(scenario: Scenario, fsync: str = "append") -> tuple[Rig, Places]:
    rig = await make_rig(buffer_pool_bytes=128 * 1024, sync_every_bytes=3, fsync=fsync, **scenario.settings)
    return rig, await scenario.prepare(rig)


async def finish(rig: Rig, scenario: Scenario, places: Places) -> None:
    await scenario.finish(rig, places)
    assert_at_rest(rig)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_caller_goes_away_at_any_step(name: str) -> None:
    async def run(cut: AtStep) -> None:
        rig, places = await prepared(SCENARIOS[name])
        with trio.CancelScope() as caller:
            cut.arm(caller.cancel)
            await tolerant(SCENARIOS[name].call, rig, places)
        cut.disarm()
        assert_at_rest(rig)
        await finish(rig, SCENARIOS[name], places)

    at_every_step(run, at_least=2)


@pytest.mark.parametrize(
    ("crash", "fsync"), [(killed, "append"), (killed, "complete"), (without_power, "append")]
)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_process_dies_at_any_step(
    name: str, crash: Callable[[Rig], Rig], fsync: Literal["append", "complete"]
) -> None:
    async def run(cut: AtStep) -> None:
        rig, places = await prepared(SCENARIOS[name], fsync)
        left: list[Rig] = []  # what the crash leaves; the old process goes on
        cut.arm(lambda: left.append(crash(rig)))
        await tolerant(SCENARIOS[name].call, rig, places)
        cut.disarm()
        for after in left:
            await after.open()
            await finish(after, SCENARIOS[name], places)

    at_every_step(run, at_least=2)
