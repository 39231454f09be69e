"""What the project sets itself to reach, as ratios within one run. A bar that is missed is not lowered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from bench.figures import figure, find, ratio_of
from bench.measure import Result


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """Our row in multiples of a peer's; or, without a peer, our figure itself."""

    workload: str
    metric: str
    ours: str
    peer: str = ""
    wants: Literal["at least", "at most"]
    value: float
    when: Mapping[str, object] = {}  # parameters it speaks of; other runs of the workload are not judged


class Verdict(msgspec.Struct, frozen=True):
    title: str  # of the workload as it was measured
    bar: Bar
    got: float

    @property
    def met(self) -> bool:
        return self.got >= self.bar.value if self.bar.wants == "at least" else self.got <= self.bar.value


BARS: tuple[Bar, ...] = (
    Bar(workload="one", metric="MB/s", ours="penstock tus", peer="tus-node tus", wants="at least", value=1.3),
    Bar(
        workload="one",
        metric="MB/s",
        ours="penstock-synced tus",
        peer="tus-node tus",
        wants="at least",
        value=1.1,
    ),
    Bar(
        workload="one",
        metric="CPU s/GiB",
        ours="penstock tus",
        peer="tus-node tus",
        wants="at most",
        value=0.45,
    ),
    Bar(workload="one", metric="MB/s", ours="penstock tus", peer="floor PUT", wants="at least", value=0.75),
    Bar(
        workload="many",
        metric="MB/s",
        ours="penstock tus",
        peer="tus-node tus",
        wants="at least",
        value=1.3,
        when={"uploads": 32},
    ),
    Bar(
        workload="small",
        metric="files/s",
        ours="penstock form",
        peer="express form",
        wants="at least",
        value=1.0,
    ),
    Bar(
        workload="small",
        metric="files/s",
        ours="penstock-synced form",
        peer="express form",
        wants="at least",
        value=0.5,
    ),
)


def verdicts(results: Sequence[Result], bars: Sequence[Bar] = BARS) -> Iterator[Verdict]:
    """Of all bars whose rows were measured."""
    for bar in bars:
        for result in results:
            if result.workload == bar.workload and bar.when.items() <= result.parameters.items():
                got = _got(bar, result)
                if got is not None:
                    yield Verdict(result.title, bar, got)


def _got(bar: Bar, result: Result) -> float | None:
    ours = find(result.rows, bar.ours)
    if ours is None:
        return None
    if not bar.peer:
        metric = next(metric for metric in result.metrics if metric.name == bar.metric)
        return None if (one := figure(ours, metric)) is None else one.value
    peer = find(result.rows, bar.peer)
    return None if peer is None else ratio_of(ours, peer, bar.metric)
