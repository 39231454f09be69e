"""From a seed to a verdict: trace the driver, choose images, hold each to what was promised."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.powercut.images import Image, Variant, cuts, write_tree
from tests.powercut.operations import Operation, Write
from tests.powercut.promises import check, next_boot_id
from tests.powercut.recording import record
from tests.powercut.strace import MOST_BYTES, TRACED, calls
from tests.powercut.told import Ledger, Living, encode

ROOT = Path(__file__).parents[2]
DRIVER = (sys.executable, "-m", "tests.powercut.driver")
MEMORY = "/dev/shm"  # images need no disk
AROUND = 12  # operations that are shown with a finding
LOG = "trace.log"
CRASHES = "crashes.pickle"  # our own, and read only by those who look at a finding again

Recording = dict[int, list[Operation]]


def trace(strace: str, directory: Path, seed: int, scenarios: int, mutant: str = "") -> Recording:
    """Play so many scenarios under strace, in `directory`. Its log stays there."""
    return _traced(strace, directory, "play", seed, scenarios, mutant)


def trace_lives_after(strace: str, directory: Path, seed: int, crashes: Sequence[Image]) -> Recording:
    """A life on each of these images, under strace, in `directory`: scenario 0, 1, … in their order."""
    for number, crash in enumerate(crashes):
        scenario, ledger = directory / str(number), Ledger(crash.told)
        scenario.mkdir()
        write_tree(crash.tree, scenario)
        life = Living(boot_id=next_boot_id(crash, ledger), fsync=ledger.fsync)
        (directory / f"{number}.life").write_bytes(encode(life))
    (directory / CRASHES).write_bytes(pickle.dumps(list(crashes)))
    return _traced(strace, directory, "go-on", seed, len(crashes))


def _traced(strace: str, directory: Path, how: str, seed: int, scenarios: int, mutant: str = "") -> Recording:
    log = directory / LOG
    command = (
        *(strace, "-f", "--seccomp-bpf", "-qq", "-xx", "-s", str(MOST_BYTES), "-o", str(log)),
        *("-e", f"trace={','.join(TRACED)}", "-e", "signal=none"),
        *(*DRIVER, how, str(directory), str(seed), str(scenarios), *filter(None, [mutant])),
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read(directory)


def read(directory: Path) -> Recording:
    """The recording that was made in that directory."""
    trees = {number: crash.tree for number, crash in enumerate(crashes_before(directory))}
    with (directory / LOG).open(encoding="ascii") as lines:
        return record(calls(lines), str(directory), trees)


def crashes_before(directory: Path) -> list[Image]:
    """The images on which the recording there began, by scenario; none, if it began with nothing."""
    path = directory / CRASHES
    crashes: list[Image] = pickle.loads(path.read_bytes()) if path.exists() else []
    return crashes


def points(operations: list[Operation], most: int, seed: int) -> list[tuple[int, Variant]]:
    """So many of all cuts in all variants, without favour."""
    everything = [(at, variant) for at in cuts(operations) for variant in Variant]
    return everything if len(everything) <= most else Random(seed).sample(everything, most)


def distinct(found: Iterable[Image]) -> Iterator[Image]:
    """Of those that look the same only the first."""
    seen: set[int] = set()
    for one in found:
        if one.key not in seen:
            seen.add(one.key)
            yield one


async def look_at(one: Image) -> Exception | None:
    """What is wrong with an image, if anything is."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with TemporaryDirectory(dir=memory) as name:
        directory = Path(name)
        write_tree(one.tree, directory)
        try:
            await check(directory, one)
        except Exception as error:
            return error
    return None


def report(one: Image, finding: Exception, operations: list[Operation], *where: object) -> str:
    """What is to be known of a finding. `where`: directory, seed and scenario, to see just it again."""
    before = [operation for operation in operations if operation.start < one.at][-AROUND:]
    after = [operation for operation in operations if operation.start >= one.at][:AROUND]
    again = ["python -m tests.powercut", *where, one.at, one.variant]
    return "\n".join(
        [
            repr(finding),
            *map(_shown, before),
            "---- here ----",
            *map(_shown, after),
            f"again: {' '.join(map(str, again))}",
        ]
    )


def _shown(operation: Operation) -> str:
    what = operation.what
    shown = f"Write({what.inode}, at={what.at}, {len(what.data)} bytes)" if isinstance(what, Write) else what
    return f"{operation.start}-{operation.end} {shown}"
