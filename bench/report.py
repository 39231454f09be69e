"""What a run leaves behind: JSON with every sample, a Markdown page, a chart."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.chart import chart
from bench.figures import Figures, Table, table
from bench.machine import Machine
from bench.measure import Result


class Run(msgspec.Struct, frozen=True):
    """Everything that was found out, as it goes into the JSON file."""

    started_at: str
    rounds: int
    machine: Machine
    results: list[Result]
    absent: dict[str, str]  # contestants that could not take part, and why


def write(run: Run, directory: Path) -> Path:
    """Write the three files; the Markdown one is returned."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = directory / run.started_at.replace(":", "-")
    stem.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    stem.with_suffix(".svg").write_text(chart([table(result) for result in run.results]), encoding="utf-8")
    page = stem.with_suffix(".md")
    page.write_text(f"{markdown(run)}\n![rates]({stem.name}.svg)\n", encoding="utf-8")
    return page


def markdown(run: Run) -> str:
    """The page, readable as it is on a terminal."""
    missing = "".join(f"\n**Not measured: {name}.** {why}\n" for name, why in run.absent.items())
    return f"{_where(run)}{missing}" + "".join(_section(table(result)) for result in run.results)


def _where(run: Run) -> str:
    m = run.machine
    return (
        f"Run of {run.started_at} ({run.rounds} rounds).\n"
        f"Machine: {m.cores} cores ({m.processor}), {m.memory_bytes / 2**30:.0f} GiB, Linux {m.kernel}, "
        f"{m.file_system}, Python {m.python}, node {m.node or 'absent'}, penstock {m.penstock}; "
        f"load before the run {m.load_average:.2f}.\n"
    )


def _section(one: Table) -> str:
    head = [
        "",
        one.rate_unit,
        "lowest-highest",
        "× floor",
        "× express",
        one.cpu_unit,
        "peak MiB",
        "client busy",
    ]
    cells = [head, *map(_cells, one.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [" | ".join(_aligned(row, widths)).rstrip() for row in cells]
    rule = " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    failures = "".join(f"\n**Failed: {label}.** {why}\n" for label, why in one.failures.items())
    table_lines = "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))
    return f"\n## {one.title}\n\n{table_lines}\n{failures}"


def _cells(row: Figures) -> list[str]:
    return [
        row.label,
        f"{row.rate:,.0f}",
        f"{row.rate_lowest:,.0f}-{row.rate_highest:,.0f}",
        _times(row.times_floor),
        _times(row.times_express),
        f"{row.server_cpu:.2f}",
        f"{row.peak_mib:.0f}",
        f"{row.client_share:.0%}",
    ]


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    return [
        row[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
    ]
