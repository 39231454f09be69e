"""Sizes as people write them."""

from __future__ import annotations

import re

KIB, MIB, GIB = 2**10, 2**20, 2**30
MB = 1_000_000
UNITS = {"": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}


def parse_size(text: str) -> int:
    """A whole number, which may have a unit. Raises: ValueError."""
    match = re.fullmatch(r"(0|[1-9][0-9]*) ?(|KiB|MiB|GiB)", text)
    if match is None:
        raise ValueError(f"{text!r} is no whole number; write 4096, 4KiB, 16MiB or 1GiB")
    return int(match[1]) * UNITS[match[2]]


def size_text(size_bytes: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes >= UNITS[unit] and size_bytes % UNITS[unit] == 0:
            return f"{size_bytes // UNITS[unit]} {unit}"
    return f"{size_bytes} bytes"
