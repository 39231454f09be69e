"""Repeated commands: the first answer again, for a while, in bounded memory."""

from __future__ import annotations

from penstock.protocol.commands import UploadPause, UploadResume
from penstock.protocol.repeats import KEPT_S, MAX_BYTES, MOST, Asker, Repeats

SID = "550e8400-e29b-41d4-a716-446655440000"
ASKER = Asker("", "me", SID)
PAUSE = UploadPause(session_id=SID)


def test_the_first_answer_again_for_ten_minutes() -> None:
    repeats = Repeats()
    assert repeats.find(ASKER, "m", PAUSE, now=0) is None
    repeats.keep(ASKER, "m", PAUSE, {"n": 1}, now=0)
    assert repeats.find(ASKER, "m", PAUSE, now=KEPT_S) == {"n": 1}
    assert repeats.find(ASKER, "m", PAUSE, now=KEPT_S + 1) is None


def test_what_is_not_a_repetition() -> None:
    repeats = Repeats()
    repeats.keep(ASKER, "m", PAUSE, {}, now=0)
    assert repeats.find(ASKER, "other", PAUSE, now=1) is None
    assert repeats.find(ASKER, "m", UploadResume(session_id=SID), now=1) is None
    assert repeats.find(ASKER._replace(client_id="you"), "m", PAUSE, now=1) is None


def test_each_asker_has_so_many() -> None:
    repeats = Repeats()
    for number in range(MOST + 1):
        repeats.keep(ASKER, str(number), PAUSE, {"n": number}, now=0)
    assert len(repeats) == MOST
    assert repeats.find(ASKER, "0", PAUSE, now=0) is None
    assert repeats.find(ASKER, "1", PAUSE, now=0) == {"n": 1}


def test_memory_is_bounded_and_the_old_go() -> None:
    repeats = Repeats()
    big = {"text": "x" * (MAX_BYTES // 4)}
    for number in range(20):
        repeats.keep(ASKER._replace(client_id=str(number)), "m", PAUSE, big, now=number)
    assert len(repeats) == 3
    repeats.keep(ASKER, "m", PAUSE, {}, now=10_000)
    assert len(repeats) == 1
    huge = {"text": "x" * MAX_BYTES}
    repeats.keep(ASKER, "n", PAUSE, huge, now=10_001)
    assert len(repeats) == 0
    repeats.keep(ASKER, "n", PAUSE, {}, now=10_002)
    assert len(repeats) == 1
    for number in range(100):
        repeats.keep(ASKER, "n", PAUSE, {"text": "x" * 100_000}, now=10_003 + number)
    assert len(repeats) == 1, "an answer that replaces another gives its memory back"
