"""From samples to figures: medians, spreads, ratios between neighbours of the same round."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from statistics import mean, median

import msgspec

from bench.measure import Result, Row, name
from bench.workload import Metric, Ratio

COMBINED: dict[str, Callable[[list[float]], float]] = {"median": median, "max": max, "mean": mean}


class Figure(msgspec.Struct, frozen=True):
    """A metric of all rounds in one value, and how far they lay apart."""

    value: float
    lowest: float
    highest: float


class Line(msgspec.Struct, frozen=True):
    """A row of a table. What could not be measured is not in it."""

    label: str
    contestant: str
    synced: bool
    x: float | None
    figures: dict[str, Figure]  # by metric
    ratios: dict[str, float]  # by column


class Table(msgspec.Struct, frozen=True):
    title: str
    x_axis: str
    metrics: tuple[Metric, ...]
    columns: list[str]  # of ratios
    lines: list[Line]
    failures: dict[str, str]


def table(result: Result) -> Table:
    """All figures of one workload."""
    measured = [row for row in result.rows if row.samples]
    lines = [_line(row, measured, result) for row in measured]
    columns = dict.fromkeys(ratio.column for ratio in result.ratios)
    return Table(
        title=result.title,
        x_axis=result.x_axis,
        metrics=result.metrics,
        columns=[column for column in columns if any(column in line.ratios for line in lines)],
        lines=lines,
        failures={name(row): row.failure for row in result.rows if row.failure is not None},
    )


def find(rows: Iterable[Row], label: str, x: float | None = None) -> Row | None:
    """The row with this label, at the same place on the axis, if it was measured."""
    found = (row for row in rows if row.samples and (row.variant.label, row.variant.x) == (label, x))
    return next(found, None)


def ratio_of(row: Row, other: Row, metric: str) -> float | None:
    """The median of the ratios within each round."""
    pairs = zip(row.samples, other.samples, strict=True)
    ratios = (_quotient(a.get(metric, math.nan), b.get(metric, math.nan)) for a, b in pairs)
    return median(known) if (known := _known(ratios)) else None


def figure(row: Row, metric: Metric) -> Figure | None:
    values = _known(sample.get(metric.name, math.nan) for sample in row.samples)
    return Figure(COMBINED[metric.combine](values), min(values), max(values)) if values else None


def plain(value: float) -> str:
    """Three figures that mean something, or all before the point."""
    size = abs(value)
    return f"{value:,.{0 if size >= 100 or size == 0 else 1 if size >= 10 else 2}f}"


def _line(row: Row, rows: Sequence[Row], result: Result) -> Line:
    figures = {metric.name: figure(row, metric) for metric in result.metrics}
    return Line(
        label=row.variant.label,
        contestant=row.variant.contestant,
        synced=row.synced,
        x=row.variant.x,
        figures={metric: value for metric, value in figures.items() if value is not None},
        ratios=_ratios(row, rows, result.ratios),
    )


def _ratios(row: Row, rows: Sequence[Row], wanted: Sequence[Ratio]) -> dict[str, float]:
    """By column: with the first ratio that is meant for this row."""
    found: dict[str, float] = {}
    decided: set[str] = set()
    for ratio in wanted:
        if ratio.column not in decided and fnmatchcase(row.variant.label, ratio.where):
            decided.add(ratio.column)
            other = find(rows, ratio.against, row.variant.x)
            if other is not None and other is not row:
                value = ratio_of(row, other, ratio.metric)
                found |= {} if value is None else {ratio.column: value}
    return found


def _quotient(value: float, other: float) -> float:
    return value / other if other else math.nan


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]
