"""The token bucket: a burst at once, the rate in the long run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.rate_limit import TokenBucket


def test_a_burst_then_the_rate() -> None:
    bucket = TokenBucket(10, 3, now=100.0)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0] * 3
    assert bucket.take(100.0) == pytest.approx(0.1)
    assert bucket.take(100.05) == pytest.approx(0.05)
    assert bucket.take(100.1) == 0.0
    assert bucket.take(100.1) > 0


def test_silence_fills_it_no_further_than_the_burst() -> None:
    bucket = TokenBucket(10, 3, now=0.0)
    assert sum(bucket.take(1000.0) == 0.0 for _ in range(10)) == 3


@given(st.integers(1, 100), st.integers(1, 300), st.floats(0, 1e6))
def test_who_waits_as_told_gets_through(rate: int, burst: int, start: float) -> None:
    bucket = TokenBucket(rate, burst, start)
    while not (wait_s := bucket.take(start)):
        pass
    assert bucket.take(start + wait_s) == 0.0


@given(st.lists(st.floats(0, 0.2), max_size=200))
def test_never_more_than_burst_and_rate(gaps: list[float]) -> None:
    bucket, now, taken = TokenBucket(20, 10, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now) == 0.0
        assert taken <= 10 + 20 * now + 1e-3
