"""The ledger finds what is planted: lost bytes, offsets that go down, facts that are missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from tests.acceptance.content import Content
from tests.acceptance.watcher import Seen
from tests.soak.bodies import Body, Manner, Sin, script
from tests.soak.ledger import Entry, Excuses, Fate, Ledger, Story


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def entry(ledger: Ledger) -> Entry:
    entry = ledger.enter("tus", 100)
    entry.note_sent(80)
    return entry


def found_in(ledger: Ledger) -> list[str]:
    return [problem.what for problem in ledger.problems]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def complete(entry: Entry) -> None:
    entry.compare("right", "right", "here")
    entry.end(Fate.COMPLETED)
    entry.let_go()


def test_an_upload_as_it_should_be(ledger: Ledger, entry: Entry) -> None:
    for offset in (0, 40, 40, 80):
        entry.announce(offset, entry.announced)
    complete(entry)
    ledger.close()
    assert ledger.problems == []
    assert ledger.counts["tus: completed"] == 1
    assert ledger.kept_bytes == 100


PLANTED: dict[str, list[Callable[[Entry], None]]] = {
    "offset 39 after 40": [lambda entry: entry.announce(40, 0), lambda entry: entry.announce(39, 40)],
    "offset 81, but only 80": [lambda entry: entry.announce(81, 0)],
    "attempt 1 after 2": [lambda entry: entry.announce(0, 0, 2), lambda entry: entry.announce(0, 0, 1)],
    "other bytes on the disk": [lambda entry: entry.compare("a", "b", "on the disk")],
    "cancelled by nobody": [lambda entry: entry.end(Fate.CANCELLED)],
    "completed after completed": [complete, lambda entry: entry.end(Fate.COMPLETED)],
    "never compared": [lambda entry: entry.end(Fate.COMPLETED), lambda entry: entry.let_go()],
}


@pytest.mark.parametrize("found", PLANTED)
def test_what_is_planted_is_found(ledger: Ledger, entry: Entry, found: str) -> None:
    for step in PLANTED[found]:
        step(entry)
    assert len(ledger.problems) == 1
    assert found in ledger.problems[0].what
    assert ledger.problems[0].who == "file 0 (tus, 100 bytes)"


def test_one_lost_byte_is_found(ledger: Ledger, entry: Entry) -> None:
    content = Content(100, seed=1)
    stored = b"".join(content.pieces())
    entry.compare(content.sha256(), digest(stored), "on the disk")
    assert ledger.problems == []
    entry.compare(content.sha256(), digest(stored[:-1]), "on the disk")
    entry.compare(content.sha256(), digest(stored[:50] + stored[51:] + stored[50:51]), "on the disk")
    assert len(ledger.problems) == 2


def test_an_upload_that_never_ends_is_found(ledger: Ledger, entry: Entry) -> None:
    entry.announce(40, 0)
    ledger.close()
    assert found_in(ledger) == ["never ended: under way, 40 of 100 bytes promised"]


def test_answers_may_overtake_each_other(ledger: Ledger, entry: Entry) -> None:
    """An offset is only held against what was known before it was asked for."""
    floor = entry.announced
    entry.announce(80, floor)
    entry.announce(40, floor)
    assert ledger.problems == []
    assert entry.announced == 80


def test_a_new_attempt_begins_at_zero(ledger: Ledger, entry: Entry) -> None:
    entry.announce(80, 0, attempt=1)
    entry.announce(10, 80, attempt=2)
    entry.begin_attempt()
    entry.announce(0, entry.announced)
    assert ledger.problems == []


# Watchers


def fact(seq: int, name: str = "upload-started", file_id: str | None = "f") -> Seen:
    return Seen(name, {"seq": seq, "epoch": "e", "fileId": file_id}, seq, "session:s")


def progress(seq: int) -> Seen:
    return fact(seq, "upload-progress")


@pytest.fixture
def story(ledger: Ledger) -> Story:
    story = Story(ledger, "a watcher")
    story.subscribed(recovered=False, since=None, sequence=4)
    return story


def test_a_story_over_two_connections(ledger: Ledger, story: Story) -> None:
    for event in (progress(4), fact(5), progress(5), fact(6)):
        story.told(event)
    story.subscribed(recovered=True, since=6, sequence=9)
    for event in (fact(7), fact(8, "upload-completed"), fact(9, "session-completed", None)):
        story.told(event)
    assert ledger.problems == []


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([fact(6)], "fact 6 (upload-started) after fact 4"),
        ([fact(5), fact(5)], "fact 5 (upload-started) after fact 5"),
        ([progress(3)], "progress of fact 3 after fact 4"),
        ([progress(5)], "progress of fact 5 after fact 4"),
        (
            [fact(5, "upload-completed"), fact(6, "upload-cancelled")],
            "upload-cancelled of f, which had ended",
        ),
        (
            [fact(5, "session-completed", None), fact(6, "session-completed", None)],
            "session-completed twice, and nothing in between",
        ),
    ],
    ids=["gap", "double", "progress of the past", "progress of the future", "two ends", "two completions"],
)
def test_gaps_and_doubles_are_found(ledger: Ledger, story: Story, events: list[Seen], found: str) -> None:
    for event in events:
        story.told(event)
    assert found_in(ledger) == [found]


def test_a_session_that_went_on_completes_again(ledger: Ledger, story: Story) -> None:
    """Its file had failed by the retry limit, and was gone on with."""
    for event in (fact(5, "session-completed", None), fact(6), fact(7, "session-completed", None)):
        story.told(event)
    assert found_in(ledger) == []


def test_who_says_where_they_were_must_miss_nothing(ledger: Ledger, story: Story) -> None:
    story.subscribed(recovered=False, since=4, sequence=9)
    assert found_in(ledger) == ["facts after 4 were not recovered"]


def test_a_store_that_takes_no_fact_is_told_of_without_one(ledger: Ledger, story: Story) -> None:
    for event in (fact(5), fact(5, "session-error", None), fact(6)):
        story.told(event)
    assert found_in(ledger) == []


# Excuses


def test_an_excuse_holds_for_its_time_and_a_little_longer() -> None:
    excuses = Excuses()
    now = 100.0
    with excuses.during("kill", lambda: now, grace_s=3.0):
        assert excuses.at(1000.0) == "kill"  # as long as it goes on
        now = 110.0
    assert excuses.at(99.9) is None
    assert excuses.at(100.0) == excuses.at(113.0) == "kill"
    assert excuses.at(113.1) is None
    assert excuses.between(90.0, 100.0) == excuses.between(113.0, 200.0) == "kill"
    assert excuses.between(90.0, 99.0) is None
    assert excuses.between(114.0, 200.0) is None


# Bodies


@pytest.mark.parametrize(
    ("manner", "steps", "sent"),
    [
        (Manner(), [b"abcd", b"efgh"], 8),
        (Manner(Sin.RESET, 5), [b"abcd", b"e", Sin.RESET], 5),
        (Manner(Sin.CLOSE, 0), [b"", Sin.CLOSE], 0),
        (Manner(Sin.STALL, 4, 1.5), [b"abcd", b"", 1.5, b"efgh"], 8),
        (Manner(Sin.SLOW, 0, 0.1), [b"abcd", 0.1, b"efgh", 0.1], 8),
    ],
    ids=lambda value: value.sin.value if isinstance(value, Manner) else "",
)
def test_how_a_body_is_sent(manner: Manner, steps: list[object], sent: int) -> None:
    noted: list[int] = []
    assert list(script(Body(8, (b"abcd", b"efgh"), noted.append), manner)) == steps
    assert noted[-1] == sent
