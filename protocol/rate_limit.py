"""How many messages a connection may send: so many at once, so many a second in the long run."""

from __future__ import annotations

_ROUNDING = 1e-6  # who waits exactly as long as he was told must not be a float's last digit too early


class TokenBucket:
    """`burst` tokens, refilled at `rate_per_s`; a message takes one."""

    __slots__ = ("_at", "_burst", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: int, now: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take a token at `now` (never before the last call's): 0.0. Without one left nothing is taken, and
        the answer is in how many seconds there will be one."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate_per_s)
        self._at = now
        if self._tokens >= 1 - _ROUNDING:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate_per_s
