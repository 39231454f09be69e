"""One measurement of uploads or downloads: the load, its cost, and the stored bytes put aside."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from bench.load import Outcome, Plan
from bench.place import put_aside
from bench.sizes import GIB, MB, MIB
from bench.uploads.payload import digest_of
from bench.workload import Entry, Failed, Metric

LOAD_S = 600.0  # who takes longer has failed, the others go on

BYTES_RATE = Metric("MB/s", better="more")
FILES_RATE = Metric("files/s", better="more")
BYTES_CPU = Metric("CPU s/GiB", better="less", combine="mean")
FILES_CPU = Metric("CPU s/1000 files", better="less", combine="mean")
PEAK = Metric("peak MiB", better="less", combine="max")
BUSY = Metric("client busy", "%")


class Amount(msgspec.Struct, frozen=True):
    """What was moved, and in which metrics that is counted."""

    rate: Metric
    cpu: Metric
    of_rate: float
    of_cpu: float

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (self.rate, self.cpu, PEAK, BUSY)


def amount_of_bytes(total_bytes: int) -> Amount:
    return Amount(BYTES_RATE, BYTES_CPU, total_bytes / MB, total_bytes / GIB)


def amount_of_files(total_files: int) -> Amount:
    return Amount(FILES_RATE, FILES_CPU, total_files, total_files / 1000)


def weigh(entry: Entry, amount: Amount, load: Callable[[], Outcome]) -> Mapping[str, float]:
    """The metrics of one load. Raises: Failed."""
    cpu_s = entry.server.settled_cpu_s()
    entry.server.reset_peak()
    outcome = load()
    cpu_s = entry.server.settled_cpu_s() - cpu_s
    return {
        amount.rate.name: amount.of_rate / outcome.seconds,
        amount.cpu.name: cpu_s / amount.of_cpu,
        PEAK.name: entry.server.peak_bytes() / MIB,
        BUSY.name: 100 * outcome.cpu_s / outcome.seconds,
    }


def send(plan: Plan) -> Outcome:
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


def check_stored(entry: Entry, sent: Counter[str]) -> None:
    """Every stored byte of a server that is ours to look into. Raises: Failed."""
    if entry.server.pid is not None:
        compare(sent, Counter(map(digest_of, entry.contestant.stored(entry.directory))))


def compare(sent: Counter[str], stored: Counter[str]) -> None:
    """How often each digest was sent, and is stored. Raises: Failed."""
    if stored != sent:
        wrong, missing = (stored - sent).total(), (sent - stored).total()
        raise Failed(f"stored bytes differ: {missing} files are missing, {wrong} are not what was sent")


def clear(entry: Entry) -> None:
    """Put aside what was stored, so that nobody's bytes are written back in another's time."""
    for path in list(entry.contestant.stored(entry.directory)):
        put_aside(path, entry.directory.parent)
