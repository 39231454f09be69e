"""From samples to figures: medians, spreads, ratios between neighbours of the same round."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean, median

import msgspec

from bench.contestants import Dialect
from bench.measure import Result, Row

MB = 1_000_000
GIB = 2**30
MIB = 2**20


class Figures(msgspec.Struct, frozen=True):
    """One row of a table. `rate` is MB/s or files/s, a median."""

    label: str
    synced: bool
    rate: float
    rate_lowest: float
    rate_highest: float
    times_floor: float | None
    times_express: float | None
    server_cpu: float  # s/GiB, or ms per 1000 files
    client_share: float  # of the load generator's time on a core; near 1 it would be the bottleneck
    peak_mib: float


class Table(msgspec.Struct, frozen=True):
    title: str
    rate_unit: str
    cpu_unit: str
    rows: list[Figures]
    failures: dict[str, str]


def table(result: Result) -> Table:
    """All figures of one workload."""
    counts_files = result.total_files > 1 and all(row.dialect is Dialect.FORM for row in result.rows)
    units = ("files/s", "CPU s/1000 files") if counts_files else ("MB/s", "CPU s/GiB")
    amount, cpu_amount = (
        (result.total_files, result.total_files / 1000)
        if counts_files
        else (result.total_bytes / MB, result.total_bytes / GIB)
    )
    measured = [row for row in result.rows if row.samples]
    rows = [_figures(row, measured, amount, cpu_amount) for row in measured]
    failures = {_label(row): row.failure for row in result.rows if row.failure is not None}
    return Table(result.title, *units, rows, failures)


def _figures(row: Row, rows: list[Row], amount: float, cpu_amount: float) -> Figures:
    rates = [amount / sample.seconds for sample in row.samples]
    return Figures(
        label=_label(row),
        synced=row.synced,
        rate=median(rates),
        rate_lowest=min(rates),
        rate_highest=max(rates),
        # The floor is what the machine can do with the same promise; it takes big files by PUT only.
        times_floor=_ratio(row, rows, lambda other: _is_floor(other) and other.synced == row.synced),
        times_express=_ratio(
            row, rows, lambda other: other.contestant == "express" and other.dialect is row.dialect
        ),
        server_cpu=mean(sample.server_cpu_s for sample in row.samples) / cpu_amount,
        client_share=median(sample.client_cpu_s / sample.seconds for sample in row.samples),
        peak_mib=max(sample.peak_bytes for sample in row.samples) / MIB,
    )


def _ratio(row: Row, rows: list[Row], against: Callable[[Row], bool]) -> float | None:
    other = next(filter(against, rows), None)
    if other is None or other is row:
        return None
    return median(b.seconds / a.seconds for a, b in zip(row.samples, other.samples, strict=True))


def _is_floor(row: Row) -> bool:
    return row.contestant.startswith("floor")


def _label(row: Row) -> str:
    return f"{row.contestant} {row.dialect}"
