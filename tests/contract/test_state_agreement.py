"""SQLite and the fake tell the same after any commits, refused ones included, and across reopening."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.protocol.lifecycle import State
from penstock.storage.errors import StoreError
from penstock.storage.state.base import (
    AddFact,
    AnswerRow,
    Change,
    DropAnswers,
    DropFinished,
    DropSession,
    FileRow,
    FinishedRow,
    SaveAnswer,
    SaveFile,
    SaveFinished,
    SaveSession,
    SessionRow,
    StaleFence,
    StateStore,
)
from penstock.storage.state.sqlite import SqliteState
from tests.fakes.state import FakeState

SESSIONS = ("s1", "s2")
FILES = ("f1", "f2", "f3")
UPLOADS = ("a0", "b1", "c2", "d3")
WATCH_KEYS = ("w1", "w2", "w3")
CATEGORIES = ("personal", "scenic")
NAMES = ("n1", "n2", None)
KEYS = ("k1", "k2")
FAR = 1e9

small = st.integers(0, 9)
times = st.integers(0, 9).map(float)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
session_ids = st.sampled_from(SESSIONS)

sessions = st.builds(
    SessionRow,
    session_id=session_ids,
    watch_key=st.sampled_from(WATCH_KEYS),
    category=st.sampled_from(CATEGORIES),
    subject=texts,
    created_at=times,
    active_at=times,
    open=st.booleans(),
    latch=st.booleans(),
    seq=small,
    ended_at=st.none() | times,
    metadata=st.dictionaries(texts, texts, max_size=2),
)
files = st.builds(
    FileRow,
    session_id=session_ids,
    file_id=st.sampled_from(FILES),
    position=small,
    upload_id=st.sampled_from(UPLOADS),
    file_name=texts,
    file_type=texts,
    file_size=st.none() | st.integers(0, 2**60),
    state=st.sampled_from(State),
    attempt=st.integers(1, 3),
    fence=st.integers(0, 3),
    synced=st.integers(0, 2**60),
    floor=st.none() | small,
    broke_off=st.booleans(),
    exempt=st.booleans(),
    stored_name=st.sampled_from(NAMES),
    started_at=st.none() | times,
    error_message=st.none() | texts,
)
finished = st.builds(
    FinishedRow,
    category=st.sampled_from(CATEGORIES),
    stored_name=st.sampled_from(("n1", "n2")),
    subject=texts,
    file_name=texts,
    file_type=texts,
    file_size=small,
    completed_at=times,
    digest=st.none() | texts,
)
answers = st.builds(
    AnswerRow,
    scope=st.just("scope"),
    key=st.sampled_from(KEYS),
    fingerprint=texts,
    session_id=session_ids,
    status=small,
    body=st.binary(max_size=5),
    created_at=times,
)
changes = st.one_of(
    st.builds(SaveSession, sessions),
    st.builds(SaveFile, files),
    st.builds(AddFact, session_ids, small, st.binary(max_size=5)),
    st.builds(SaveFinished, finished),
    st.builds(SaveAnswer, answers),
    st.builds(DropFinished, st.sampled_from(CATEGORIES), st.sampled_from(("n1", "n2"))),
    st.builds(DropSession, session_ids),
    st.builds(DropAnswers, times),
)
Step = list[Change] | None  # None: close and open again
steps = st.lists(st.none() | st.lists(changes, max_size=4), max_size=12)


async def everything(store: StateStore) -> list[object]:
    """All the store can tell. Only the order of what was registered at the same position is free."""
    loaded = [await store.load_session(session_id) for session_id in SESSIONS]
    return [
        [found and (found[0], sorted(found[1], key=lambda row: row.file_id)) for found in loaded],
        [[row.position for row in found[1]] for found in loaded if found],
        [await store.facts(session_id, after=-1, limit=99) for session_id in SESSIONS],
        [await store.oldest_fact(session_id) for session_id in SESSIONS],
        [await store.find_upload(upload_id) for upload_id in UPLOADS],
        [await store.find_watched(watch_key) for watch_key in WATCH_KEYS],
        [await store.find_answer("scope", key) for key in KEYS],
        [await store.find_finished(category, "n1") for category in CATEGORIES],
        [await store.unfinished_sessions(active_before=limit, limit=9) for limit in (4.0, FAR)],
        [await store.ended_sessions(ended_before=limit, limit=9) for limit in (4.0, FAR)],
        [await store.finished_before(completed_before=limit, limit=9) for limit in (4.0, FAR)],
        await store.finishing_files(),
        await store.known_blobs([f"{upload_id}.{attempt}" for upload_id in UPLOADS for attempt in (1, 2, 3)]),
        await store.known_names([(category, name) for category in CATEGORIES for name in ("n1", "n2")]),
        await store.reserved_bytes(),
        await store.counts(),
    ]


async def outcome(store: StateStore, commit: Sequence[Change], hard: bool) -> str:
    try:
        await store.commit(commit, hard=hard)
    except (StaleFence, StoreError) as error:
        return type(error).__name__
    return "done"


@settings(max_examples=60)
@given(steps=steps)
def test_both_agree(steps: list[Step]) -> None:
    async def play(path: Path) -> None:
        real, fake = await SqliteState.open(path, boot_id="b"), FakeState()
        try:
            for number, step in enumerate(steps):
                if step is None:
                    await real.aclose()
                    real = await SqliteState.open(path, boot_id="b")
                    continue
                hard = number % 2 == 0
                assert await outcome(real, step, hard) == await outcome(fake, step, hard)
            assert await everything(real) == await everything(fake)
        finally:
            await real.aclose()

    with TemporaryDirectory() as directory:
        trio.run(play, Path(directory) / "state.db")
