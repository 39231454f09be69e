"""Fan-out as it is in daily life: many sessions, few watchers each, progress twice a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

from bench.contestants import Contestant
from bench.live.latency import percentile
from bench.live.limits import allow_many_files
from bench.live.messages import Recorded
from bench.live.sending import sending
from bench.live.stage import PeerStage, PenstockStage, Stage, stage_of
from bench.live.watching import crowd
from bench.processes import Running
from bench.sizes import KIB
from bench.uploads.base import Count
from bench.workload import Entry, Failed, Metric, Ratio, Variant, Workload

CONTESTANTS = ("penstock", "socketio-node", "socketio-python")
EVERY_S = 0.52  # ours tells no more often than every 0.5 s, and only when a chunk has come after that
CHUNK_BYTES = KIB
CHUNKS = 180  # more than 0.5 % each, so that two of them are worth telling; 46 s
QUIET_S = 1.0  # between coming and being counted
LEAST = 0.8  # of the events that are due


class Measured(NamedTuple):
    """`cpu_s`: of the server while watched; `unwatched_s`: as long before, with the same uploads."""

    told: Recorded
    cpu_s: float
    unwatched_s: float


class FanoutMany(Workload, frozen=True, kw_only=True):
    """many files with two watchers each, which are told twice a second

    Ours: as many uploads of small chunks, a session each; what they cost without watchers is measured
    right before and taken off `CPU`. The peers emit by a timer for each room. `late p99`: of the time between
    two events of a watcher, what is above the pace.
    """

    name: ClassVar = "fanout-many"

    files: Count = 500  # ours takes 512 uploads at once
    watchers: Count = 2
    seconds: Count = 5

    @property
    def title(self) -> str:
        return f"{self.files} files with {self.watchers} watchers each, told every {EVERY_S} s"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("CPU", "µs/event", "less", "mean"),
            Metric("late p99", "ms", "less", "max"),
            Metric("with uploads", "µs/event", "", "mean"),
            Metric("delivered", "events/s"),
            Metric("client busy", "%"),
        )

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return (Ratio("CPU", "socketio-node"), Ratio("CPU", "socketio-python"))

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        return [Variant(one.name) for one in contestants if one.name in CONTESTANTS]

    def warm_up(self, entry: Entry) -> None:
        self.sample(entry)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        allow_many_files()
        with stage_of(entry) as stage:
            if isinstance(stage, PenstockStage):
                measured = self._uploads(entry.server, stage)
            else:
                assert isinstance(stage, PeerStage)
                measured = self._emitted(entry.server, stage)
        entry.server.settled_cpu_s()  # they leave: not in anybody else's time
        return self._figures(measured)

    def _uploads(self, server: Running, stage: PenstockStage) -> Measured:
        with _uploads(server, stage, self.files) as sessions:
            unwatched_s = _cpu_s(server, lambda: time.sleep(self.seconds))
            told, cpu_s = self._watched(server, stage, sessions, lambda: None)
        return Measured(told, cpu_s, unwatched_s)

    def _emitted(self, server: Running, stage: PeerStage) -> Measured:
        sessions = [stage.session() for _ in range(self.files)]
        count = int((self.seconds + QUIET_S) / EVERY_S) + 2  # on beyond the end, as uploads do
        told, cpu_s = self._watched(server, stage, sessions, lambda: stage.emit_to(sessions, count, EVERY_S))
        return Measured(told, cpu_s, 0.0)

    def _watched(
        self, server: Running, stage: Stage, sessions: Sequence[str], begin: Callable[[], None]
    ) -> tuple[Recorded, float]:
        """What watchers get, and what it costs the server."""
        with crowd() as watchers:
            watchers.open(stage, [session for session in sessions for _ in range(self.watchers)])
            begin()
            time.sleep(QUIET_S)
            watchers.begin_record(self.seconds)
            cpu_s = server.cpu_s()
            told = watchers.recorded()
            return told, server.cpu_s() - cpu_s

    def _figures(self, measured: Measured) -> Mapping[str, float]:
        told = measured.told
        least = self.files * self.watchers * int(LEAST * self.seconds / EVERY_S)
        if told.events < least:
            raise Failed(f"{told.events} events came, {least} at least were due")
        return {
            "CPU": (measured.cpu_s - measured.unwatched_s) / told.events * 1e6,
            "late p99": (percentile(told.gaps_s, 99) - EVERY_S) * 1000,
            "with uploads": measured.cpu_s / told.events * 1e6,
            "delivered": told.events / self.seconds,
            "client busy": told.cpu_s / self.seconds * 100,
        }


@contextmanager
def _uploads(server: Running, stage: PenstockStage, count: int) -> Iterator[list[str]]:
    """Running uploads, a session each, two chunks for every event."""
    made = [stage.uploads(1, CHUNKS * CHUNK_BYTES) for _ in range(count)]
    sessions, targets = [session for session, _ in made], [target for _, (target,) in made]
    try:
        with sending(
            server, targets, CHUNKS * CHUNK_BYTES, chunk_bytes=CHUNK_BYTES, every_s=EVERY_S / 2
        ) as running:
            running.go_on()
            time.sleep(QUIET_S)
            yield sessions
    finally:
        for session in sessions:
            stage.cancel(session)


def _cpu_s(server: Running, wait: Callable[[], None]) -> float:
    before = server.cpu_s()
    wait()
    return server.cpu_s() - before
