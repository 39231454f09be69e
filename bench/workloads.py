"""What is uploaded: the bytes, and the requests that carry them."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.contestants import Contestant, Dialect
from bench.load import Plan, Request

SEED = 1
SHIFT_BYTES = 4096  # uploads at once differ: each starts this much later in the same source
NOISE_STEP_BYTES = 2**20
BOUNDARY = "penstock-bench-7d1f0c59"
END = f"\r\n--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Workload:
    """`uploads` requests at once, each of `files` files of `file_bytes`."""

    name: str
    title: str
    dialects: tuple[Dialect, ...]
    uploads: int
    files: int
    file_bytes: int

    @property
    def total_files(self) -> int:
        return self.uploads * self.files

    @property
    def total_bytes(self) -> int:
        return self.total_files * self.file_bytes


def one_upload(file_bytes: int) -> Workload:
    title = f"One upload of {size_text(file_bytes)}"
    return Workload("one", title, (Dialect.PUT, Dialect.FORM), 1, 1, file_bytes)


def many_uploads(uploads: int, file_bytes: int) -> Workload:
    title = f"{uploads} uploads at once, {size_text(file_bytes)} each"
    return Workload("many", title, (Dialect.PUT, Dialect.FORM), uploads, 1, file_bytes)


def small_files(files: int, file_bytes: int) -> Workload:
    title = f"{files} files of {size_text(file_bytes)} in one form"
    return Workload("small", title, (Dialect.FORM,), 1, files, file_bytes)


class Payload:
    """A workload's bytes on the disk, the same in every run."""

    def __init__(self, workload: Workload, source: Path) -> None:
        self._workload = workload
        self._source = source
        content = _noise(workload.files * workload.file_bytes + (workload.uploads - 1) * SHIFT_BYTES)
        self.digests = Counter(map(_digest, _stretches(workload, content)))
        source.write_bytes(_form(workload, content) if workload.files > 1 else content)

    def plan(self, contestant: Contestant, dialect: Dialect, port: int) -> Plan:
        """The requests of one measurement; what a contestant wants before (a session) is done here."""
        return Plan(
            port, [self._request(contestant, dialect, port, i) for i in range(self._workload.uploads)]
        )

    def _request(self, contestant: Contestant, dialect: Dialect, port: int, index: int) -> Request:
        source, length = str(self._source), self._workload.file_bytes
        if dialect is Dialect.PUT:
            target = contestant.put_target(port, index, length)
            return Request(_head("PUT", target, port, length), b"", source, index * SHIFT_BYTES, length)
        head = _part_head(index) if self._workload.files == 1 else b""
        end = END if self._workload.files == 1 else b""  # the form of many files lies ready with both
        length = length if self._workload.files == 1 else self._source.stat().st_size
        before = _head("POST", contestant.form_target, port, len(head) + length + len(end)) + head
        return Request(before, end, source, index * SHIFT_BYTES, length)


def _noise(size_bytes: int) -> bytes:
    """Bytes that do not repeat, the same in every run: a block in the wrong place is noticed."""
    dice = random.Random(SEED)
    steps = range(0, size_bytes, NOISE_STEP_BYTES)
    return b"".join(dice.randbytes(min(NOISE_STEP_BYTES, size_bytes - start)) for start in steps)


def _stretches(workload: Workload, content: bytes) -> list[memoryview]:
    """The bytes of every file."""
    shift = SHIFT_BYTES if workload.files == 1 else workload.file_bytes
    starts = range(0, workload.total_files * shift, shift)
    return [memoryview(content)[start : start + workload.file_bytes] for start in starts]


def _digest(content: memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _form(workload: Workload, content: bytes) -> bytes:
    parts = (b"".join((_part_head(i), part)) for i, part in enumerate(_stretches(workload, content)))
    return b"\r\n".join(parts) + END


def _part_head(index: int) -> bytes:
    return (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{index:05}.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()


def _head(method: str, target: str, port: int, length: int) -> bytes:
    kind = "application/octet-stream" if method == "PUT" else f"multipart/form-data; boundary={BOUNDARY}"
    return (
        f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    ).encode()


def size_text(size_bytes: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor} {unit}"
    return f"{size_bytes} bytes"
