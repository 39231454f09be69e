"""`python -P -m bench`: measure, print, write."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from bench.contestants import CONTESTANTS, Contestant
from bench.machine import this_machine
from bench.measure import measure
from bench.npm import NotHere
from bench.place import run_directory
from bench.report import Run, markdown, write
from bench.workloads import many_uploads, one_upload, small_files

RESULTS = Path(__file__).resolve().parent / "results"
WORKLOADS = ("one", "many", "small")
UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

HELP = """\b
Examples:
  python -P -m bench                              everything, five rounds: a few minutes
  python -P -m bench one --one-size 1GiB          one workload, bigger
  python -P -m bench small -c penstock -c express two contestants only
  python -P -m bench --rounds 1 --one-size 8MiB --many-size 1MiB --small-count 100
                                                  does it run at all?

\b
Contestants, in the order of a round:
  floor            a bare socket loop in Python: what this machine can do
  penstock         ours, --fsync never: the same promise as the two next to it
  express          express with multer (forms) or a stream into a file (PUT)
  floor-synced     the floor with one fdatasync a file
  penstock-synced  ours as it comes, --fsync append: every announced byte is on the disk

Each server is started here, on 127.0.0.1 and a free port, and stopped at the end. The first upload to each is
compared byte for byte (SHA-256) and not counted. Exit code 1 if a contestant failed."""


class Size(click.ParamType[int]):
    """Bytes, or a number with KiB, MiB or GiB."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([1-9][0-9]*) ?(|KiB|MiB|GiB)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a size; write 4096, 4KiB, 16MiB or 1GiB", param, ctx)
        return int(match[1]) * UNITS[match[2]]


SIZE = Size()
AT_LEAST_ONE = click.IntRange(min=1)


@click.command(epilog=HELP, context_settings={"max_content_width": 100})
@click.argument("workloads", nargs=-1, type=click.Choice(WORKLOADS))
@click.option(
    "--rounds", type=AT_LEAST_ONE, default=5, show_default=True, help="measurements of each contestant"
)
@click.option("--one-size", type=SIZE, default="256MiB", show_default=True, help="one: size of the file")
@click.option("--many-count", type=AT_LEAST_ONE, default=32, show_default=True, help="many: uploads at once")
@click.option("--many-size", type=SIZE, default="16MiB", show_default=True, help="many: size of each")
@click.option(
    "--small-count",
    type=click.IntRange(min=2),
    default=2000,
    show_default=True,
    help="small: files in the form",
)
@click.option("--small-size", type=SIZE, default="4KiB", show_default=True, help="small: size of each")
@click.option(
    "-c",
    "--contestant",
    "names",
    multiple=True,
    type=click.Choice([*CONTESTANTS]),
    help="only these; repeatable",
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
def main(
    workloads: tuple[str, ...],
    rounds: int,
    one_size: int,
    many_count: int,
    many_size: int,
    small_count: int,
    small_size: int,
    names: tuple[str, ...],
    place: Path,
    results: Path,
) -> None:
    """Measure uploads: one, many at once, small files. All WORKLOADS if none is named."""
    chosen = {
        "one": one_upload(one_size),
        "many": many_uploads(many_count, many_size),
        "small": small_files(small_count, small_size),
    }
    run = Run(
        started_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        rounds=rounds,
        machine=this_machine(place),
        results=[],
        absent={},
    )
    contestants = list(_present(names or tuple(CONTESTANTS), run.absent))
    with run_directory(place) as directory:
        for name in dict.fromkeys(workloads or WORKLOADS):
            _say(chosen[name].title)
            run.results.append(measure(chosen[name], contestants, rounds, directory / name, _say))
    click.echo(f"\n{markdown(run)}\nWritten: {write(run, results)} (and .json, .svg)")
    sys.exit(any(row.failure for result in run.results for row in result.rows))


def _present(names: tuple[str, ...], absent: dict[str, str]) -> Iterator[Contestant]:
    for name, contestant in CONTESTANTS.items():
        if name in names:
            try:
                contestant.prepare()
            except NotHere as missing:
                absent[name] = str(missing)
                _say(f"NOT measured: {name}: {missing}")
            else:
                yield contestant


def _say(line: str) -> None:
    """Progress goes to stderr: stdout is the report."""
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
