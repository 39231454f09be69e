"""Costs that grow with the number of uploads: a straight line is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from bench.contestants import PENSTOCK, Contestant, Dialect
from bench.peers import TusNode
from bench.sizes import GIB, MIB, size_text
from bench.uploads.base import Count, Size, UploadWorkload, source_in
from bench.uploads.exchange import BUSY, BYTES_CPU, BYTES_RATE
from bench.uploads.payload import SHIFT_BYTES, Payload
from bench.workload import Metric, Ratio, Variant, Workload


class GrowthUploads(UploadWorkload, frozen=True, kw_only=True):
    """CPU for the same bytes in more and more uploads at once, tus PATCH"""

    name: ClassVar = "growth-uploads"
    x_axis: ClassVar = "uploads at once"
    full: ClassVar = ({"uploads": (1, 2, 4, 8, 16, 32, 64, 128, 256), "total": 2 * GIB},)

    uploads: tuple[Count, ...] = (1, 4, 16, 64, 256)
    total: Size = 512 * MIB

    @property
    def title(self) -> str:
        return f"{size_text(self.total)} in so many uploads at once"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """No peak: memory that more uploads needed before is seldom given back."""
        return (BYTES_CPU, BYTES_RATE, BUSY)

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return (Ratio(BYTES_CPU.name, "tus-node tus", "× tus-node"),)

    @property
    def payload(self) -> Payload:
        return Payload(1, 1, self.total)

    def payload_of(self, variant: Variant) -> Payload:
        uploads = int(variant.x or 1)
        return Payload(uploads, 1, max(self.total // uploads, 1))

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        taking_part = [one for one in contestants if one is PENSTOCK or isinstance(one, TusNode)]
        return [
            Variant(one.name, Dialect.TUS, float(uploads)) for uploads in self.uploads for one in taking_part
        ]

    def prepare(self, directory: Path) -> None:
        """One source is long enough for all."""
        Payload(1, 1, self.total + max(self.uploads) * SHIFT_BYTES).write(source_in(directory))


WORKLOADS: tuple[type[Workload], ...] = (GrowthUploads,)
