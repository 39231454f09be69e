"""Times on the wire: ISO 8601 UTC with milliseconds. A time is Unix seconds everywhere inside."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from math import modf

LAST_S = 253_402_300_799  # 9999-12-31T23:59:59Z; told for all that lies beyond: retention may be endless


@lru_cache(maxsize=16)  # a batch of small files is told of at one time
def iso(unix_s: float) -> str:
    """`2026-01-15T10:30:00.000Z`. Milliseconds are cut, not rounded: an event is never in the future."""
    fraction, seconds = modf(min(unix_s, LAST_S))
    carried, microseconds = divmod(round(fraction * 1e6), 1_000_000)
    return f"{_second(int(seconds) + carried)}.{microseconds // 1000:03}Z"


@lru_cache(maxsize=16)  # thousands of small files are told of within one
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()[:19]


@lru_cache(maxsize=16)
def file_stamp(unix_s: float) -> str:
    """`2026-01-15T10-30-00_000Z`: the same instant, fit for a file name."""
    return iso(unix_s).replace(":", "-").replace(".", "_")
