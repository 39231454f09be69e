"""Every (state, input) pair is decided, as the table below says: a copy of its own, in another notation."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.errors import WIRE, GatewayError, UploadLocked
from penstock.protocol.lifecycle import (
    ENDED,
    TRANSITIONS,
    UNFINISHED,
    Circumstances,
    ImpossibleInput,
    Input,
    State,
    advance,
)

TABLE = """
| | start / first byte | bytes end (more to come) | last byte | broke off | pause | resume | cancel | finished ok | fails for good |
|---|---|---|---|---|---|---|---|---|---|
| pending | uploading | pending | finishing | pending | paused | pending | cancelled | – | failed |
| uploading | uploading | uploading | finishing | retrying | paused | uploading | cancelled | – | failed |
| paused | refused (held, 423) | paused | – | paused | paused | pending if untouched, retrying if its last append broke off, else uploading | cancelled | – | failed |
| retrying | uploading | retrying | finishing | retrying | paused | retrying | cancelled | – | failed |
| finishing | refused 423 | finishing | – | finishing | refused 423 | finishing | cancelled if not yet published, else refused | completed | failed |
| completed | refused 409 | – | – | – | refused 409 | refused 409 | refused 409 | – | – |
| failed | uploading (see below) | – | – | – | refused 409 | refused 409 | failed (bytes removed) | – | – |
| cancelled | refused 410 | – | – | – | refused 410 | refused 410 | cancelled | – | – |
"""  # noqa: E501  # a table's rows are as long as they are

COLUMNS = {
    "start / first byte": Input.START,
    "bytes end (more to come)": Input.BYTES_END,
    "last byte": Input.LAST_BYTE,
    "broke off": Input.BROKE_OFF,
    "pause": Input.PAUSE,
    "resume": Input.RESUME,
    "cancel": Input.CANCEL,
    "finished ok": Input.FINISHED,
    "fails for good": Input.FAILS,
}


def parsed(table: str) -> dict[tuple[State, Input], str]:
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()]
    return {
        (State(row[0]), COLUMNS[column]): cell
        for row in rows
        for column, cell in zip(head[1:], row[1:], strict=True)
    }


CELLS = parsed(TABLE)
DEPENDS = {(State.PAUSED, Input.RESUME), (State.FINISHING, Input.CANCEL)}
PLAIN_CELLS = {pair: cell for pair, cell in CELLS.items() if pair not in DEPENDS}

circumstances = st.builds(Circumstances, st.booleans(), st.booleans(), st.booleans())


def outcome(state: State, got: Input, around: Circumstances) -> str:
    """What came of an input, in the words of the table."""
    try:
        return advance(state, got, around).value
    except ImpossibleInput:
        return "–"
    except GatewayError as refusal:
        return f"refused {refusal.wire.http}"


def in_short(cell: str) -> str:
    """`refused (held, 423)` → `refused 423`, `failed (bytes removed)` → `failed`."""
    status = re.search(r"refused.*(\d{3})", cell)
    return f"refused {status[1]}" if status else cell.split(" ")[0]


def test_the_table_decides_every_pair() -> None:
    pairs = {(state, got) for state in State for got in Input}
    assert set(CELLS) == pairs
    assert {(state, got) for state, row in TRANSITIONS.items() for got in row} == pairs


@pytest.mark.parametrize(("state", "got"), PLAIN_CELLS, ids=lambda value: value.value)
@given(around=circumstances)
def test_a_pair_is_decided_as_the_table_says(state: State, got: Input, around: Circumstances) -> None:
    assert outcome(state, got, around) == in_short(PLAIN_CELLS[state, got])


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        (Circumstances(untouched=True), State.PENDING),
        (Circumstances(untouched=True, broke_off=True), State.PENDING),
        (Circumstances(broke_off=True), State.RETRYING),
        (Circumstances(), State.UPLOADING),
    ],
)
def test_resume_goes_back_to_what_was_before_the_pause(around: Circumstances, expected: State) -> None:
    assert advance(State.PAUSED, Input.RESUME, around) is expected


def test_a_cancel_wins_until_the_file_is_published() -> None:
    assert advance(State.FINISHING, Input.CANCEL) is State.CANCELLED
    with pytest.raises(UploadLocked):
        advance(State.FINISHING, Input.CANCEL, Circumstances(published=True))


def test_without_circumstances_the_cells_say_it_all() -> None:
    """Who draws the table shows what `advance` does."""
    for state, row in TRANSITIONS.items():
        for got, cell in row.items():
            shown = "–" if cell is None else cell.value if isinstance(cell, State) else None
            assert outcome(state, got, Circumstances()) == (shown or f"refused {WIRE[cell].http}")  # type: ignore[index]  # neither None nor a state: an error's type


def test_a_refusal_says_what_was_refused_and_why() -> None:
    with pytest.raises(GatewayError) as caught:
        advance(State.COMPLETED, Input.PAUSE)
    assert "pause" in caught.value.message
    assert caught.value.details == {"status": "completed"}


def test_what_cannot_happen_is_no_answer_to_a_client() -> None:
    with pytest.raises(ImpossibleInput, match="finished cannot happen to a pending file") as caught:
        advance(State.PENDING, Input.FINISHED)
    assert not isinstance(caught.value, GatewayError)


def test_every_state_is_ended_or_unfinished() -> None:
    assert {State.COMPLETED, State.FAILED, State.CANCELLED} == ENDED
    assert set(State) == ENDED | UNFINISHED
    assert not ENDED & UNFINISHED


@given(st.lists(st.tuples(st.sampled_from(Input), circumstances), max_size=40))
def test_no_walk_leads_where_it_must_not(steps: list[tuple[Input, Circumstances]]) -> None:
    state, path = State.PENDING, [State.PENDING]
    for got, around in steps:
        try:
            state = advance(state, got, around)
        except (GatewayError, ImpossibleInput):
            continue
        if state is not path[-1]:
            path.append(state)
    for before, after in pairwise(path):
        assert before not in (State.COMPLETED, State.CANCELLED), "these are for ever"
        assert after is not State.COMPLETED or before is State.FINISHING
        assert before is not State.PAUSED or after is not State.FINISHING, "not one byte while paused"
        assert before is not State.FAILED or after is State.UPLOADING
