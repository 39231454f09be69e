"""Times on the wire: ISO 8601 UTC with milliseconds. A time is Unix seconds everywhere inside."""

from __future__ import annotations

from datetime import UTC, datetime

LAST_S = 253_402_300_799  # 9999-12-31T23:59:59Z; told for all that lies beyond: retention may be endless


def iso(unix_s: float) -> str:
    """`2026-01-15T10:30:00.000Z`. Milliseconds are cut, not rounded: an event is never in the future."""
    instant = datetime.fromtimestamp(min(unix_s, LAST_S), UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def file_stamp(unix_s: float) -> str:
    """`2026-01-15T10-30-00_000Z`: the same instant, fit for a file name."""
    return iso(unix_s).replace(":", "-").replace(".", "_")
