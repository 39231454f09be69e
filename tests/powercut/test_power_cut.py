"""The power is cut, or the process is killed, at any moment: what was promised holds on what is left.

Real system calls of the real stores, SQLite's included, are recorded by strace while clients play; `disk.py`
says what a file system may keep of them. See `promises.py` for what must hold then.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from tests.acceptance.sizes import full_or, tell
from tests.powercut.harness import distinct, look_at, points, report, trace, trace_lives_after
from tests.powercut.images import Variant, cuts, images
from tests.powercut.mutants import SHOWN_BY
from tests.powercut.stores import FSYNCS
from tests.powercut.told import Ledger

SCENARIOS = full_or(6, 12)  # by turns with each `fsync`
IMAGES = full_or(50, 300)  # of each
CRASHES = full_or(2, 3)  # of each, after which another life is played,
IMAGES_AFTER = full_or(10, 60)  # and these of that one looked at
SEEDS = full_or(range(1, 2), range(1, 7))
MUTANT_SEED, MUTANT_SCENARIOS = 3, 4


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Each image would tell of the orphans it had."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture
def strace(require_program: Callable[[str], str]) -> str:
    return require_program("strace")


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_was_promised_holds_on_whatever_is_left(tmp_path: Path, strace: str, seed: int) -> None:
    looked_at: Counter[tuple[str, Variant]] = Counter()
    for number, operations in trace(strace, tmp_path, seed, SCENARIOS).items():
        for one in distinct(images(operations, points(operations, IMAGES, seed), seed)):
            finding = await look_at(one)
            assert finding is None, report(one, finding, operations, tmp_path, seed, number)
            looked_at[FSYNCS[number % len(FSYNCS)], one.variant] += 1
        tell(f"seed {seed}, scenario {number}: {looked_at.total()} images")
    assert len(looked_at) == len(FSYNCS) * len(Variant)


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_was_promised_holds_after_a_second_crash(tmp_path: Path, strace: str, seed: int) -> None:
    """In mid-recovery, or soon after: what a crash has left is opened, and that life crashes as well."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    crashes = [
        crash
        for operations in trace(strace, first, seed, SCENARIOS).values()
        for crash in images(operations, points(operations, CRASHES, seed), seed)
        if Ledger(crash.told).boot_id
    ]
    looked_at = 0
    for number, operations in trace_lives_after(strace, second, seed, crashes).items():
        wanted = points(operations, IMAGES_AFTER, seed)
        for one in distinct(images(operations, wanted, seed, crashes[number])):
            finding = await look_at(one)
            assert finding is None, report(one, finding, operations, second, seed, number)
            looked_at += 1
        tell(f"seed {seed}, crash {number}: {looked_at} images")
    assert looked_at > IMAGES_AFTER


@pytest.mark.parametrize("mutant", SHOWN_BY)
async def test_a_storage_that_is_wrong_is_found_out(tmp_path: Path, strace: str, mutant: str) -> None:
    """A harness that finds nothing may be blind."""
    looked_at = 0
    for operations in trace(strace, tmp_path, MUTANT_SEED, MUTANT_SCENARIOS, mutant).values():
        wanted = [(at, SHOWN_BY[mutant]) for at in cuts(operations)]
        for one in distinct(images(operations, wanted, MUTANT_SEED)):
            looked_at += 1
            if finding := await look_at(one):
                tell(f"{mutant}: image {looked_at}, {finding!r}")
                return
    raise AssertionError(f"{looked_at} images, and nothing was found")
