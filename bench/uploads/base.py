"""What upload workloads have in common: each is a payload, sent in some dialects."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from bench.contestants import Contestant, Dialect, Floor
from bench.load import Outcome, Plan
from bench.uploads import requests
from bench.uploads.exchange import (
    Amount,
    amount_of_bytes,
    amount_of_files,
    check_stored,
    clear,
    send,
    weigh,
)
from bench.uploads.payload import Payload, digests
from bench.workload import Entry, Failed, Metric, Ratio, Variant, Workload

Count = Annotated[int, msgspec.Meta(ge=1)]
Size = Annotated[int, msgspec.Meta(ge=1)]


class UploadWorkload(Workload, frozen=True, kw_only=True):
    """Uploads are made, timed, and put aside. Fields of a subclass say how many and how big."""

    with_floor: ClassVar[bool] = True  # whether the floor can do the like

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """In which it is sent; the floor has one of its own."""
        return (Dialect.TUS,)

    @property
    @abstractmethod
    def payload(self) -> Payload: ...

    @property
    def amount(self) -> Amount:
        if self.payload.files > 1:
            return amount_of_files(self.payload.total_files)
        return amount_of_bytes(self.payload.total_bytes)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return self.amount.metrics

    @property
    def floor_dialect(self) -> Dialect:
        """The floor takes a form whole into memory: right for small files, no measure for big ones."""
        return Dialect.FORM if self.payload.files > 1 else Dialect.PUT

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        """Against the floor with the same promise, and against the peers."""
        rate, floor = self.amount.rate.name, self.floor_dialect
        return (
            Ratio(rate, f"floor-synced {floor}", "× floor", where="*-synced *"),
            Ratio(rate, f"floor-synced {floor}", "× floor", where="*-complete *"),
            Ratio(rate, f"floor {floor}", "× floor"),
            Ratio(rate, "tus-node tus", "× tus-node"),
            Ratio(rate, "express PUT", "× express", where="* PUT"),
            Ratio(rate, "express form", "× express", where="* form"),
        )

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        """Floors first, then dialect by dialect: what is compared stands side by side."""
        floors = [one for one in contestants if isinstance(one, Floor) and self.with_floor]
        others = [one for one in contestants if not isinstance(one, Floor)]
        return [
            *(Variant(one.name, self.floor_dialect) for one in floors),
            *(Variant(one.name, how) for how in self.dialects for one in others if how in one.takes),
        ]

    def prepare(self, directory: Path) -> None:
        self.payload.write(source_in(directory))

    def payload_of(self, variant: Variant) -> Payload:
        return self.payload

    def plan(self, entry: Entry) -> Plan:
        """The requests of one sample. Raises: OSError, HTTPException, if something cannot be made before."""
        payload, source = self.payload_of(entry.variant), source_in(entry.shared)
        return requests.plan(entry, Dialect(entry.variant.how), payload, source)

    def ready(self, entry: Entry) -> Callable[[], Outcome]:
        """What is to be timed; all that it needs is made here. Raises: OSError, HTTPException."""
        plan = self.plan(entry)
        return lambda: send(plan)

    def warm_up(self, entry: Entry) -> None:
        try:
            self._ready(entry)()
            check_stored(entry, digests(self.payload_of(entry.variant), source_in(entry.shared)))
        finally:
            clear(entry)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        try:
            return weigh(entry, self.amount, self._ready(entry))
        finally:
            clear(entry)

    def _ready(self, entry: Entry) -> Callable[[], Outcome]:
        try:
            return self.ready(entry)
        except (OSError, HTTPException) as error:
            raise Failed(f"nothing could be sent: {error!r}") from error


def source_in(directory: Path) -> Path:
    """Where the bytes lie that are sent."""
    return directory / "source"
