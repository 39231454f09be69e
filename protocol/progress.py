"""Progress as pure functions of time: percentages, the throttle, the speed window, the time left."""

from __future__ import annotations

from collections import deque

SPEED_WINDOW_S = 5.0
_SLOT_S = 0.1  # samples closer than this are one: bounds the window at 51 entries


def percent(part: int, whole: int) -> float:
    """0 to 100 with two decimals, cut and not rounded: 100.0 means all of it. 0 of 0 is 0."""
    if whole <= 0:
        return 0.0
    return min(part * 10_000 // whole, 10_000) / 100


def time_left_s(remaining_bytes: int | None, bytes_per_s: float) -> float:
    """Seconds, one decimal; -1 when unknown, 0 when nothing remains."""
    if remaining_bytes == 0:
        return 0.0
    if remaining_bytes is None or bytes_per_s <= 0:
        return -1.0
    return round(remaining_bytes / bytes_per_s, 1)


class SpeedWindow:
    """Bytes per second over the last five seconds."""

    __slots__ = ("_samples", "_total")

    def __init__(self, now: float) -> None:
        self._total = 0
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])

    def add(self, now: float, count_bytes: int) -> None:
        """Note bytes that came in at `now`. When the clock was set back, counting begins anew."""
        self._forget(now)
        self._total += count_bytes
        last_at, _ = self._samples[-1]
        if len(self._samples) > 1 and now - last_at < _SLOT_S:
            self._samples[-1] = (last_at, self._total)
        else:
            self._samples.append((now, self._total))

    def bytes_per_s(self, now: float) -> float:
        """0 after five silent seconds."""
        self._forget(now)
        start_at, start_total = self._samples[0]
        moved = self._total - start_total
        return moved / max(now - start_at, _SLOT_S) if moved else 0.0

    def _forget(self, now: float) -> None:
        if now < self._samples[-1][0]:
            self._samples = deque([(now, self._total)])
        while len(self._samples) > 1 and self._samples[1][0] <= now - SPEED_WINDOW_S:
            self._samples.popleft()
        if self._samples[0][0] < now - SPEED_WINDOW_S:
            self._samples[0] = (now - SPEED_WINDOW_S, self._samples[0][1])


class Throttle:
    """Which progress of one file is worth sending: more than `interval_s` and at least `min_percent` after
    the last one (down counts too: a new attempt), or `at_least_s` after it. Without a known length only time
    counts. A clock that was set back cannot silence it."""

    __slots__ = ("_at_least_s", "_interval_s", "_last_at", "_last_percent", "_min_percent")

    def __init__(self, interval_s: float, min_percent: float, at_least_s: float) -> None:
        self._interval_s = interval_s
        self._min_percent = min_percent
        self._at_least_s = at_least_s
        self._last_at: float | None = None
        self._last_percent = 0.0

    def due(self, now: float, current: float | None) -> bool:
        """Whether progress at `current` percent (None: unknown length) is to be sent; if so, it was."""
        if self._last_at is not None:
            waited = now - self._last_at
            moved = current is None or abs(current - self._last_percent) >= self._min_percent
            if not (waited > self._interval_s and moved) and 0 <= waited < self._at_least_s:
                return False
        self.sent(now, current)
        return True

    def sent(self, now: float, current: float | None) -> None:
        """Note one that was sent for another reason (first, last, pause, resume)."""
        self._last_at = now
        self._last_percent = current or 0.0
