"""Many small files in one request."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from bench.contestants import Dialect
from bench.sizes import KIB, size_text
from bench.uploads.base import Size, UploadWorkload
from bench.uploads.payload import Payload


class Small(UploadWorkload, frozen=True, kw_only=True):
    """small files in one multipart request"""

    name: ClassVar = "small"
    full: ClassVar = ({"files": 20_000},)

    files: Annotated[int, msgspec.Meta(ge=2)] = 2000
    size: Size = 4 * KIB

    @property
    def title(self) -> str:
        return f"{self.files} files of {size_text(self.size)} in one form"

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        return (Dialect.FORM,)

    @property
    def payload(self) -> Payload:
        return Payload(1, self.files, self.size)
