"""Contents that are parts of others."""

from __future__ import annotations

from tests.acceptance.content import Content


class Slice(Content):
    """A stretch of another content: a part that a file is made of, or one of many small files."""

    def __init__(self, whole: Content, start: int, size: int) -> None:
        self.size = size
        self._whole = whole
        self._start = start

    def read(self, start: int, count: int) -> bytes:
        return self._whole.read(self._start + start, min(count, self.size - start))
