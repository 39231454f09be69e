"""Forms as bytes, and bodies that bring them in pieces of the test's choice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import trio

from penstock.server.http.multipart_reader import READ_BYTES, PartReader
from penstock.server.peer import BodyBroken

BOUNDARY = "----WebKitFormBoundaryAbC123"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def field(name: str, value: str) -> bytes:
    return part(f'form-data; name="{name}"', value.encode())


def file(name: str, content: bytes, filename: str = "a.bin", content_type: str = "") -> bytes:
    lines = [f"Content-Type: {content_type}"] if content_type else []
    return part(f'form-data; name="{name}"; filename="{filename}"', content, *lines)


def part(disposition: str, content: bytes, *lines: str) -> bytes:
    head = "\r\n".join([f"--{BOUNDARY}", f"Content-Disposition: {disposition}", *lines, "", ""])
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


class Pieces:
    """A body that arrives piece by piece, each seen only after a wait; then it ends, or breaks."""

    def __init__(self, pieces: Iterable[bytes], *, length: int | None = None, broken: bool = False) -> None:
        self.length = length
        self._pieces = [piece for piece in pieces if piece]
        self._broken = broken
        self._here = b""

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._here and self._pieces:
            self._here = self._pieces.pop(0)

    def receive_nowait(self, into: memoryview) -> int:
        if not self._here and self._pieces:
            raise trio.WouldBlock
        if not self._here and self._broken:
            raise BodyBroken("the peer is gone")
        count = min(len(into), len(self._here))
        into[:count] = self._here[:count]
        self._here = self._here[count:]
        return count


def reader_of(body: Pieces, boundary: bytes = BOUNDARY.encode(), **changes: int) -> PartReader:
    limits = {"max_parts": 1000, "idle_timeout_s": 60, **changes}
    return PartReader(body, boundary, bytearray(READ_BYTES), **limits)


class Seen(NamedTuple):
    name: str
    filename: str | None
    content_type: str
    content: bytes


async def read_all(reader: PartReader, step: int = 1000) -> list[Seen]:
    """Every part, its content taken as an append takes it."""
    seen = []
    while (found := await reader.next_part()) is not None:
        content = bytearray()
        buffer = bytearray(step)
        while True:
            await found.wait_readable()
            try:
                count = found.receive_nowait(memoryview(buffer))
            except trio.WouldBlock:
                continue
            if not count:
                break
            content += buffer[:count]
        head = found.head
        seen.append(Seen(head.name, head.filename, head.content_type, bytes(content)))
    return seen
