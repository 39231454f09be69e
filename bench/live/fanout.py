"""Fan-out: a burst of events to the many watchers of one session."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from bench.contestants import Contestant
from bench.live.limits import allow_many_files
from bench.live.stage import stage_of
from bench.live.watching import crowd
from bench.uploads.base import Count
from bench.workload import Entry, Metric, Ratio, Variant, Workload

CONTESTANTS = ("frame-writer", "penstock", "socketio-node", "socketio-python")
LINGER_S = 0.3
METRICS = (
    Metric("delivered", "events/s", "more"),
    Metric("CPU", "µs/event", "less", "mean"),
    Metric("event size", "bytes"),
    Metric("client busy", "%"),
)


class Fanout(Workload, frozen=True, kw_only=True):
    """events to all the watchers of one session

    From the first command until the last watcher has read the last event. Ours commits each event: it is a
    pause or a resume, sent over HTTP one after the other. The peers emit an event of that size in a loop.
    """

    name: ClassVar = "fanout"

    watchers: Count = 1000
    events: Count = 20

    @property
    def title(self) -> str:
        return f"{self.events} events to {self.watchers:,} watchers of one session"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return METRICS

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return (
            Ratio("delivered", "frame-writer", "× frame-writer"),
            Ratio("delivered", "socketio-node", "× socketio-node"),
            Ratio("delivered", "socketio-python", "× socketio-python"),
            Ratio("CPU", "socketio-node"),
        )

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        return [Variant(one.name) for one in contestants if one.name in CONTESTANTS]

    def warm_up(self, entry: Entry) -> None:
        burst(entry, self.watchers, self.events, LINGER_S)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        return burst(entry, self.watchers, self.events)


class GrowthWatchers(Workload, frozen=True, kw_only=True):
    """CPU per delivered event against the number of watchers: the fan-out above"""

    name: ClassVar = "growth-watchers"
    x_axis: ClassVar = "watchers"
    full: ClassVar = ({"watchers": (1, 3, 10, 30, 100, 300, 1000, 3000)},)

    watchers: tuple[Count, ...] = (1, 10, 100, 1000)
    deliveries: Count = 20_000  # a sample each: CPU is told in steps of 10 ms
    most_events: Count = 400

    @property
    def title(self) -> str:
        return "CPU for an event and watcher, against the number of watchers"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (METRICS[1], METRICS[0], METRICS[3])

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        chosen = [one.name for one in contestants if one.name in CONTESTANTS]
        return [Variant(name, x=count) for count in self.watchers for name in chosen]

    def warm_up(self, entry: Entry) -> None:
        burst(entry, _count(entry.variant), 2, LINGER_S)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        watchers = _count(entry.variant)
        events = min(max(self.deliveries // watchers, 2), self.most_events) // 2 * 2
        measured = burst(entry, watchers, events)
        return {metric.name: measured[metric.name] for metric in self.metrics}


def _count(variant: Variant) -> int:
    assert variant.x is not None
    return int(variant.x)


def burst(entry: Entry, watchers: int, events: int, linger_s: float = 0.0) -> Mapping[str, float]:
    """Each watcher must get exactly the events; with `linger_s`, later ones too many are noticed.

    Raises: Failed.
    """
    allow_many_files()
    server = entry.server
    with stage_of(entry) as stage, crowd() as waiting:
        session = stage.session()
        waiting.open(stage, [session] * watchers)
        cpu_s = server.settled_cpu_s()
        waiting.begin_count(events, linger_s=linger_s)
        started_at = time.monotonic()
        stage.emit(session, events)
        counted = waiting.counted()
        cpu_s = server.settled_cpu_s() - cpu_s
    server.settled_cpu_s()  # they leave: not in anybody else's time
    seconds = counted.last_at - started_at
    return {
        "delivered": counted.events / seconds,
        "CPU": cpu_s / counted.events * 1e6,
        "event size": counted.bytes / counted.events,
        "client busy": counted.cpu_s / seconds * 100,
    }
