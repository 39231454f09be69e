"""Runs tests against a copy of the source that has one bug in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parent.parent.parent
COPIED = ("protocol", "storage", "server", "src", "tests", "pyproject.toml")
LIMIT_S = 120  # for a killer that hangs on its mutant; it then has not said what is wrong


class Outcome(Enum):
    """What a run of pytest says."""

    PASSED = "survived"
    FAILED = "killed"
    BROKEN = "broken"  # no test has failed: an import has, or pytest itself
    HUNG = "hung"


class Run(NamedTuple):
    outcome: Outcome
    output: str


class Copy:
    """A copy of the source and its tests. One mutant at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, path / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy2(source, path / name)

    @contextmanager
    def having(self, mutant: Mutant) -> Iterator[None]:
        """The mutant lives in this copy during the block."""
        file = self._path / mutant.file
        was, times = file.read_text(), file.stat()
        file.write_text(mutant.applied_to(was))
        # Compiled files are found stale by time and size: a time that no other version of the file has.
        os.utime(file, (times.st_atime, times.st_mtime + 1_000 + len(mutant.name)))
        try:
            yield
        finally:
            file.write_text(was)
            os.utime(file, (times.st_atime, times.st_mtime))

    def run(self, tests: Sequence[str]) -> Run:
        """Run tests by their ids, on this copy and nothing else: `at_home` makes sure."""
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "tests.mutants.at_home"]
        # Found before the installed one, and found by every process that a test starts.
        places = os.pathsep.join([str(self._path / "src"), str(self._path)])
        environment = {**os.environ, "PYTHONPATH": places, "CI": "true", "CUT_SEED": "1"}
        environment.pop("ACCEPTANCE_SIZE", None)
        options = ["-p", "no:cacheprovider", "--tb=short", "--show-capture=no"]
        try:
            done = subprocess.run(
                [*command, *options, *tests],
                cwd=self._path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired as error:
            return Run(Outcome.HUNG, str(error.stdout))
        codes = {0: Outcome.PASSED, 1: Outcome.FAILED}
        return Run(codes.get(done.returncode, Outcome.BROKEN), done.stdout + done.stderr)
