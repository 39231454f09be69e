"""Are the disks well? A call that never comes back is not abandoned, but nobody new is let in behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Broken = Callable[[], str | None]


class DiskHealth:
    """Watches how long the oldest disk call has been running, against `disk_stall_s`, and whether the state
    store has given up."""

    def __init__(
        self,
        oldest_calls_s: Sequence[Callable[[], float]],
        stall_s: float,
        broken: Broken = lambda: None,
    ) -> None:
        """`broken`: why nothing can be committed until a restart."""
        self._oldest_calls_s = oldest_calls_s
        self._stall_s = stall_s
        self._broken = broken

    def __call__(self) -> dict[str, str]:
        """`{what: why}` while something is wrong, else empty. Cheap, never waits."""
        longest_s = max((oldest() for oldest in self._oldest_calls_s), default=0.0)
        stalled = f"an operation has been running for {longest_s:.0f} s"
        why = self._broken() or (stalled if longest_s > self._stall_s else None)
        return {"disk": why} if why else {}
