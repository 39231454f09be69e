"""`python -P -m tests.soak`: run, tell, write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import click
import trio

from tests.soak import disk
from tests.soak.report import markdown, report_of, write
from tests.soak.run import Setup, run
from tests.soak.timeline import timeline

ROOT = Path(__file__).parents[2]

HELP = """\b
Examples:
  python -P -m tests.soak                         half an hour
  python -P -m tests.soak --minutes 5 --seed 7    shorter, and the same again
  python -P -m tests.soak --report results/soak.json

\b
What happens:
  A real `penstock serve` runs on 127.0.0.1. Clients upload into it in every dialect: PUT whole and in
  ranges, forms, tus (with checksums, in parallel), the IETF draft, over HTTP/1.1 and HTTP/2, through a
  proxy that breaks connections, and with `penstock upload`. They stall, break off, send wrong offsets and
  wrong digests, write twice at once. Others watch, pause, resume and cancel.
  The server is killed, drained, frozen, and its disk is filled. Between storms one process lives long: at
  quiet points all clients wait, and what it holds must be what it held when it was born.

\b
What must hold:
  an announced offset never goes down; every completed file has the bytes that were sent; a cancelled one
  leaves none; watchers miss no fact and hear none twice; 5xx and errors in the log only while something is
  done to the server; memory, descriptors, threads, tasks, rows and files do not grow.

Exit code 1 if something did not. The disk is filled only where unshare(1) may mount a file system."""


@click.command(epilog=HELP, context_settings={"max_content_width": 110})
@click.option(
    "--minutes", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="about how long"
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="who does what; the network has its own mind"
)
@click.option("--workers", type=click.IntRange(min=1), default=12, show_default=True, help="uploads at once")
@click.option(
    "--watchers", type=click.IntRange(min=0), default=6, show_default=True, help="those who look on"
)
@click.option(
    "--report",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="write JSON here, and Markdown beside it",
)
@click.option("--inside", type=click.Path(path_type=Path), hidden=True)  # the directory that is prepared
def main(
    minutes: float, seed: int, workers: int, watchers: int, path: Path | None, inside: Path | None
) -> None:
    """Half an hour of mixed life, and proof that nothing is lost and nothing grows."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the server must not outlive us
    if inside is None and disk.is_possible():
        _again_on_small_disk()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        directory = inside or Path(name)
        setup = Setup(directory, seed, workers, watchers, small_disk=inside is not None)
        outcome = trio.run(partial(run, setup, timeline(minutes * 60, seed), _say))
    report = report_of(outcome, seed=seed, workers=workers, small_disk=setup.small_disk)
    click.echo(f"\n{markdown(report)}")
    if path is not None:
        click.echo(f"Written: {path} and {write(report, path)}")
    sys.exit(not report.passed)


def _again_on_small_disk() -> None:
    """The same in a mount namespace of its own, where the data directory is a small file system. It goes with
    the process."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        data = Path(name) / "data"
        data.mkdir()
        again = [sys.executable, "-P", "-m", "tests.soak", *sys.argv[1:], "--inside", name]
        command = disk.on_small_disk(data, again)
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) as inner:
            signal.signal(signal.SIGTERM, lambda *_: inner.terminate())
            sys.exit(inner.wait())


def _say(line: str) -> None:
    """Progress goes to stderr: stdout is the report."""
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
