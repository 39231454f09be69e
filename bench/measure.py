"""The run: servers up, one warm-up that checks the stored bytes, then rounds in which everybody takes turns.

Turns matter: on a shared machine the noise of a minute then falls on all alike, and a ratio is taken between
neighbours of the same round.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.contestants import Contestant, Dialect
from bench.load import Outcome, Plan
from bench.place import fresh_directory, put_aside
from bench.processes import Running, StartFailed, running
from bench.workloads import Payload, Workload

LOAD_S = 600.0  # one measurement: who hangs has failed, the others go on
SETTLE_S = 0.05  # no CPU used for this long: what was left to do after the answer is done
SETTLE_MOST_S = 3.0

Say = Callable[[str], None]


class Sample(msgspec.Struct, frozen=True):
    """One measurement of one row. CPU is of the server's process tree and of the load generator."""

    seconds: float
    server_cpu_s: float
    client_cpu_s: float
    peak_bytes: int


class Row(msgspec.Struct):
    """A contestant in a dialect, and what was measured, in the order of the rounds."""

    contestant: str
    dialect: Dialect
    synced: bool
    samples: list[Sample] = []
    failure: str | None = None


class Result(msgspec.Struct):
    """All of one workload."""

    name: str
    title: str
    total_files: int
    total_bytes: int
    rows: list[Row]


class Failed(Exception):
    """A request was refused, or what is stored is not what was sent."""


class _Entry(NamedTuple):
    row: Row
    contestant: Contestant
    server: Running
    directory: Path


def measure(
    workload: Workload, contestants: Sequence[Contestant], rounds: int, directory: Path, say: Say
) -> Result:
    """Measure one workload, every server started anew for it. What is left in `directory` is the caller's."""
    directory.mkdir()
    payload = Payload(workload, directory / "source")
    rows = [Row(one.name, dialect, one.synced) for dialect in workload.dialects for one in contestants]
    rows = [row for row in rows if _takes_part(workload, row)]
    with ExitStack() as stack:
        entries = list(_start(stack, rows, contestants, directory))
        for entry in entries:
            _warm_up(entry, workload, payload, say)
        for number in range(rounds):
            say(f"  round {number + 1} of {rounds}")
            for entry in entries:
                if entry.row.failure is None:
                    _take_turn(entry, payload, say)
    return Result(workload.name, workload.title, workload.total_files, workload.total_bytes, rows)


def _takes_part(workload: Workload, row: Row) -> bool:
    """The floor takes a form whole into memory: right for small files, no measure for big ones."""
    return row.dialect is Dialect.PUT or workload.files > 1 or not row.contestant.startswith("floor")


def _start(
    stack: ExitStack, rows: Sequence[Row], contestants: Sequence[Contestant], directory: Path
) -> Iterator[_Entry]:
    for contestant in contestants:
        mine = [row for row in rows if row.contestant == contestant.name]
        place = fresh_directory(directory, contestant.name)
        try:
            server = stack.enter_context(running(contestant.command(place), place))
        except StartFailed as error:
            for row in mine:
                row.failure = str(error)
        else:
            yield from (_Entry(row, contestant, server, place) for row in mine)


def _warm_up(entry: _Entry, workload: Workload, payload: Payload, say: Say) -> None:
    """Once, not counted: warms the code, and compares the stored bytes with the sent ones."""
    try:
        _load(payload.plan(entry.contestant, entry.row.dialect, entry.server.port))
        compare(payload.digests, Counter(map(_digest, entry.contestant.stored(entry.directory))))
        say(f"  {entry.row.contestant} {entry.row.dialect}: {workload.total_files} stored, bytes identical")
    except Failed as error:
        _leave_out(entry.row, error, say)
    _clear(entry)


def _take_turn(entry: _Entry, payload: Payload, say: Say) -> None:
    try:
        entry.row.samples.append(_sample(entry, payload))
    except Failed as error:
        _leave_out(entry.row, error, say)
        _clear(entry)


def _leave_out(row: Row, error: Failed, say: Say) -> None:
    """No figure of one who failed: it may have been quick because it failed."""
    row.failure = str(error)
    row.samples.clear()
    say(f"  {row.contestant} {row.dialect}: FAILED, left out: {error}")


def _sample(entry: _Entry, payload: Payload) -> Sample:
    plan = payload.plan(entry.contestant, entry.row.dialect, entry.server.port)
    cpu_s = _settled_cpu_s(entry.server)
    entry.server.reset_peak()
    outcome = _load(plan)
    cpu_s = _settled_cpu_s(entry.server) - cpu_s
    sample = Sample(outcome.seconds, cpu_s, outcome.cpu_s, entry.server.peak_bytes())
    _clear(entry)
    return sample


def _load(plan: Plan) -> Outcome:
    """Run the load generator. Raises: Failed."""
    command = [sys.executable, "-P", "-m", "bench.load"]
    asked = msgspec.json.encode(plan)
    try:
        done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, timeout=LOAD_S, check=True)
    except subprocess.TimeoutExpired:
        raise Failed(f"no answer within {LOAD_S:.0f} s") from None
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    if outcome.failures:
        raise Failed("; ".join(outcome.failures[:3]))
    return outcome


def _settled_cpu_s(server: Running) -> float:
    cpu_s, deadline = server.cpu_s(), time.monotonic() + SETTLE_MOST_S
    while time.monotonic() < deadline:
        time.sleep(SETTLE_S)
        before, cpu_s = cpu_s, server.cpu_s()
        if cpu_s == before:
            break
    return cpu_s


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(sent: Counter[str], stored: Counter[str]) -> None:
    """How often each digest was sent, and is stored. Raises: Failed."""
    if stored != sent:
        wrong, missing = (stored - sent).total(), (sent - stored).total()
        raise Failed(f"stored bytes differ: {missing} files are missing, {wrong} are not what was sent")


def _clear(entry: _Entry) -> None:
    for path in list(entry.contestant.stored(entry.directory)):
        put_aside(path, entry.directory.parent)
