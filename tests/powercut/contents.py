"""What every file has in it: its name says it, so that bytes can be judged with nothing else."""

from __future__ import annotations

from functools import lru_cache
from random import Random

JOINT = "+"
_FLIPPED = bytes(byte ^ 0xFF for byte in range(256))


def named(serial: int, size: int) -> str:
    """The name of a file with other bytes than all of other serials."""
    return f"c{serial}-{size}"


def joined(names: list[str]) -> str:
    """The name of a file put together from those."""
    return JOINT.join(["", *names])


@lru_cache(maxsize=512)
def content(name: str, attempt: int) -> bytes:
    """All of a file; each attempt at it has other bytes. What is put together has its parts' first ones."""
    first, *parts = name.split(JOINT)
    if parts:
        return b"".join(content(part, 1) for part in parts)
    return Random(f"{first} {attempt}").randbytes(int(first.partition("-")[2]))


def flipped(data: bytes) -> bytes:
    """As damaged on its way: no byte is right."""
    return data.translate(_FLIPPED)
