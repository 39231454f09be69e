"""Digests of a request's body: fed while its bytes are written, compared at its end."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple, Protocol


class RunningHash(Protocol):
    def update(self, data: memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


class Digest(NamedTuple):
    """What the bytes of one request must hash to."""

    algorithm: str  # a name hashlib knows
    expected: bytes

    def start(self) -> RunningHash:
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def matches(self, running: RunningHash) -> bool:
        return hmac.compare_digest(running.digest(), self.expected)
