"""What the project sets itself to reach, as ratios within one run. A bar that is missed is not lowered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from bench.figures import figure, find, ratio_of
from bench.measure import Result, Row
from bench.workload import Metric


class Wants(StrEnum):
    AT_LEAST = "≥"
    AT_MOST = "≤"


AT_LEAST, AT_MOST = Wants.AT_LEAST, Wants.AT_MOST


class Bar(msgspec.Struct, frozen=True):
    """Our row in multiples of a peer's; or, without a peer, our figure itself."""

    workload: str
    metric: str
    ours: str
    peer: str
    wants: Wants
    value: float
    when: Mapping[str, object] = {}  # parameters it speaks of; other runs of the workload are not judged


class Verdict(msgspec.Struct, frozen=True):
    title: str  # of the workload as it was measured
    bar: Bar
    got: float
    unit: str  # of the metric

    @property
    def met(self) -> bool:
        return self.got >= self.bar.value if self.bar.wants is AT_LEAST else self.got <= self.bar.value


BARS: tuple[Bar, ...] = (
    Bar("one", "MB/s", "penstock tus", "tus-node tus", AT_LEAST, 1.3),
    Bar("one", "MB/s", "penstock-synced tus", "tus-node tus", AT_LEAST, 1.1),
    Bar("one", "CPU s/GiB", "penstock tus", "tus-node tus", AT_MOST, 0.45),
    Bar("one", "MB/s", "penstock tus", "floor PUT", AT_LEAST, 0.75),
    Bar("many", "MB/s", "penstock tus", "tus-node tus", AT_LEAST, 1.3, {"uploads": 32}),
    Bar("small", "files/s", "penstock form", "express form", AT_LEAST, 1.0),
    Bar("small", "files/s", "penstock-synced form", "express form", AT_LEAST, 0.5),
    Bar("fanout", "delivered", "penstock", "socketio-node", AT_LEAST, 1.0),
    Bar("fanout", "CPU", "penstock", "socketio-node", AT_MOST, 0.9),
    Bar("fanout", "delivered", "penstock", "socketio-python", AT_LEAST, 5.0),
    Bar("idle", "memory", "penstock offered compression", "", AT_MOST, 40.0),
    Bar(
        "idle",
        "memory",
        "penstock offered compression",
        "socketio-python offered compression",
        AT_MOST,
        1.0,
    ),
    Bar("pause", "stored after the ack", "penstock session", "", AT_MOST, 0.0, {"uploads": 200}),
    Bar("pause", "ack p99", "penstock session", "", AT_MOST, 100.0, {"uploads": 200}),
    Bar("takeover", "take-over p99", "penstock", "", AT_MOST, 250.0),
)


def verdicts(results: Sequence[Result], bars: Sequence[Bar] = BARS) -> Iterator[Verdict]:
    """Of all bars whose rows were measured."""
    for bar in bars:
        for result in results:
            if result.workload == bar.workload and bar.when.items() <= result.parameters.items():
                metric = next(metric for metric in result.metrics if metric.name == bar.metric)
                got = _got(bar, metric, result.rows)
                if got is not None:
                    yield Verdict(result.title, bar, got, metric.unit)


def _got(bar: Bar, metric: Metric, rows: Sequence[Row]) -> float | None:
    ours, peer = find(rows, bar.ours), find(rows, bar.peer)
    if ours is None or (peer is None and bar.peer):
        return None
    if peer is not None:
        return ratio_of(ours, peer, metric.name)
    one = figure(ours, metric)
    return None if one is None else one.value
