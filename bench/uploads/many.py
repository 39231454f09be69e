"""Many uploads at once."""

from __future__ import annotations

from typing import ClassVar

from bench.contestants import Dialect
from bench.sizes import MIB, size_text
from bench.uploads.base import Count, Size, UploadWorkload
from bench.uploads.payload import Payload


class Many(UploadWorkload, frozen=True, kw_only=True):
    """many uploads at once, each on a connection and, with ours, in a session of its own"""

    name: ClassVar = "many"
    full: ClassVar = ({"uploads": 8}, {"uploads": 32}, {"uploads": 256, "size": 4 * MIB})

    uploads: Count = 32
    size: Size = 16 * MIB
    dialects: tuple[Dialect, ...] = (Dialect.TUS, Dialect.PUT)

    @property
    def title(self) -> str:
        return f"{self.uploads} uploads at once, {size_text(self.size)} each"

    @property
    def payload(self) -> Payload:
        return Payload(self.uploads, 1, self.size)
