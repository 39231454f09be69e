"""One large upload at a time."""

from __future__ import annotations

from typing import ClassVar

from bench.contestants import Dialect
from bench.sizes import GIB, MIB, size_text
from bench.uploads.base import Size, UploadWorkload
from bench.uploads.payload import Payload


class One(UploadWorkload, frozen=True, kw_only=True):
    """one large upload: tus PATCH, PUT, form"""

    name: ClassVar = "one"
    full: ClassVar = ({"size": GIB},)

    size: Size = 256 * MIB
    dialects: tuple[Dialect, ...] = (Dialect.TUS, Dialect.PUT, Dialect.FORM)

    @property
    def title(self) -> str:
        return f"One upload of {size_text(self.size)}"

    @property
    def payload(self) -> Payload:
        return Payload(1, 1, self.size)
