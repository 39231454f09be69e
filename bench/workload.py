"""What a workload is: its parameters, who takes part in which way, and what one sample of each says.

A workload is a frozen struct whose fields are its parameters, so that `python -P -m bench one:size=1GiB`
can set any of them. It knows nothing of rounds, medians and tables: `measure.py` lets its variants take
turns, `figures.py` makes figures of the samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import msgspec

from bench.contestants import Contestant
from bench.processes import Running


class Failed(Exception):
    """A request was refused, an event is missing, or what is stored is not what was sent."""


class Metric(msgspec.Struct, frozen=True):
    """One number of a sample. `name` is its key and the head of its column."""

    name: str
    unit: str = ""
    better: Literal["more", "less", ""] = ""  # which direction wins; "": it only explains the others
    combine: Literal["median", "max", "mean"] = "median"  # of the rounds


class Ratio(msgspec.Struct, frozen=True):
    """A column: a metric in multiples of another row's, taken between neighbours of the same round.

    Ratios with the same head share a column: a row gets the first whose `where` it matches.
    """

    metric: str
    against: str  # the label of a row
    head: str = ""  # of the column; empty: `metric × against`
    where: str = "*"  # a glob of the labels that are compared with it

    @property
    def column(self) -> str:
        return self.head or f"{self.metric} × {self.against}"


class Variant(msgspec.Struct, frozen=True):
    """A row of the table: a contestant in one way of using it."""

    contestant: str
    how: str = ""  # the dialect, say
    x: float | None = None  # where it lies on the axis of a workload that grows

    @property
    def label(self) -> str:
        return f"{self.contestant} {self.how}".strip()


class Entry(NamedTuple):
    """A variant with its server running."""

    variant: Variant
    contestant: Contestant
    server: Running
    directory: Path  # the contestant's: its server stores below
    shared: Path  # the workload's: what `prepare` was given
    notes: dict[str, str]  # what `warm_up` leaves for `sample`


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all. Fields of a subclass are parameters, their defaults the short run."""

    name: ClassVar[str]
    x_axis: ClassVar[str] = ""  # of a workload that grows: what `Variant.x` counts
    full: ClassVar[tuple[Mapping[str, object], ...]] = ({},)  # what `--full` sets instead: a run for each

    @property
    @abstractmethod
    def title(self) -> str: ...

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The first one is drawn."""

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return ()

    @abstractmethod
    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        """Who takes part, in the order of a round."""

    def impossible(self) -> str:
        """Why this machine cannot measure it; empty if it can."""
        return ""

    def prepare(self, directory: Path) -> None:
        """Before the servers start: files to send, for instance."""

    def warm_up(self, entry: Entry) -> None:
        """Once, not counted; checks that the server does what it is measured for. Raises: Failed."""

    @abstractmethod
    def sample(self, entry: Entry) -> Mapping[str, float]:
        """One measurement: a value for each metric, nan where there is none to be had. Raises: Failed."""
