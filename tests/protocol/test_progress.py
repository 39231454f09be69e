"""Percentages, time left, the speed window and the throttle, each as a function of the time it is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.progress import SPEED_WINDOW_S, SpeedWindow, Throttle, percent, time_left_s

sizes = st.integers(0, 2**63 - 1)

# Percent


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 0, 0.0),
        (5, 0, 0.0),
        (0, 3, 0.0),
        (1, 3, 33.33),
        (2, 3, 66.66),  # cut: rounded it would be 66.67
        (3, 3, 100.0),
        (4, 3, 100.0),
        (99_999, 100_000, 99.99),
        (2**63 - 2, 2**63 - 1, 99.99),
    ],
)
def test_percent(part: int, whole: int, expected: float) -> None:
    assert percent(part, whole) == expected


@given(sizes, sizes)
def test_percent_is_whole_only_when_all_is_there(part: int, whole: int) -> None:
    value = percent(part, whole)
    assert 0 <= value <= 100
    assert value == round(value, 2)
    assert (value == 100) == (part >= whole > 0)


@given(sizes, sizes, st.integers(1, 2**63 - 1))
def test_more_bytes_are_never_a_smaller_percent(one: int, other: int, whole: int) -> None:
    less, more = sorted((one, other))
    assert percent(less, whole) <= percent(more, whole)


# Time left


@pytest.mark.parametrize(
    ("remaining", "speed", "expected"),
    [
        (None, 100.0, -1.0),
        (100, 0.0, -1.0),
        (None, 0.0, -1.0),
        (0, 0.0, 0.0),
        (0, 5.0, 0.0),
        (100, 40.0, 2.5),
        (100, 30.0, 3.3),
    ],
)
def test_time_left(remaining: int | None, speed: float, expected: float) -> None:
    assert time_left_s(remaining, speed) == expected


# The speed window


def test_speed_before_anything_came() -> None:
    assert SpeedWindow(10).bytes_per_s(10) == 0
    assert SpeedWindow(10).bytes_per_s(100) == 0


def test_speed_of_a_steady_stream() -> None:
    window = SpeedWindow(0)
    for second in range(1, 21):
        window.add(second, 1000)
    assert window.bytes_per_s(20) == 1000


def test_until_the_window_is_full_the_time_so_far_counts() -> None:
    window = SpeedWindow(0)
    window.add(2, 1000)
    assert window.bytes_per_s(2) == 500
    assert window.bytes_per_s(4) == 250


def test_speed_is_0_after_five_silent_seconds() -> None:
    window = SpeedWindow(0)
    window.add(1, 1000)
    assert window.bytes_per_s(5.9) == 200
    assert window.bytes_per_s(6) == 0
    assert window.bytes_per_s(1000) == 0
    window.add(1000, 500)
    assert window.bytes_per_s(1000) == 100


def test_a_first_burst_is_no_infinite_speed() -> None:
    window = SpeedWindow(3)
    window.add(3, 1000)
    assert window.bytes_per_s(3) == 10_000


def test_a_clock_set_back_makes_no_wild_speed() -> None:
    window = SpeedWindow(1000)
    for second in range(1001, 1010):
        window.add(second, 1000)
    assert window.bytes_per_s(500) == 0
    window.add(501, 1000)
    assert window.bytes_per_s(501) == 1000
    window.add(100, 50)
    assert window.bytes_per_s(101) == 50


steps = st.lists(st.tuples(st.floats(0, 8), st.integers(0, 10**12)), max_size=150)


@given(start=st.floats(0, 2e9), steps=steps, wait=st.floats(0, 8), asking=st.booleans())
def test_speed_against_a_naive_model(
    start: float, steps: list[tuple[float, int]], wait: float, asking: bool
) -> None:
    """Samples less than 0.1 s apart are one: bytes may be forgotten 0.1 s too early, none too late."""
    window, now, came = SpeedWindow(start), start, []
    for pause, count in steps:
        now += pause
        window.add(now, count)
        came.append((now, count))
        if asking:
            window.bytes_per_s(now)  # to ask changes nothing
    now += wait
    speed, elapsed = window.bytes_per_s(now), max(min(now - start, SPEED_WINDOW_S), 0.1)
    surely = sum(count for at, count in came if at > now - SPEED_WINDOW_S + 0.101)
    at_most = sum(count for at, count in came if at > now - SPEED_WINDOW_S - 0.001)
    assert 0 <= surely / elapsed * 0.999 <= speed <= at_most / elapsed * 1.001


def test_the_window_keeps_little_however_much_comes() -> None:
    window = SpeedWindow(0)
    for step in range(1, 100_001):
        window.add(step / 1000, 7)
        assert len(window._samples) <= 52
    assert window.bytes_per_s(100) == pytest.approx(7000, rel=0.03)


# The throttle: more than 0.5 s and at least 1 %, but every 5 s


def throttle() -> Throttle:
    return Throttle(interval_s=0.5, min_percent=1, at_least_s=5)


def test_the_first_is_always_sent() -> None:
    assert throttle().due(0, 0.0)
    assert throttle().due(0, None)


@pytest.mark.parametrize(
    ("at", "current", "sent"),
    [
        (100.5, 50.0, False),  # exactly 500 ms are not more than 500 ms
        (100.51, 11.0, True),  # exactly 1 % is at least 1 %
        (100.51, 10.99, False),
        (104.99, 10.99, False),
        (105.0, 10.0, True),  # at least every 5 s
        (100.1, 100.0, False),
        (100.51, 9.0, True),  # a new attempt begins below
        (100.51, 0.0, True),
        (100.5, None, False),
        (100.51, None, True),  # unknown length: only time counts
        (40.0, 11.0, True),  # the clock was set back
    ],
)
def test_when_the_next_is_sent(at: float, current: float | None, sent: bool) -> None:
    one = throttle()
    assert one.due(100.0, 10.0)
    assert one.due(at, current) is sent


def test_what_was_not_due_does_not_count_as_sent() -> None:
    one = throttle()
    one.due(0, 0)
    assert not one.due(0.4, 1)
    assert one.due(0.6, 1.5), "0.2 s after one that was swallowed"
    assert not one.due(1.2, 2)
    assert one.due(1.3, 2.5)


def test_one_sent_for_another_reason_counts() -> None:
    one = throttle()
    one.sent(10, 20)
    assert not one.due(10.4, 30)
    assert not one.due(11, 20.5)
    assert one.due(11, 21)


def test_after_one_of_unknown_length_any_percent_is_news() -> None:
    one = throttle()
    one.sent(0, None)
    assert one.due(0.6, 1)


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 100)), min_size=1, max_size=60))
def test_sent_ones_are_far_apart_yet_none_is_late(steps: list[tuple[float, float]]) -> None:
    one, now, sent = throttle(), 1000.0, [(1000.0, 0.0)]
    one.due(now, 0)
    for pause, current in steps:
        now += pause
        waited, moved = now - sent[-1][0], abs(current - sent[-1][1])
        assert one.due(now, current) == ((waited > 0.5 and moved >= 1) or waited >= 5)
        if (waited > 0.5 and moved >= 1) or waited >= 5:
            sent.append((now, current))
