"""What is not acknowledged is sent again, a bounded number of times."""

from __future__ import annotations

import math

from penstock.protocol.unacked import MOST, Unacked


def test_three_times_every_five_seconds_then_never() -> None:
    unacked = Unacked[str]()
    assert unacked.due_at() == math.inf
    unacked.sent("m", "frame", now=100)
    assert unacked.take_due(104.9) == []
    for due_at in (105, 110, 115):
        assert unacked.due_at() == due_at
        assert unacked.take_due(due_at) == ["frame"]
    assert unacked.due_at() == math.inf
    assert len(unacked) == 0


def test_an_ack_ends_it() -> None:
    unacked = Unacked[str]()
    unacked.sent("a", "A", now=0)
    unacked.sent("b", "B", now=1)
    unacked.acked("a")
    unacked.acked("never heard of")
    assert unacked.due_at() == 6
    assert unacked.take_due(100) == ["B"]


def test_sent_anew_waits_anew() -> None:
    unacked = Unacked[str]()
    unacked.sent("a", "A", now=0)
    unacked.sent("b", "B", now=1)
    unacked.sent("a", "A", now=2)
    assert unacked.take_due(6) == ["B"]
    assert unacked.due_at() == 7


def test_it_is_bounded_and_gives_up_the_oldest() -> None:
    unacked = Unacked[int]()
    for number in range(MOST + 10):
        unacked.sent(str(number), number, now=number)
    assert len(unacked) == MOST
    assert unacked.take_due(10 + 5) == [10]
