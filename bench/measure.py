"""The run: servers up, one warm-up that checks what they do, then rounds in which everybody takes turns.

Turns matter: on a shared machine the noise of a minute then falls on all alike, and a ratio is taken between
neighbours of the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.contestants import Contestant
from bench.place import fresh_directory
from bench.processes import StartFailed
from bench.workload import Entry, Failed, Metric, Ratio, Variant, Workload

Say = Callable[[str], None]


class Row(msgspec.Struct):
    """A variant, and what was measured, in the order of the rounds."""

    variant: Variant
    synced: bool = False
    samples: list[Mapping[str, float]] = []
    failure: str | None = None


class Result(msgspec.Struct):
    """All of one workload."""

    workload: str
    title: str
    parameters: Mapping[str, object]
    x_axis: str
    metrics: tuple[Metric, ...]
    ratios: tuple[Ratio, ...]
    rows: list[Row]


class Turn(NamedTuple):
    """A row, and the server that fills it."""

    row: Row
    entry: Entry


def measure(
    workload: Workload, contestants: Sequence[Contestant], rounds: int, directory: Path, say: Say
) -> Result:
    """Measure one workload, every server started anew for it. What is left in `directory` is the caller's."""
    directory.mkdir()
    workload.prepare(directory)
    by_name = {one.name: one for one in contestants}
    variants = taking_part(workload, contestants)
    rows = [Row(variant, by_name[variant.contestant].synced) for variant in variants]
    with ExitStack() as stack:
        turns = list(_start(stack, rows, by_name, directory, say))
        for turn in turns:
            _try(_warm_up, workload, turn, say)
        for number in range(rounds):
            say(f"  round {number + 1} of {rounds}")
            for turn in turns:
                _try(_sample, workload, turn, say)
    return _result(workload, rows)


def taking_part(workload: Workload, contestants: Sequence[Contestant]) -> list[Variant]:
    """The variants of those who are there for this workload."""
    return workload.variants([one for one in contestants if not one.only or workload.name in one.only])


def _result(workload: Workload, rows: list[Row]) -> Result:
    return Result(
        workload=workload.name,
        title=workload.title,
        parameters=msgspec.structs.asdict(workload),
        x_axis=workload.x_axis,
        metrics=workload.metrics,
        ratios=workload.ratios,
        rows=rows,
    )


def _start(
    stack: ExitStack, rows: Sequence[Row], contestants: Mapping[str, Contestant], directory: Path, say: Say
) -> Iterator[Turn]:
    """One server for each contestant, shared by its variants."""
    for name in dict.fromkeys(row.variant.contestant for row in rows):
        mine = [row for row in rows if row.variant.contestant == name]
        place = fresh_directory(directory, name)
        try:
            server = stack.enter_context(contestants[name].running(place))
        except StartFailed as error:
            for row in mine:
                _leave_out(row, error, say)
        else:
            for row in mine:
                yield Turn(row, Entry(row.variant, contestants[name], server, place, directory, {}))


def _warm_up(workload: Workload, turn: Turn, say: Say) -> None:
    workload.warm_up(turn.entry)
    say(f"  {name(turn.row)}: checked")


def _sample(workload: Workload, turn: Turn, say: Say) -> None:
    turn.row.samples.append(workload.sample(turn.entry))


def _try(step: Callable[[Workload, Turn, Say], None], workload: Workload, turn: Turn, say: Say) -> None:
    if turn.row.failure is None:
        try:
            step(workload, turn, say)
        except Failed as error:
            _leave_out(turn.row, error, say)


def _leave_out(row: Row, error: Exception, say: Say) -> None:
    """No figure of one who failed: it may have been quick because it failed."""
    row.failure = str(error)
    row.samples.clear()
    say(f"  {name(row)}: FAILED, left out: {error}")


def name(row: Row) -> str:
    """The label, with the place on the axis where there is one."""
    return row.variant.label if row.variant.x is None else f"{row.variant.label} at {row.variant.x:g}"
