"""What a run leaves behind: JSON with every sample, a Markdown page, a chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.bars import Verdict, verdicts
from bench.chart import chart
from bench.figures import Line, Table, plain, table
from bench.machine import Machine
from bench.measure import Result
from bench.workload import Metric

MEMORY_GOES = """
**This machine gives freed memory back to its host.** To use it again costs several times as much, which falls
on whoever happens to: see docs/performance.md before you believe anything here.
"""


class Run(msgspec.Struct, frozen=True):
    """Everything that was found out, as it goes into the JSON file."""

    started_at: str
    rounds: int
    machine: Machine
    versions: Mapping[str, str]  # of the contestants
    results: list[Result]
    absent: dict[str, str]  # contestants and workloads that could not take part, and why


class Written(msgspec.Struct, frozen=True):
    """The JSON file: the samples, and what follows from them."""

    run: Run
    tables: list[Table]
    bars: list[Verdict]


def write(run: Run, directory: Path) -> Path:
    """Write the three files; the Markdown one is returned."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = directory / run.started_at.replace(":", "-")
    tables = [table(result) for result in run.results]
    everything = msgspec.json.encode(Written(run, tables, list(verdicts(run.results))))
    stem.with_suffix(".json").write_bytes(msgspec.json.format(everything, indent=1) + b"\n")
    stem.with_suffix(".svg").write_text(chart(tables), encoding="utf-8")
    page = stem.with_suffix(".md")
    page.write_text(
        f"{markdown(run)}\n![the first column of each table]({stem.name}.svg)\n", encoding="utf-8"
    )
    return page


def markdown(run: Run) -> str:
    """The page, readable as it is on a terminal."""
    parts = [*_where(run), *(_section(table(result)) for result in run.results), *_bars(run.results)]
    return "\n".join(parts)


def _where(run: Run) -> Iterator[str]:
    m = run.machine
    yield (
        f"Run of {run.started_at} ({run.rounds} rounds).\n"
        f"Machine: {m.cores} cores ({m.processor}), {m.memory_bytes / 2**30:.0f} GiB, Linux {m.kernel}, "
        f"{m.file_system}, Python {m.python}, node {m.node or 'absent'}, penstock {m.penstock}; "
        f"load before the run {m.load_average:.2f}.\n" + (MEMORY_GOES if m.gives_memory_back else "")
    )
    yield from (f"- {name}: {version}" for name, version in run.versions.items() if version)
    yield from (f"\n**Not measured: {name}.** {why}" for name, why in run.absent.items())


def _section(one: Table) -> str:
    head = ["", *([one.x_axis] if one.x_axis else []), *_heads(one)]
    cells = [head, *(_cells(line, one) for line in one.lines)]
    failures = [f"\n**Failed: {label}.** {why}" for label, why in one.failures.items()]
    return "\n".join([f"\n## {one.title}\n", *aligned(cells), *failures])


def _heads(one: Table) -> Iterator[str]:
    for number, metric in enumerate(one.metrics):
        yield headed(metric.name, metric.unit)
        if number == 0:
            yield "lowest-highest"
            yield from one.columns


def _cells(line: Line, one: Table) -> list[str]:
    cells = [line.label, *([f"{line.x:,g}"] if line.x is not None else [])]
    for number, metric in enumerate(one.metrics):
        figure = line.figures.get(metric.name)
        cells.append("" if figure is None else with_unit(figure.value, metric))
        if number == 0:
            cells.append("" if figure is None else f"{plain(figure.lowest)}-{plain(figure.highest)}")
            ratios = (line.ratios.get(column) for column in one.columns)
            cells += ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    return cells


def _bars(results: Sequence[Result]) -> Iterator[str]:
    found = list(verdicts(results))
    if found:
        head = ["", "metric", "ours", "against", "wanted", "got", ""]
        yield "\n## Bars\n"
        yield from aligned([head, *map(_verdict, found)])


def _verdict(one: Verdict) -> list[str]:
    bar = one.bar
    unit = " ×" if bar.peer else ""
    wanted, got = f"{bar.wants} {plain(bar.value)}{unit}", f"{plain(one.got)}{unit}"
    return [
        one.title,
        headed(bar.metric, one.unit),
        bar.ours,
        bar.peer,
        wanted,
        got,
        "met" if one.met else "**MISSED**",
    ]


def headed(metric: str, unit: str) -> str:
    """The unit stands in the head, but for %."""
    return f"{metric} ({unit})" if unit not in ("", "%") else metric


def with_unit(value: float, metric: Metric) -> str:
    return f"{value:.0f}%" if metric.unit == "%" else plain(value)


def aligned(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table: names to the left, figures to the right."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    head, *rows = (_padded(row, widths) for row in cells)
    yield head
    yield f"| {' | '.join(['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])])} |"
    yield from rows


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(row, widths, strict=True)
    return f"| {' | '.join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])} |"
