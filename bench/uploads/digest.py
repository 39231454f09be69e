"""What it costs to verify a digest while the bytes are stored."""

from __future__ import annotations

import hashlib
import mmap
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import google_crc32c

from bench.contestants import PENSTOCK, PENSTOCK_SYNCED, Contestant, Dialect
from bench.load import Plan
from bench.sizes import GIB, MIB, size_text
from bench.uploads import requests
from bench.uploads.base import Size, UploadWorkload, source_in
from bench.uploads.payload import Payload
from bench.workload import Entry, Ratio, Variant

NONE = "none"


class Digest(UploadWorkload, frozen=True, kw_only=True):
    """one tus PATCH without and with an Upload-Checksum, which is verified before any byte counts"""

    name: ClassVar = "digest"
    full: ClassVar = ({"size": GIB},)

    size: Size = 256 * MIB
    digests: tuple[str, ...] = (NONE, "crc32c", "sha256")

    @property
    def title(self) -> str:
        return f"One upload of {size_text(self.size)} with a digest"

    @property
    def payload(self) -> Payload:
        return Payload(1, 1, self.size)

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return tuple(
            Ratio(self.amount.rate.name, f"{one.name} {NONE}", f"× {NONE}", where=f"{one.name} *")
            for one in (PENSTOCK, PENSTOCK_SYNCED)
        )

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        ours = [one.name for one in contestants if one in (PENSTOCK, PENSTOCK_SYNCED)]
        return [Variant(name, digest) for name in ours for digest in self.digests]

    def plan(self, entry: Entry) -> Plan:
        (target,) = requests.make_targets(entry, Dialect.TUS, self.payload)
        source, how = source_in(entry.shared), entry.variant.how
        checksum = {} if how == NONE else {"Upload-Checksum": f"{how} {_digest(source, how)}"}
        patch = requests.patch_of(entry, target, source, self.payload.body(0), 0, checksum)
        return Plan(entry.server.host, entry.server.port, [[patch]])


@cache
def _digest(source: Path, algorithm: str) -> str:
    """Of all its bytes, as tus writes it."""
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if algorithm == "crc32c":
            digest = google_crc32c.value(bytes(content)).to_bytes(4, "big")
        else:
            digest = hashlib.new(algorithm, content).digest()
    return b64encode(digest).decode()
