"""A shorter input that fails in the same way: ever smaller pieces are left out (after Zeller's ddmin)."""

from __future__ import annotations

from collections.abc import Callable

MOST_ATTEMPTS = 2000


def minimised(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """The input itself if it does not fail again."""
    attempts = MOST_ATTEMPTS
    size = len(data) // 2
    while size and attempts > 0:
        at = 0
        while at < len(data) and attempts > 0:
            attempts -= 1
            shorter = data[:at] + data[at + size :]
            if fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data
