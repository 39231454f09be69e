"""Figures from samples that were made up: what is compared with what."""

from __future__ import annotations

import pytest

from bench.chart import chart
from bench.contestants import Dialect
from bench.figures import Table, table
from bench.measure import Result, Row, Sample

GIB = 2**30


def row(name: str, dialect: Dialect, *seconds: float, synced: bool = False) -> Row:
    return Row(name, dialect, synced, [Sample(s, 0.5, s / 10, 64 * 2**20) for s in seconds])


def put(name: str, *seconds: float, synced: bool = False) -> Row:
    return row(name, Dialect.PUT, *seconds, synced=synced)


def one(*rows: Row) -> Table:
    return table(Result("one", "One", 1, GIB, [*rows]))


def test_the_rate_is_the_median_with_its_spread() -> None:
    (figures,) = one(put("penstock", 1.0, 4.0, 2.0)).rows
    assert figures.rate == pytest.approx(GIB / 2.0 / 1e6)
    assert figures.rate_lowest == pytest.approx(GIB / 4.0 / 1e6)
    assert figures.rate_highest == pytest.approx(GIB / 1.0 / 1e6)
    assert (figures.server_cpu, figures.client_share, figures.peak_mib) == pytest.approx((0.5, 0.1, 64))


def test_a_ratio_is_taken_between_neighbours_of_a_round() -> None:
    # The second round was ten times slower for all: it must not show.
    ours, theirs = one(put("penstock", 1.0, 10.0, 1.0), put("express", 2.0, 20.0, 2.0)).rows
    assert ours.times_express == 2.0
    assert theirs.times_express is None


def test_the_floor_compared_with_makes_the_same_promise() -> None:
    figures = one(
        put("floor", 1.0),
        put("penstock", 2.0),
        put("floor-synced", 4.0, synced=True),
        put("penstock-synced", 5.0, synced=True),
        row("penstock", Dialect.FORM, 4.0),
    ).rows
    assert [one.times_floor for one in figures] == [None, 0.5, None, 0.8, 0.25]


def test_express_is_compared_with_in_the_same_dialect() -> None:
    form, raw = Dialect.FORM, Dialect.PUT
    figures = one(row("penstock", form, 1.0), row("express", raw, 9.0), row("express", form, 3.0)).rows
    assert [one.times_express for one in figures] == [3.0, None, None]


def test_small_files_are_counted_in_files() -> None:
    result = Result("small", "Small", 2000, 2000 * 4096, [row("penstock", Dialect.FORM, 2.0)])
    small = table(result)
    assert (small.rate_unit, small.rows[0].rate) == ("files/s", 1000)
    assert small.rows[0].server_cpu == pytest.approx(0.25)  # s per 1000 files


def test_who_failed_is_told_apart_from_who_was_measured() -> None:
    failed = Row("penstock", Dialect.PUT, False, failure="404 <nothing>")
    figures = one(put("floor", 1.0), failed)
    assert [row.label for row in figures.rows] == ["floor PUT"]
    assert figures.failures == {"penstock PUT": "404 <nothing>"}
    assert "floor PUT" in chart([figures])
