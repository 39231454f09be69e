"""Latencies as metrics: the middle and the tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.workload import Metric


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed; nan of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(-int(-len(ordered) * percent // 100) - 1, 0)]


def metrics(name: str) -> tuple[Metric, ...]:
    """Of several rounds the worst tail counts."""
    return (Metric(f"{name} p50", "ms", "less"), Metric(f"{name} p99", "ms", "less", "max"))


def figures(name: str, seconds: Sequence[float]) -> Mapping[str, float]:
    return {f"{name} p{percent}": percentile(seconds, percent) * 1000 for percent in (50, 99)}
