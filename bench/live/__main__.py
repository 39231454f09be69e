"""`python -P -m bench.live fanout:watchers=100 -c penstock`: one live workload, printed; nothing is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click
import msgspec

from bench.contestants import PENSTOCK, Contestant
from bench.live import WORKLOADS
from bench.live.contestants import PEERS
from bench.live.limits import allow_many_files
from bench.processes import running
from bench.workload import Entry, Failed, Workload


@click.command()
@click.argument("wanted")
@click.option("-c", "--contestant", "names", multiple=True, help="only these; repeatable")
@click.option("--rounds", default=3, show_default=True)
def main(wanted: str, names: Sequence[str], rounds: int) -> None:
    """Measure a workload, with fields set as in fanout:watchers=100:events=10."""
    workload = parse(wanted)
    click.echo(workload.title)
    allow_many_files()
    everybody = [PENSTOCK, *PEERS]
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        workload.prepare(Path(place))
        chosen = [one for one in everybody if not names or one.name in names]
        entries = list(_entries(stack, workload, chosen, Path(place)))
        for entry in entries:
            workload.warm_up(entry)
        for entry, samples in _measured(workload, entries, rounds):
            _tell(workload, entry.variant.label, samples)


def parse(wanted: str) -> Workload:
    """Raises: click.BadParameter."""
    name, *fields = wanted.split(":")
    kinds = {kind.name: kind for kind in WORKLOADS}
    if name not in kinds:
        raise click.BadParameter(f"{name}: there are {', '.join(kinds)}")
    values = dict(field.split("=") for field in fields)
    return msgspec.convert(values, kinds[name], strict=False)


def _entries(
    stack: ExitStack, workload: Workload, contestants: Sequence[Contestant], place: Path
) -> Iterator[Entry]:
    servers = {}
    for variant in workload.variants(contestants):
        contestant = next(one for one in contestants if one.name == variant.contestant)
        if contestant.name not in servers:
            contestant.prepare()
            (directory := place / contestant.name).mkdir()
            servers[contestant.name] = stack.enter_context(running(contestant.command(directory), directory))
        yield Entry(variant, contestant, servers[contestant.name], place / contestant.name, place, {})


def _measured(
    workload: Workload, entries: Sequence[Entry], rounds: int
) -> Iterator[tuple[Entry, list[dict[str, float]]]]:
    samples: list[list[dict[str, float]]] = [[] for _ in entries]
    for _ in range(rounds):
        for entry, mine in zip(entries, samples, strict=True):
            try:
                mine.append(dict(workload.sample(entry)))
            except Failed as error:
                click.echo(f"{entry.variant.label}: FAILED: {error}")
    return iter(zip(entries, samples, strict=True))


def _tell(workload: Workload, label: str, samples: Sequence[dict[str, float]]) -> None:
    click.echo(f"\n{label}")
    for metric in workload.metrics:
        values = [sample[metric.name] for sample in samples]
        if values:
            spread = f"{min(values):,.2f}-{max(values):,.2f}"
            click.echo(f"  {metric.name:16} {median(values):12,.2f} {metric.unit:10} {spread}")


if __name__ == "__main__":
    main()
