"""Fan-out: one session, many watchers, a burst of events."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from bench.contestants import Contestant
from bench.live.stage import stage_of
from bench.live.watching import crowd
from bench.workload import Entry, Metric, Ratio, Variant, Workload

CONTESTANTS = ("frame-writer", "penstock", "socketio-node", "socketio-python")
LINGER_S = 0.3


class Fanout(Workload, frozen=True, kw_only=True):
    """From the first command until the last watcher has read the last event.

    Ours commits each event: it is a pause or a resume, sent over HTTP one after the other. The others emit
    an event of the same size in a loop."""

    name: ClassVar[str] = "fanout"
    watchers: int = 1000
    events: int = 20

    @property
    def title(self) -> str:
        return f"{self.events} events to {self.watchers:,} watchers of one session"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("delivered", "events/s", "more"),
            Metric("CPU", "µs/event", "less", "mean"),
            Metric("event size", "bytes"),
            Metric("client busy", "%"),
        )

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return tuple(
            Ratio(metric, peer)
            for metric in ("delivered", "CPU")
            for peer in ("frame-writer", "socketio-node", "socketio-python")
        )

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        return [Variant(one.name) for one in contestants if one.name in CONTESTANTS]

    def warm_up(self, entry: Entry) -> None:
        self._burst(entry, LINGER_S)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        return self._burst(entry, 0.0)

    def _burst(self, entry: Entry, linger_s: float) -> Mapping[str, float]:
        """Each watcher must get exactly the events; with `linger_s` late ones too many are noticed."""
        stage = stage_of(entry)
        session = stage.session()
        with crowd() as watchers:
            watchers.open(stage, [session] * self.watchers)
            cpu_s = entry.server.settled_cpu_s()
            watchers.begin_count(self.events, linger_s=linger_s)
            started_at = time.monotonic()
            stage.emit(session, self.events)
            counted = watchers.counted()
            cpu_s = entry.server.settled_cpu_s() - cpu_s
        entry.server.settled_cpu_s()  # leaving is not to be in anybody else's time
        seconds = counted.last_at - started_at
        return {
            "delivered": counted.events / seconds,
            "CPU": cpu_s / counted.events * 1e6,
            "event size": counted.bytes / counted.events,
            "client busy": counted.cpu_s / seconds * 100,
        }
