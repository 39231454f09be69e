"""The real SQLite on a disk that fails: each system call by which it changes or syncs its files, in turn.

The process that commits is traced; what it said and what the kernel was asked stand in one log.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.storage.state.database import Database
from tests.acceptance.sizes import full_or, tell
from tests.running import PATIENCE_S
from tests.storage.faulty_database import COMMITS, PAYLOAD_BYTES

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.storage.faulty_database")
CALLS = "trace=fdatasync,pwrite64,ftruncate,write"
MOST_RUNS = full_or(2, 200)  # of thousands of writes: evenly spread
PARTS = full_or(1, 10)  # so that none is taken for hanging

# Directory entries are not in this: SQLite does not look at what syncing them gives.
LOG_CALL = re.compile(r"(fdatasync|pwrite64|ftruncate)\(\d+<[^>]*/(state\.db\S*?)>.*?= (-?\d+)")
SAID = re.compile(r'write\(1<[^>]*>, "(\d+) (hard|soft) (\w+)')


def traced(strace: str, path: Path, *faults: str) -> list[str]:
    """Commit on a disk with these faults: the log of it."""
    path.mkdir()
    log = path / "log"
    options = ("-f", "-y", "-qq", "-s", "40", "--seccomp-bpf", "-o", str(log), "-e", CALLS)
    command = [strace, *options, *faults, *PROGRAM, str(path / "state.db")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines()


def check_promises(log: list[str]) -> set[int]:
    """Nothing is called done hard behind a gap: bytes of SQLite's log that a failed sync may have lost.

    Returns what was acknowledged.
    """
    unsynced = gap = False
    done = set()
    for line in log:
        if call := LOG_CALL.search(line):
            name, file, result = call.groups()
            if file == "state.db-wal":
                gap = gap or (name == "fdatasync" and result != "0" and unsynced)
                unsynced = name == "pwrite64" or (name != "fdatasync" and unsynced)
        elif said := SAID.search(line):
            seq, kind, how = said.groups()
            if how == "done":
                assert not (gap and kind == "hard"), f"commit {seq} lies behind a failed sync"
                done.add(int(seq))
    return done


def check_kept(path: Path, done: set[int], log: list[str]) -> None:
    """Each commit that was acknowledged is there, whole; of the others each is whole or not there. The first
    that failed may be there: it was in the log when its sync failed."""
    database = Database(path, "boot-1")
    kept = {seq for (seq,) in database.select("SELECT seq FROM facts WHERE session_id = 's2'")}
    whole = database.select(
        "SELECT seq FROM facts WHERE session_id = 's1' AND length(payload) = ?", [PAYLOAD_BYTES]
    )
    assert {seq for (seq,) in whole} == kept
    assert database.select("PRAGMA integrity_check") == [("ok",)]
    database.close()
    failed = [int(said[1]) for line in log if (said := SAID.search(line)) and said[3] != "done"]
    assert done <= kept <= done | set(failed[:1])


def check_fault(strace: str, path: Path, fault: str) -> None:
    log = traced(strace, path, "-e", f"inject={fault}")
    assert any("INJECTED" in line for line in log)
    check_kept(path / "state.db", check_promises(log), log)


@pytest.fixture(scope="module")
def strace(require_program: Callable[[str], str]) -> str:
    return require_program("strace")


@pytest.fixture(scope="module")
def well(strace: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The log of a process whose disk is well."""
    log = traced(strace, tmp_path_factory.mktemp("database") / "well")
    assert check_promises(log) == set(range(1, COMMITS + 1))
    return log


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(
    ("name", "error", "times"),
    [
        ("fdatasync", "EIO", "once"),
        ("pwrite64", "EIO", "once"),
        ("pwrite64", "ENOSPC", "from then on"),
        ("ftruncate", "EROFS", "once"),
    ],
)
def test_a_database_on_a_disk_that_fails(
    tmp_path: Path, strace: str, well: list[str], name: str, error: str, times: str, part: int
) -> None:
    calls = sum(1 for line in well if f" {name}(" in line)
    step = max(1, calls // MOST_RUNS)
    for nth in range(step * (part + 1), calls + 1, step * PARTS):
        when = f"{nth}+" if times == "from then on" else f"{nth}"
        check_fault(strace, tmp_path / str(nth), f"{name}:error={error}:when={when}")
        tell(f"{name} {nth} of {calls}: {error} {times}")


def test_the_sync_before_the_log_is_copied(tmp_path: Path, strace: str, well: list[str]) -> None:
    """SQLite tells nobody when that one fails: it must not be the first after anything was written."""
    acknowledged = next(number for number, line in enumerate(well) if SAID.search(line))
    copied = next(
        number
        for number, line in enumerate(well)
        if number > acknowledged
        and (call := LOG_CALL.search(line))
        and call.group(1, 2) == ("pwrite64", "state.db")
    )
    nth = sum(1 for line in well[:copied] if " fdatasync(" in line)
    check_fault(strace, tmp_path / "faulty", f"fdatasync:error=EIO:when={nth}")
