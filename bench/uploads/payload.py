"""The bytes that are sent: on the disk, the same in every run, different for every file."""

from __future__ import annotations

import hashlib
import mmap
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench.sizes import MIB

SEED = 1
SHIFT_BYTES = 4096  # uploads at once differ: each starts this much later in the same source
NOISE_STEP_BYTES = MIB
BOUNDARY = "penstock-bench-7d1f0c59"
END = f"\r\n--{BOUNDARY}--\r\n".encode()


class Stretch(NamedTuple):
    """Some bytes of the source file."""

    offset: int
    length: int


class Payload(NamedTuple):
    """`uploads` requests at once, each of `files` files of `file_bytes`; more than one make a form."""

    uploads: int
    files: int
    file_bytes: int

    @property
    def total_files(self) -> int:
        return self.uploads * self.files

    @property
    def total_bytes(self) -> int:
        return self.total_files * self.file_bytes

    def write(self, source: Path) -> None:
        """Make the source file."""
        with source.open("wb") as file:
            if self.files == 1:
                file.writelines(_noise(self.file_bytes + (self.uploads - 1) * SHIFT_BYTES))
            else:
                file.writelines(self._form())

    def body(self, index: int) -> Stretch:
        """The bytes of one upload: a file, or a form of many."""
        if self.files == 1:
            return Stretch(index * SHIFT_BYTES, self.file_bytes)
        return Stretch(0, self._part_bytes * self.files - len(b"\r\n") + len(END))

    def file(self, index: int) -> Stretch:
        """The bytes of one file."""
        if self.files == 1:
            return self.body(index)
        return Stretch(index * self._part_bytes + len(part_head(index)), self.file_bytes)

    @property
    def _part_bytes(self) -> int:
        return len(part_head(0)) + self.file_bytes + len(b"\r\n")

    def _form(self) -> Iterator[bytes]:
        content = b"".join(_noise(self.files * self.file_bytes))
        for index in range(self.files):
            yield b"\r\n" if index else b""
            yield part_head(index)
            yield content[index * self.file_bytes : (index + 1) * self.file_bytes]
        yield END


def part_head(index: int) -> bytes:
    return (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{index:06}.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()


@cache
def digests(payload: Payload, source: Path) -> Counter[str]:
    """How often each content is sent, by its SHA-256."""
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        with memoryview(mapped) as content:
            stretches = map(payload.file, range(payload.total_files))
            return Counter(hashlib.sha256(content[at : at + n]).hexdigest() for at, n in stretches)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _noise(size_bytes: int) -> Iterator[bytes]:
    """Bytes that do not repeat, the same in every run: a block in the wrong place is noticed."""
    dice = random.Random(SEED)
    for start in range(0, size_bytes, NOISE_STEP_BYTES):
        yield dice.randbytes(min(NOISE_STEP_BYTES, size_bytes - start))
