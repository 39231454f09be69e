"""Bytes to upload: any size, never all in memory, and no two stretches alike."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.sizes import MIB

BLOCK_BYTES = MIB
READ_BYTES = 256 * 1024


class Content:
    """One random block over and over, its number in front: a shift or a hole changes the digest."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._block = random.Random(seed).randbytes(BLOCK_BYTES)

    def read(self, start: int, count: int) -> bytes:
        """Up to `count` bytes from `start`, all from one block."""
        number, skip = divmod(start, BLOCK_BYTES)
        count = min(count, self.size - start, BLOCK_BYTES - skip)
        if skip >= 8:
            return self._block[skip : skip + count]
        return (number.to_bytes(8, "big") + self._block[8:])[skip : skip + count]

    def pieces(self, start: int = 0, stop: int | None = None, step: int = READ_BYTES) -> Iterator[bytes]:
        stop = self.size if stop is None else min(stop, self.size)
        while start < stop:
            piece = self.read(start, min(step, stop - start))
            yield piece
            start += len(piece)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def write_to(self, path: Path) -> Path:
        with path.open("wb") as file:
            file.writelines(self.pieces())
        return path


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
