"""The power is cut, or the process is killed, at any moment: what was promised holds on what is left.

Real system calls of the real stores, SQLite's included, are recorded by strace while clients play; `disk.py`
says what a file system may keep of them. See `promises.py` for what must hold then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import structlog

from penstock.server import log
from tests.acceptance.sizes import full_or, tell
from tests.powercut.harness import Recording, points, told_of, trace, verdicts
from tests.powercut.images import Variant
from tests.powercut.mutants import A_KILL_SHOWS, MUTANTS
from tests.powercut.stores import FSYNCS

SCENARIOS = full_or(6, 36)  # by turns with each `fsync`
IMAGES = full_or(50, 450)  # of each
SEEDS = full_or([1], [1, 2, 3])
MUTANT_IMAGES = 300  # of a scenario, until one is found


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Each image would tell of the orphans it had."""
    log.configure("error")
    yield
    structlog.reset_defaults()


@pytest.fixture
def record(tmp_path: Path, require_program: Callable[[str], str]) -> Callable[..., Recording]:
    def run(seed: int, scenarios: int, mutant: str = "") -> Recording:
        return trace(require_program("strace"), tmp_path, seed, scenarios, mutant)

    return run


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_was_promised_holds_on_whatever_is_left(
    tmp_path: Path, record: Callable[..., Recording], seed: int
) -> None:
    recording = record(seed, SCENARIOS)
    looked_at: Counter[tuple[str, Variant]] = Counter()
    for number, operations in recording.items():
        async for verdict in verdicts(operations, points(operations, IMAGES, seed), seed):
            assert verdict.finding is None, told_of(verdict, tmp_path, seed, number, operations)
            looked_at[FSYNCS[number % len(FSYNCS)], verdict.image.variant] += 1
        tell(f"seed {seed}, scenario {number}: {looked_at.total()} images")
    assert len(looked_at) == len(FSYNCS) * len(Variant)


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_storage_that_is_wrong_is_found_out(record: Callable[..., Recording], mutant: str) -> None:
    """A harness that finds nothing may be blind."""
    variants = [variant for variant in Variant if variant.is_power_cut is (mutant not in A_KILL_SHOWS)]
    looked_at = 0
    for operations in record(3, 4, mutant).values():
        wanted = points(operations, MUTANT_IMAGES, 3, variants)
        async with aclosing(verdicts(operations, wanted, 3)) as all_of_them:
            async for verdict in all_of_them:
                looked_at += 1
                if verdict.finding is not None:
                    tell(f"{mutant}: image {looked_at}, {verdict.finding!r}")
                    return
    raise AssertionError(f"{looked_at} images, and nothing was found")
