"""Heartbeats: when to ask, when to give up."""

from __future__ import annotations

from penstock.protocol.heartbeat import Beat, Heartbeat


def test_asks_after_silence_and_gives_up_later() -> None:
    heartbeat = Heartbeat(30, 5)
    assert heartbeat.deadline(100) == 130
    assert heartbeat.check(129, 100) is Beat.QUIET
    assert heartbeat.check(130, 100) is Beat.ASK
    assert heartbeat.deadline(100) == 135
    assert heartbeat.check(134, 100) is Beat.QUIET
    assert heartbeat.check(135, 100) is Beat.DEAD


def test_any_answer_starts_it_over() -> None:
    heartbeat = Heartbeat(30, 5)
    assert heartbeat.check(130, 100) is Beat.ASK
    assert heartbeat.deadline(130) == 160, "an answer in the same instant counts"
    assert heartbeat.check(135, 131) is Beat.QUIET
    assert heartbeat.check(161, 131) is Beat.ASK
    assert heartbeat.check(166, 131) is Beat.DEAD


def test_what_is_heard_while_waiting_moves_the_deadline() -> None:
    heartbeat = Heartbeat(30, 5)
    assert heartbeat.check(130, 110) is Beat.QUIET
    assert heartbeat.deadline(110) == 140
