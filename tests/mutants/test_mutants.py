"""The table of seeded bugs fits the source; a few in each run, all at full size, are really found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.acceptance.sizes import full_or, tell
from tests.mutants.killing import ROOT, Copy, Outcome
from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS
from tests.server.uploads.cutting import SEED


def by_name(mutant: Mutant) -> str:
    return mutant.name


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 24


@pytest.mark.parametrize("mutant", MUTANTS, ids=by_name)
def test_it_fits_the_source(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text()
    mutated = mutant.applied_to(source)
    assert mutated != source
    compile(mutated, mutant.file, "exec")


def test_every_killer_is_there() -> None:
    killers = sorted({mutant.killer for mutant in MUTANTS})
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "--collect-only",
        "-p",
        "no:cacheprovider",
        *killers,
    ]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("mutants"))


def chosen() -> list[Mutant]:
    return full_or(Random(SEED).sample(MUTANTS, 3), list(MUTANTS))


def test_they_are_killed(copy: Copy) -> None:
    mutants = chosen()
    sound = copy.run([mutant.killer for mutant in mutants])
    assert sound.outcome is Outcome.PASSED, sound.output
    for mutant in mutants:
        with copy.having(mutant):
            run = copy.run([mutant.killer])
        tell(f"{mutant.name}: {run.outcome.value}")
        assert run.outcome is Outcome.FAILED, f"{mutant.name} {run.outcome.value}\n{run.output}"


def test_a_copy_is_what_is_tested(copy: Copy, tmp_path: Path) -> None:
    """A bug that every import meets is met; and a test that cannot be collected has killed nobody."""
    bug = Mutant("no-import", "", "storage/errors.py", "class StoreError(", "class StoreErr(", "")
    with copy.having(bug):
        assert copy.run(["tests/protocol/test_times.py"]).outcome is Outcome.BROKEN
