"""Is the disk well? A call that never comes back is not abandoned, but nobody new is let in behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class DiskHealth:
    """Watches how long the oldest disk call has been running, against `disk_stall_s`."""

    def __init__(self, oldest_calls_s: Sequence[Callable[[], float]], stall_s: float) -> None:
        self._oldest_calls_s = oldest_calls_s
        self._stall_s = stall_s

    def __call__(self) -> dict[str, str]:
        """`{what: why}` while something is wrong, else empty. Cheap, never waits."""
        longest_s = max((oldest() for oldest in self._oldest_calls_s), default=0.0)
        if longest_s <= self._stall_s:
            return {}
        return {"disk": f"an operation has been running for {longest_s:.0f} s"}
