"""`python -P -m bench`: measure, print, write."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from bench import registry
from bench.contestants import Contestant
from bench.machine import this_machine
from bench.measure import measure, taking_part
from bench.npm import NotHere
from bench.place import run_directory
from bench.registry import Misread
from bench.report import Run, markdown, write
from bench.workload import Workload

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS = 3

HELP = """\b
Examples:
  python -P -m bench                                   everything at short sizes
  python -P -m bench one:size=1GiB                     one workload, bigger
  python -P -m bench many:uploads=8 many:uploads=256   one workload twice
  python -P -m bench uploads --full --rounds 5         a group, at the sizes the bars speak of
  python -P -m bench one -c penstock -c tus-node       two contestants only
  python -P -m bench one --url mine=tus:http://10.0.0.7:1080/files/
                                                       a server that runs already, beside ours
  python -P -m bench one:size=1MiB --rounds 1          does it run at all?

\b
Groups: uploads, live, growth (what grows with the work, plotted). --list tells every workload, its
parameters and its contestants. Sizes are bytes, or have a unit: 4KiB, 16MiB, 1GiB; several numbers
have a / between them.

\b
Contestants, in the order of a round:
  floor              a bare socket loop in Python: what this machine can do
  penstock           ours, --fsync never: the same promise as everybody who syncs nothing
  tus-node           @tus/server with its file store
  tuspyserver        the tus server for FastAPI, on uvicorn
  express            express with multer (forms) or a stream into a file (PUT)
  floor-synced       the floor with one fdatasync a file
  penstock-synced    ours as it comes, --fsync append: every announced byte is on the disk
  penstock-complete  ours, --fsync complete: finished files are
  penstock-h2c       ours, with HTTP/2
  …                  and those of live workloads

Each server is started here, on 127.0.0.1 and a free port, and stopped at the end. What it stores of the
first upload is compared byte for byte (SHA-256), and that upload is not counted. Exit code 1 if a contestant
failed; a bar that is missed is reported, and no failure."""


@click.command(epilog=HELP, context_settings={"max_content_width": 100})
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD[:PARAMETER=VALUE,…]]…")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True, help="samples of each row"
)
@click.option("--full", is_flag=True, help="full sizes: the ones the bars speak of; takes much longer")
@click.option("-c", "--contestant", "names", multiple=True, help="only these; repeatable")
@click.option(
    "--url",
    "urls",
    multiple=True,
    metavar="NAME=KIND:URL",
    help="a server that runs already, KIND tus or socketio; its CPU and memory are not known. Repeatable",
)
@click.option(
    "--dir",
    "place",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=tempfile.gettempdir(),
    show_default=True,
    help="where the servers store, in a directory of its own that is removed: the disk that is measured",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=RESULTS,
    show_default=True,
    help="where the JSON, Markdown and SVG files go",
)
@click.option("--list", "listing", is_flag=True, help="all workloads with their parameters, and stop")
def main(
    workloads: tuple[str, ...],
    rounds: int,
    full: bool,
    names: tuple[str, ...],
    urls: tuple[str, ...],
    place: Path,
    results: Path,
    listing: bool,
) -> None:
    """Measure Penstock and its peers side by side: all WORKLOADS if none is named."""
    if listing:
        click.echo("\n".join(registry.listing()))
        return
    try:
        wanted = registry.workloads(workloads, full=full)
        contestants = registry.chosen(names, urls)
    except Misread as error:
        raise click.UsageError(str(error)) from None
    run = _run(wanted, contestants, rounds, place)
    click.echo(f"\n{markdown(run)}\n\nWritten: {write(run, results)} (and .json, .svg)")
    sys.exit(any(row.failure for result in run.results for row in result.rows))


def _run(wanted: Sequence[Workload], contestants: Sequence[Contestant], rounds: int, place: Path) -> Run:
    absent: dict[str, str] = {}
    wanted = list(_possible(wanted, absent))
    names = {variant.contestant for workload in wanted for variant in taking_part(workload, contestants)}
    present = list(_present([one for one in contestants if one.name in names], absent))
    run = Run(
        started_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        rounds=rounds,
        machine=this_machine(place),
        versions={one.name: one.version() for one in present},
        results=[],
        absent=absent,
    )
    with run_directory(place) as directory:
        for number, workload in enumerate(wanted):
            _say(workload.title)
            one = directory / f"{number}-{workload.name}"
            run.results.append(measure(workload, present, rounds, one, _say))
    return run


def _possible(wanted: Sequence[Workload], absent: dict[str, str]) -> Iterator[Workload]:
    for workload in wanted:
        if why := workload.impossible():
            absent[workload.title] = why
            _say(f"NOT measured: {workload.title}: {why}")
        else:
            yield workload


def _present(contestants: Sequence[Contestant], absent: dict[str, str]) -> Iterator[Contestant]:
    for contestant in contestants:
        try:
            contestant.prepare()
        except NotHere as missing:
            absent[contestant.name] = str(missing)
            _say(f"NOT measured: {contestant.name}: {missing}")
        else:
            yield contestant


def _say(line: str) -> None:
    """Progress goes to stderr: stdout is the report."""
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
