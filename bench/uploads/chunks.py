"""A resumable upload as clients that cut their file make it: a request for each piece."""

from __future__ import annotations

from typing import ClassVar

from bench.contestants import Dialect
from bench.load import Plan
from bench.sizes import GIB, MIB, size_text
from bench.uploads import requests
from bench.uploads.base import Size, UploadWorkload, source_in
from bench.uploads.payload import Payload, Stretch
from bench.workload import Entry


class Chunks(UploadWorkload, frozen=True, kw_only=True):
    """one upload in tus PATCHes, one after the other on a connection that is kept"""

    name: ClassVar = "chunks"
    full: ClassVar = ({"size": GIB},)
    with_floor: ClassVar = False

    size: Size = 256 * MIB
    chunk: Size = 5 * MIB

    @property
    def title(self) -> str:
        return f"One upload of {size_text(self.size)} in pieces of {size_text(self.chunk)}"

    @property
    def payload(self) -> Payload:
        return Payload(1, 1, self.size)

    def plan(self, entry: Entry) -> Plan:
        (target,) = requests.make_targets(entry, Dialect.TUS, self.payload)
        source = source_in(entry.shared)
        pieces = [
            Stretch(start, min(self.chunk, self.size - start)) for start in range(0, self.size, self.chunk)
        ]
        patches = [
            requests.patch_of(entry, target, source, piece, offset=piece.offset, fields={})
            for piece in pieces
        ]
        return Plan(entry.server.host, entry.server.port, [patches])
