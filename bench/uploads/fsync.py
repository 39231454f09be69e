"""What a promise about power cuts costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bench.contestants import Contestant, Floor, Penstock
from bench.sizes import GIB, MIB, size_text
from bench.uploads.base import Count, Size, UploadWorkload
from bench.uploads.payload import Payload
from bench.workload import Ratio, Variant


class Fsync(UploadWorkload, frozen=True, kw_only=True):
    """ours with each setting of fsync: never, complete, append"""

    name: ClassVar = "fsync"
    full: ClassVar = ({"size": GIB}, {"uploads": 32, "size": 16 * MIB})

    uploads: Count = 1
    size: Size = 256 * MIB

    @property
    def title(self) -> str:
        many = f"{self.uploads} uploads at once" if self.uploads > 1 else "One upload"
        return f"{many} of {size_text(self.size)}, with each setting of fsync"

    @property
    def payload(self) -> Payload:
        return Payload(self.uploads, 1, self.size)

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        never = Ratio(self.amount.rate.name, "penstock tus", "× never", where="penstock*")
        return (*(ratio for ratio in super().ratios if ratio.column == "× floor"), never)

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        return super().variants([one for one in contestants if isinstance(one, Floor | Penstock)])
