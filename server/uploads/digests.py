"""Digests of a request's body: fed while its bytes are written, compared at its end."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import google_crc32c


class RunningHash(Protocol):
    """What hashlib makes."""

    def update(self, data: memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc:
    """A CRC of 32 bits as a hash. Its digest is big-endian: so do tus clients send it, and object stores.

    `extended(data, crc)` is the CRC of all bytes, given that of those before.
    """

    def __init__(self, extended: Callable[[memoryview, int], int]) -> None:
        self._extended = extended
        self._crc = 0

    def update(self, data: memoryview, /) -> None:
        self._crc = self._extended(data, self._crc)

    def digest(self) -> bytes:
        return self._crc.to_bytes(4, "big")


def _extended_crc32c(data: memoryview, crc: int) -> int:
    extended: int = google_crc32c.extend(crc, bytes(data))  # it takes nothing but bytes
    return extended


_NEW: dict[str, Callable[[], RunningHash]] = {
    **{
        name: partial(hashlib.new, name, usedforsecurity=False)
        for name in ("sha1", "sha256", "sha512", "md5")
    },
    "crc32": partial(Crc, zlib.crc32),
    "crc32c": partial(Crc, _extended_crc32c),
}
ALGORITHMS = tuple(_NEW)


def new_hash(algorithm: str) -> RunningHash:
    """One of `ALGORITHMS`, with nothing fed to it yet. Raises: ValueError."""
    try:
        new = _NEW[algorithm]
    except KeyError:
        raise ValueError(f"no digest algorithm: {algorithm!r}") from None
    return new()


class Digest(NamedTuple):
    """What the bytes of one request must hash to."""

    algorithm: str  # one of `ALGORITHMS`
    expected: bytes

    def start(self) -> RunningHash:
        """An empty hash to feed the bytes to. Raises: ValueError."""
        return new_hash(self.algorithm)

    def matches(self, running: RunningHash) -> bool:
        return hmac.compare_digest(running.digest(), self.expected)
