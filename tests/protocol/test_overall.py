"""The session's status: the first rule that fits, held against the rules applied to a plain list."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.lifecycle import State
from penstock.protocol.overall import Tally, overall_status


class OneFile(NamedTuple):
    state: State
    appending: bool = False
    started: bool = True


def tally_of(files: list[OneFile]) -> Tally:
    tally = Tally()
    for file in files:
        tally.shift(file.state, +1)
        tally.appending += file.appending
        tally.started += file.started
    return tally


def by_the_rules(files: list[OneFile], *, latch: bool, lapsed: bool) -> str:
    """Past `retry_wait` a retrying file counts as ended and failed."""
    states = [State.FAILED if lapsed and file.state is State.RETRYING else file.state for file in files]
    ended = [state for state in states if state in (State.COMPLETED, State.FAILED, State.CANCELLED)]
    if not files:
        return "pending"
    if len(ended) == len(files):
        for every in (State.COMPLETED, State.CANCELLED):
            if set(states) == {every}:
                return every.value
        return "partial" if State.COMPLETED in states else "failed"
    if State.FINISHING in states or any(file.state is State.UPLOADING and file.appending for file in files):
        return "uploading"
    if latch or (State.PAUSED in states and State.RETRYING not in states):
        return "paused"
    return "uploading" if any(file.started for file in files) else "pending"


def files_of(text: str) -> list[OneFile]:
    """`pending`: never started; `uploading+`: with an append; `a 2*b`: one a and two b."""
    found = []
    for word in text.split():
        count, _, name = word.rpartition("*")
        state = State(name.rstrip("+"))
        found += [OneFile(state, name.endswith("+"), state is not State.PENDING)] * int(count or 1)
    return found


@pytest.mark.parametrize(
    ("files", "latch", "lapsed", "expected"),
    [
        ("", False, False, "pending"),
        ("", True, False, "pending"),
        ("2*completed", False, False, "completed"),
        ("2*completed", True, False, "completed"),
        ("2*cancelled", False, False, "cancelled"),
        ("completed failed", False, False, "partial"),
        ("completed cancelled", False, False, "partial"),
        ("failed cancelled", False, False, "failed"),
        ("2*failed", False, False, "failed"),
        ("pending uploading+", False, False, "uploading"),
        ("paused uploading+", False, False, "uploading"),
        ("paused uploading+", True, False, "uploading"),
        ("paused finishing", True, False, "uploading"),
        ("paused uploading", False, False, "paused"),  # in state uploading, but nothing moves
        ("paused pending", False, False, "paused"),
        ("paused completed", False, False, "paused"),
        ("paused retrying", False, False, "uploading"),
        ("paused retrying", True, False, "paused"),
        ("pending", True, False, "paused"),
        ("2*pending", False, False, "pending"),
        ("pending completed", False, False, "uploading"),
        ("uploading", False, False, "uploading"),
        ("retrying", False, False, "uploading"),
        ("retrying", False, True, "failed"),
        ("retrying", True, True, "failed"),
        ("retrying completed", False, True, "partial"),
        ("retrying cancelled", False, True, "failed"),
        ("retrying pending", False, True, "uploading"),
        ("retrying paused", False, True, "paused"),
        ("retrying uploading+", False, True, "uploading"),
    ],
)
def test_the_first_rule_that_fits(files: str, latch: bool, lapsed: bool, expected: str) -> None:
    assert overall_status(tally_of(files_of(files)), latch=latch, lapsed=lapsed) == expected


some_files = st.lists(
    st.one_of(
        st.sampled_from(State).map(OneFile),
        st.builds(OneFile, st.just(State.UPLOADING), st.just(True)),
        st.just(OneFile(State.PENDING, started=False)),
        st.just(OneFile(State.PAUSED, started=False)),
    ),
    max_size=5,
)


@given(some_files, st.booleans(), st.booleans())
def test_the_rules_over_any_files(files: list[OneFile], latch: bool, lapsed: bool) -> None:
    expected = by_the_rules(files, latch=latch, lapsed=lapsed)
    assert overall_status(tally_of(files), latch=latch, lapsed=lapsed).value == expected


@given(some_files, st.booleans())
def test_what_has_ended(files: list[OneFile], lapsed: bool) -> None:
    tally, states = tally_of(files), [file.state for file in files]
    failed = states.count(State.FAILED) + (states.count(State.RETRYING) if lapsed else 0)
    ended = failed + states.count(State.COMPLETED) + states.count(State.CANCELLED)
    assert tally.failed_for_good(lapsed=lapsed) == failed
    assert tally.all_ended(lapsed=lapsed) == (0 < len(files) == ended)


@given(st.lists(st.sampled_from(State), max_size=60), st.data())
def test_sums_after_any_moves_are_those_of_a_naive_count(states: list[State], data: st.DataObject) -> None:
    tally = Tally()
    for state in states:
        tally.shift(state, +1)
    for index in range(len(states)):
        moved = data.draw(st.none() | st.sampled_from(State))
        if moved is not None:
            tally.shift(states[index], -1)
            tally.shift(moved, +1)
            states[index] = moved
    counts = Counter(states)
    assert {state: getattr(tally, state.value) for state in State} == {
        state: counts[state] for state in State
    }
    assert tally.total == len(states)
    assert tally.unended == len(states) - sum(
        counts[s] for s in (State.COMPLETED, State.FAILED, State.CANCELLED)
    )


@pytest.mark.parametrize(
    ("tally", "expected"),
    [
        (Tally(), 0.0),
        (Tally(uploading=2, known_bytes=300, received_bytes=100), 33.33),
        (Tally(completed=2, known_bytes=300, received_bytes=300), 100.0),
        (Tally(uploading=1, known_bytes=100_000, received_bytes=99_999), 99.99),
        (Tally(uploading=2, completed=1), 33.33),  # no size is known: by files
        (Tally(uploading=1, completed=1, failed=1, cancelled=1), 50.0),  # what has failed is not waited for
        (Tally(failed=1), 0.0),
    ],
)
def test_percent(tally: Tally, expected: float) -> None:
    assert tally.percent() == expected


def test_every_state_has_its_count() -> None:
    assert {state.value for state in State} <= set(Tally.__struct_fields__)
