"""Figures, charts and verdicts from samples that were made up: what is compared with what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.etree import ElementTree

import pytest

from bench.bars import AT_LEAST, AT_MOST, Bar, verdicts
from bench.chart import chart
from bench.figures import Line, plain, table
from bench.measure import Result, Row
from bench.workload import Metric, Ratio, Variant

RATE, CPU = Metric("MB/s", better="more"), Metric("CPU", "s", "less", "mean")
PEAK = Metric("peak", "MiB", "less", "max")


def row(contestant: str, how: str, *rates: float, x: float | None = None, synced: bool = False) -> Row:
    samples: list[Mapping[str, float]] = [
        {"MB/s": rate, "CPU": number + 1.0, "peak": rate} for number, rate in enumerate(rates)
    ]
    return Row(Variant(contestant, how, x), synced, samples)


def result(*rows: Row, ratios: tuple[Ratio, ...] = (), x_axis: str = "", **parameters: object) -> Result:
    return Result("one", "One", parameters, x_axis, (RATE, CPU, PEAK), ratios, [*rows])


def lines(*rows: Row, ratios: tuple[Ratio, ...] = ()) -> list[Line]:
    return table(result(*rows, ratios=ratios)).lines


def test_a_metric_is_combined_as_it_says_and_keeps_its_spread() -> None:
    (line,) = lines(row("penstock", "PUT", 10.0, 40.0, 20.0, 20.0))
    rate, cpu, peak = (line.figures[name] for name in ("MB/s", "CPU", "peak"))
    assert (rate.value, rate.lowest, rate.highest) == (20.0, 10.0, 40.0)
    assert (cpu.value, peak.value) == (2.5, 40.0)


def test_what_could_not_be_measured_has_no_figure_and_no_ratio() -> None:
    mine = Row(Variant("mine", "tus"), False, [{"MB/s": 3.0, "CPU": math.nan}])
    ratios = (Ratio("CPU", "penstock tus"), Ratio("MB/s", "penstock tus"))
    line, _ = lines(mine, row("penstock", "tus", 2.0), ratios=ratios)
    assert set(line.figures) == {"MB/s"}
    assert line.ratios == {"MB/s × penstock tus": 1.5}


def test_a_ratio_is_taken_between_neighbours_of_a_round() -> None:
    # The second round was ten times slower for all: it must not show.
    rows = row("penstock", "PUT", 20.0, 2.0, 20.0), row("express", "PUT", 10.0, 1.0, 10.0)
    ours, theirs = lines(*rows, ratios=(Ratio("MB/s", "express PUT"),))
    assert ours.ratios == {"MB/s × express PUT": 2.0}
    assert theirs.ratios == {}


def test_a_row_is_compared_by_the_first_ratio_of_a_column_that_fits_it() -> None:
    rows = (
        row("floor", "PUT", 10.0),
        row("penstock", "PUT", 5.0),
        row("floor-synced", "PUT", 4.0),
        row("penstock-synced", "PUT", 3.0),
    )
    ratios = (
        Ratio("MB/s", "floor-synced PUT", "× floor", where="*-synced *"),
        Ratio("MB/s", "floor PUT", "× floor"),
    )
    found = table(result(*rows, ratios=ratios))
    assert [line.ratios.get("× floor") for line in found.lines] == [None, 0.5, None, 0.75]
    assert found.columns == ["× floor"]


def test_a_column_nobody_has_a_ratio_in_is_left_out() -> None:
    assert table(result(row("penstock", "PUT", 1.0), ratios=(Ratio("MB/s", "express PUT"),))).columns == []


def test_rows_that_grow_are_compared_at_the_same_place() -> None:
    rows = [row(name, "", rate * x, x=x) for x in (1, 2) for name, rate in (("penstock", 3), ("peer", 2))]
    found = table(result(*rows, ratios=(Ratio("MB/s", "peer"),), x_axis="uploads"))
    assert [line.ratios.get("MB/s × peer") for line in found.lines] == [1.5, None, 1.5, None]


def test_who_failed_is_told_apart_from_who_was_measured() -> None:
    failed = Row(Variant("penstock", "PUT"), failure="404 <nothing>")
    found = table(result(row("floor", "PUT", 1.0), failed))
    assert [line.label for line in found.lines] == ["floor PUT"]
    assert found.failures == {"penstock PUT": "404 <nothing>"}


def test_a_chart_has_a_bar_for_each_row_and_a_line_for_each_that_grows() -> None:
    bars = table(result(row("penstock", "PUT", 1.0), row("express", "<PUT>", 2.0)))
    growing = table(result(*(row("penstock", "", 3.0 * x, x=x) for x in (1, 2, 4)), x_axis="uploads"))
    picture = ElementTree.fromstring(chart([bars, growing]))
    kinds = [element.tag.rpartition("}")[2] for element in picture.iter()]
    assert (kinds.count("rect"), kinds.count("polyline")) == (2, 1)
    (line,) = (element for element in picture.iter() if element.tag.endswith("polyline"))
    assert len(line.attrib["points"].split()) == 3


def test_a_chart_of_nothing_is_one() -> None:
    assert ElementTree.fromstring(chart([table(result()), table(result(x_axis="uploads"))])) is not None


@pytest.mark.parametrize(
    ("bar", "got", "met"),
    [
        (Bar("one", "MB/s", "penstock tus", "peer tus", AT_LEAST, 2.0), 2.0, True),
        (Bar("one", "MB/s", "penstock tus", "peer tus", AT_LEAST, 2.1), 2.0, False),
        (Bar("one", "MB/s", "penstock tus", "peer tus", AT_MOST, 1.9), 2.0, False),
        (Bar("one", "peak", "penstock tus", "", AT_MOST, 40.0), 40.0, True),
        (Bar("one", "MB/s", "penstock tus", "peer tus", AT_LEAST, 2.0, {"uploads": 32}), 2.0, True),
    ],
)
def test_a_bar_is_met_or_missed(bar: Bar, got: float, met: bool) -> None:
    rows = row("penstock", "tus", 20.0, 40.0, 20.0), row("peer", "tus", 10.0, 20.0, 10.0)
    (verdict,) = verdicts([result(*rows, uploads=32)], [bar])
    assert (verdict.got, verdict.met) == (got, met)


def test_a_bar_of_other_parameters_or_of_rows_that_are_missing_is_not_judged() -> None:
    ours = row("penstock", "tus", 1.0)
    for bar in (
        Bar("one", "MB/s", "penstock tus", "peer tus", AT_LEAST, 1.0),
        Bar("one", "MB/s", "peer tus", "penstock tus", AT_LEAST, 1.0),
        Bar("one", "MB/s", "penstock tus", "", AT_LEAST, 1.0, {"uploads": 8}),
        Bar("many", "MB/s", "penstock tus", "", AT_LEAST, 1.0),
    ):
        assert not list(verdicts([result(ours, uploads=32)], [bar]))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.456, "0.46"), (10.26, "10.3"), (99.5, "99.5"), (12345.6, "12,346")]
)
def test_a_number_has_three_figures_that_mean_something(value: float, text: str) -> None:
    assert plain(value) == text
