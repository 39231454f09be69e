"""Times on the wire: ISO 8601 UTC with milliseconds. A time is Unix seconds everywhere inside."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(unix_s: float) -> str:
    """`2026-01-15T10:30:00.000Z`."""
    return (
        datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{_milliseconds(unix_s):03d}Z"
    )


def file_stamp(unix_s: float) -> str:
    """`2026-01-15T10-30-00_000Z`: the same instant, fit for a file name."""
    return (
        datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H-%M-%S_") + f"{_milliseconds(unix_s):03d}Z"
    )


def _milliseconds(unix_s: float) -> int:
    return datetime.fromtimestamp(unix_s, UTC).microsecond // 1000
