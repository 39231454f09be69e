"""What every state store must do: one test for each promise of `storage/state/base.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import assert_checkpoints

from penstock.protocol.lifecycle import ENDED, State
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
from tests.contract.stepping import stepped
from tests.contract.stores import KEPT_FACTS, STATE_STORES


@pytest.fixture(params=STATE_STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStore]:
    async with STATE_STORES[request.param](tmp_path) as opened:
        yield opened


def session(session_id: str = "s1", **fields: object) -> SessionRow:
    plain = {"watch_key": f"watch-{session_id}", "category": "personal", "subject": "ann"}
    times = {"created_at": 100.0, "active_at": 100.0}
    return msgspec.convert({"session_id": session_id, **plain, **times, **fields}, SessionRow)


def file(file_id: str = "f1", session_id: str = "s1", **fields: object) -> FileRow:
    plain = {"file_name": "相片 ☃.jpg", "file_type": "image/jpeg", "file_size": 1000, "position": 0}
    ids = {"file_id": file_id, "session_id": session_id, "upload_id": f"{session_id}{file_id}".encode().hex()}
    return msgspec.convert({**ids, **plain, **fields}, FileRow)


def finished(stored_name: str = "n1", **fields: object) -> FinishedRow:
    plain = {"category": "personal", "subject": "ann", "file_name": "a", "file_type": "b", "file_size": 5}
    return msgspec.convert(
        {"stored_name": stored_name, **plain, "completed_at": 100.0, **fields}, FinishedRow
    )


def answer(key: str = "k1", **fields: object) -> AnswerRow:
    plain = {
        "scope": "ann POST /",
        "fingerprint": "ff",
        "session_id": "s1",
        "status": 201,
        "created_at": 100.0,
    }
    return AnswerRow(**{"key": key, "body": b'{"\x00": 1}', **plain, **fields})  # type: ignore[arg-type]  # test data


async def commit(store: StateStore, *changes: Change, hard: bool = True) -> None:
    await store.commit(changes, hard=hard)


async def test_every_call_is_a_checkpoint(store: StateStore) -> None:
    with assert_checkpoints():
        await store.commit((SaveSession(session()), SaveFile(file())), hard=True)
    with assert_checkpoints():
        await store.commit((AddFact("s1", 1, b"{}"),), hard=False)
    with assert_checkpoints():
        await store.commit((), hard=False)
    with assert_checkpoints():
        await store.load_session("s1")
    with assert_checkpoints():
        await store.facts("s1", after=0, limit=10)
    with assert_checkpoints():
        await store.oldest_fact("s1")
    with assert_checkpoints():
        await store.find_upload("00")
    with assert_checkpoints():
        await store.find_watched("00")
    with assert_checkpoints():
        await store.find_finished("personal", "n")
    with assert_checkpoints():
        await store.find_answer("a", "b")
    with assert_checkpoints():
        await store.unfinished_sessions(active_before=1.0, limit=1)
    with assert_checkpoints():
        await store.ended_sessions(ended_before=1.0, limit=1)
    with assert_checkpoints():
        await store.finished_before(completed_before=1.0, limit=1)
    with assert_checkpoints():
        await store.finishing_files()
    with assert_checkpoints():
        await store.known_blobs(["00.1"])
    with assert_checkpoints():
        await store.known_names([("a", "b")])
    with assert_checkpoints():
        await store.reserved_bytes()
    with assert_checkpoints():
        await store.counts()


async def test_an_empty_store_has_nothing(store: StateStore) -> None:
    assert store.epoch
    assert store.boot_id == "boot-1"
    assert await store.load_session("s1") is None
    assert await store.facts("s1", after=0, limit=10) == []
    assert await store.oldest_fact("s1") is None
    assert await store.find_upload("00") is None
    assert await store.find_watched("00") is None
    assert await store.find_finished("personal", "n") is None
    assert await store.find_answer("a", "b") is None
    assert await store.finishing_files() == []
    assert await store.known_blobs(["00.1", "00", ""]) == set()
    assert await store.known_names([("a", "b")]) == set()
    assert await store.reserved_bytes() == 0
    assert await store.counts() == dict.fromkeys(("sessions", "files", "facts", "finished", "answers"), 0)


FULL_SESSION = session(open=True, latch=True, seq=7, ended_at=123.456789, metadata={"a": "\"'\n☃", "": ""})
FULL_FILE = file(
    state="retrying", attempt=2, fence=1 << 40, synced=1 << 45, floor=0, promise="never", boot_id="b",
    broke_off=True, retry_count=2, resumable_after_failure=True, exempt=True, stored_name="n", digest="sha",
    started_at=1.5, ended_at=2.5, error_code="E", error_message="m", file_size=1 << 60,
)  # fmt: skip
PLAIN_FILE = file("f2", position=1, file_size=None)


async def test_rows_come_back_as_they_were(store: StateStore) -> None:
    await commit(store, SaveSession(FULL_SESSION), SaveFile(FULL_FILE), SaveFile(PLAIN_FILE))
    loaded = await store.load_session("s1")
    assert loaded == (FULL_SESSION, [FULL_FILE, PLAIN_FILE])
    assert loaded[1][0].state is State.RETRYING
    assert loaded[1][0].broke_off is True
    row, given = finished(digest="d"), answer()
    await commit(store, SaveFinished(row), SaveAnswer(given))
    assert await store.find_finished("personal", "n1") == row
    assert await store.find_answer("ann POST /", "k1") == given


async def test_saving_again_replaces(store: StateStore) -> None:
    await commit(
        store, SaveSession(session()), SaveFile(file()), SaveFinished(finished()), SaveAnswer(answer())
    )
    await commit(
        store,
        SaveSession(session(seq=9, metadata={"k": "v"})),
        SaveFile(file(synced=5)),
        SaveFinished(finished(subject="bob")),
        SaveAnswer(answer(status=409)),
    )
    assert await store.load_session("s1") == (session(seq=9, metadata={"k": "v"}), [file(synced=5)])
    assert await store.find_finished("personal", "n1") == finished(subject="bob")
    assert await store.find_answer("ann POST /", "k1") == answer(status=409)


async def test_loaded_rows_are_the_callers_own(store: StateStore) -> None:
    await commit(store, SaveSession(session(metadata={"a": "b"})), SaveFile(file()))
    loaded = await store.load_session("s1")
    assert loaded is not None
    loaded[0].metadata["a"] = "changed"
    loaded[1][0].synced = 77
    assert await store.load_session("s1") == (session(metadata={"a": "b"}), [file()])


async def test_rows_are_copied_before_commit_yields(store: StateStore) -> None:
    row, own = file(), session(metadata={"a": "b"})

    def change() -> None:
        row.synced = 77
        own.metadata["a"] = "changed"

    await stepped(commit(store, SaveSession(own), SaveFile(row)), change)
    assert await store.load_session("s1") == (session(metadata={"a": "b"}), [file()])


async def test_a_begun_commit_is_not_cancelled(store: StateStore) -> None:
    done = []

    async def save(session_id: str) -> None:
        with trio.CancelScope() as scope:
            await stepped(commit(store, SaveSession(session(session_id))), scope.cancel)
            done.append(session_id)

    async with trio.open_nursery() as nursery:
        for session_id in ("s1", "s2", "s3"):
            nursery.start_soon(save, session_id)
    assert set(done) == {"s1", "s2", "s3"}
    assert (await store.counts())["sessions"] == 3


async def test_a_cancelled_caller_commits_nothing(store: StateStore) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await commit(store, SaveSession(session()))
    assert scope.cancelled_caught
    assert await store.load_session("s1") is None


async def test_commits_keep_their_order(store: StateStore) -> None:
    async def save(seq: int, task_status: trio.TaskStatus[None]) -> None:
        changes = (SaveSession(session(seq=seq)), AddFact("s1", seq, b"%d" % seq))
        await stepped(store.commit(changes, hard=seq % 3 == 0), task_status.started)

    async with trio.open_nursery() as nursery:
        for seq in range(1, 10):
            await nursery.start(save, seq)
    loaded = await store.load_session("s1")
    assert loaded is not None
    assert loaded[0].seq == 9
    assert await store.facts("s1", after=0, limit=99) == [(seq, b"%d" % seq) for seq in range(1, 10)]


async def test_the_order_within_a_commit_counts(store: StateStore) -> None:
    await commit(store, SaveSession(session()), SaveFile(file()), AddFact("s1", 1, b"old"))
    await commit(store, DropSession("s1"), SaveSession(session(seq=1)), AddFact("s1", 1, b"new"))
    assert await store.load_session("s1") == (session(seq=1), [])
    assert await store.facts("s1", after=0, limit=9) == [(1, b"new")]


async def test_a_stale_fence_refuses_the_whole_commit(store: StateStore) -> None:
    await commit(store, SaveSession(session()), SaveFile(file(fence=5)))
    with pytest.raises(StaleFence):
        await commit(store, AddFact("s1", 1, b""), SaveFile(file("f2")), SaveFile(file(fence=4, synced=9)))
    assert await store.load_session("s1") == (session(), [file(fence=5)])
    assert await store.facts("s1", after=0, limit=9) == []


@pytest.mark.parametrize("fence", [5, 6])
async def test_the_same_fence_and_a_newer_one_pass(store: StateStore, fence: int) -> None:
    await commit(store, SaveSession(session()), SaveFile(file(fence=5)))
    await commit(store, SaveFile(file(fence=fence, synced=9)))
    assert await store.load_session("s1") == (session(), [file(fence=fence, synced=9)])


@pytest.mark.parametrize(
    "refused",
    [SaveFile(file("f2", upload_id=file().upload_id)), SaveSession(session("s2", watch_key="watch-s1")),
     AddFact("s1", 1, b"again")],
    ids=["upload id", "watch key", "seq"],
)  # fmt: skip
async def test_what_must_be_unique_is(store: StateStore, refused: Change) -> None:
    await commit(store, SaveSession(session()), SaveFile(file()), AddFact("s1", 1, b"first"))
    with pytest.raises(StoreError):
        await commit(store, SaveSession(session(seq=5)), refused)
    assert await store.load_session("s1") == (session(), [file()])
    assert await store.facts("s1", after=0, limit=9) == [(1, b"first")]


async def test_one_refused_commit_does_not_spoil_its_neighbours(store: StateStore) -> None:
    await commit(store, SaveFile(file(fence=5)))
    outcomes: dict[int, str] = {}

    async def save(number: int, session_id: str, change: Change) -> None:
        try:
            await commit(store, AddFact(session_id, number, b""), change)
        except (StaleFence, StoreError) as error:
            outcomes[number] = type(error).__name__
        else:
            outcomes[number] = "done"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(save, 1, "s4", SaveFile(file("f4", session_id="s4")))
        nursery.start_soon(save, 2, "s1", SaveFile(file(fence=4)))
        nursery.start_soon(save, 3, "s2", AddFact("s2", 3, b""))
        nursery.start_soon(save, 4, "s3", SaveFile(file("f3", session_id="s3")))
    assert outcomes == {1: "done", 2: "StaleFence", 3: "StoreError", 4: "done"}
    for session_id, kept in {"s1": [], "s2": [], "s3": [4], "s4": [1]}.items():
        assert [seq for seq, _ in await store.facts(session_id, after=0, limit=9)] == kept


async def test_files_come_in_order_of_registration(store: StateStore) -> None:
    files = [file(f"f{9 - position}", position=position) for position in range(5)]
    await commit(store, SaveSession(session()), *(SaveFile(row) for row in reversed(files)))
    await commit(store, SaveFile(file("f1", session_id="s2")))
    assert await store.load_session("s1") == (session(), files)


async def test_facts_after_a_seq(store: StateStore) -> None:
    await commit(store, *(AddFact("s1", seq, b"%d" % seq) for seq in range(1, 6)), AddFact("s2", 1, b"x"))
    assert await store.facts("s1", after=0, limit=99) == [(seq, b"%d" % seq) for seq in range(1, 6)]
    assert await store.facts("s1", after=3, limit=99) == [(4, b"4"), (5, b"5")]
    assert await store.facts("s1", after=1, limit=2) == [(2, b"2"), (3, b"3")]
    assert await store.facts("s1", after=5, limit=99) == []
    assert await store.oldest_fact("s1") == 1


async def test_the_newest_facts_stay(store: StateStore) -> None:
    for seq in range(1, 5 * KEPT_FACTS):
        await commit(store, AddFact("s1", seq, b""), AddFact("s2", seq, b""), hard=False)
    newest = 5 * KEPT_FACTS - 1
    kept = [seq for seq, _ in await store.facts("s1", after=0, limit=999)]
    assert kept == list(range(newest - len(kept) + 1, newest + 1))
    assert KEPT_FACTS <= len(kept) <= KEPT_FACTS * 1.01
    assert await store.oldest_fact("s1") == kept[0]


async def test_finding_by_what_a_client_knows(store: StateStore) -> None:
    await commit(store, SaveSession(session()), SaveFile(file()), SaveFile(file("f2")))
    assert await store.find_upload(file("f2").upload_id) == ("s1", "f2")
    assert await store.find_watched("watch-s1") == "s1"
    assert await store.find_finished("scenic", "n1") is None
    assert await store.find_answer("ann POST /", "k2") is None


async def test_dropping_a_session_takes_what_is_its_own(store: StateStore) -> None:
    for session_id in ("s1", "s2"):
        await commit(
            store,
            SaveSession(session(session_id)),
            SaveFile(file("f1", session_id)),
            AddFact(session_id, 1, b""),
            SaveAnswer(answer(f"key {session_id}", session_id=session_id)),
        )
    await commit(store, SaveFinished(finished()))
    await commit(store, DropSession("s1"), DropSession("never was"))
    assert await store.load_session("s1") is None
    assert await store.facts("s1", after=0, limit=9) == []
    assert await store.find_watched("watch-s1") is None
    assert await store.find_upload(file().upload_id) is None
    assert await store.counts() == dict.fromkeys(("sessions", "files", "facts", "finished", "answers"), 1)
    assert await store.find_answer("ann POST /", "key s2") is not None


async def test_dropping_finished_files_and_answers(store: StateStore) -> None:
    await commit(store, SaveFinished(finished("n1")), SaveFinished(finished("n2")))
    await commit(store, DropFinished("personal", "n1"), DropFinished("scenic", "n2"))
    assert await store.find_finished("personal", "n1") is None
    assert await store.find_finished("personal", "n2") == finished("n2")
    await commit(store, *(SaveAnswer(answer(f"k{age}", created_at=float(age))) for age in range(4)))
    await commit(store, DropAnswers(created_before=2.0))
    assert [await store.find_answer("ann POST /", f"k{age}") for age in range(4)] == [
        None, None, answer("k2", created_at=2.0), answer("k3", created_at=3.0),
    ]  # fmt: skip


async def test_sessions_by_age(store: StateStore) -> None:
    for number in range(5):
        ended_at = 50.0 - number if number > 2 else None
        await commit(store, SaveSession(session(f"s{number}", active_at=9.0 - number, ended_at=ended_at)))
    assert await store.unfinished_sessions(active_before=8.0, limit=9) == ["s2"]
    assert await store.unfinished_sessions(active_before=99.0, limit=9) == ["s2", "s1", "s0"]
    assert await store.unfinished_sessions(active_before=99.0, limit=2) == ["s2", "s1"]
    assert await store.ended_sessions(ended_before=47.0, limit=9) == ["s4"]
    assert await store.ended_sessions(ended_before=99.0, limit=9) == ["s4", "s3"]
    assert await store.ended_sessions(ended_before=99.0, limit=1) == ["s4"]


async def test_a_session_that_goes_on_is_unfinished_again(store: StateStore) -> None:
    await commit(store, SaveSession(session(ended_at=5.0)))
    await commit(store, SaveSession(session(ended_at=None)))
    assert await store.ended_sessions(ended_before=99.0, limit=9) == []
    assert await store.unfinished_sessions(active_before=999.0, limit=9) == ["s1"]


async def test_finished_files_by_age(store: StateStore) -> None:
    rows = [finished(f"n{age}", completed_at=float(age)) for age in range(4)]
    await commit(store, *(SaveFinished(row) for row in reversed(rows)))
    assert await store.finished_before(completed_before=3.0, limit=9) == rows[:3]
    assert await store.finished_before(completed_before=99.0, limit=2) == rows[:2]


async def test_files_whose_finishing_was_interrupted(store: StateStore) -> None:
    states = (State.FINISHING, State.PENDING, State.COMPLETED, State.FINISHING)
    files = [file(f"f{number}", state=state.value) for number, state in enumerate(states)]
    await commit(store, *(SaveFile(row) for row in files))
    assert await store.finishing_files() == [("s1", "f0"), ("s1", "f3")]


@pytest.mark.parametrize("resumable", [False, True])
@pytest.mark.parametrize("state", State)
async def test_whose_bytes_are_known(store: StateStore, state: State, resumable: bool) -> None:
    row = file(state=state.value, attempt=2, resumable_after_failure=resumable)
    await commit(store, SaveFile(row))
    upload = row.upload_id
    known = await store.known_blobs(
        [f"{upload}.1", f"{upload}.2", f"{upload}.02", upload, "ff.2", f"{upload}."]
    )
    gone = state in (State.COMPLETED, State.CANCELLED) or (state is State.FAILED and not resumable)
    assert known == (set() if gone else {f"{upload}.2"})


@pytest.mark.parametrize("state", State)
async def test_whose_names_are_known(store: StateStore, state: State) -> None:
    row = file(state=state.value, stored_name="n2")
    await commit(store, SaveSession(session()), SaveFile(row), SaveFinished(finished("n1")))
    asked = [("personal", "n1"), ("scenic", "n1"), ("personal", "n2"), ("scenic", "n2"), ("personal", "n3")]
    known = {("personal", "n1")} | ({("personal", "n2")} if state is State.FINISHING else set())
    assert await store.known_names(asked) == known


async def test_reserved_bytes(store: StateStore) -> None:
    await commit(
        store,
        SaveFile(file("f1", file_size=1000, synced=300)),
        SaveFile(file("f2", file_size=None, synced=300)),
        SaveFile(file("f3", file_size=10, synced=300)),
        SaveFile(file("f4", file_size=50, state="paused")),
        *(SaveFile(file(state.value, state=state.value)) for state in ENDED),
    )
    assert await store.reserved_bytes() == 750
    await commit(store, SaveFile(file("f4", file_size=50, state="cancelled")))
    assert await store.reserved_bytes() == 700


async def test_what_is_counted(store: StateStore) -> None:
    await commit(
        store, SaveSession(session()), SaveFile(file()), SaveFile(file("f2")), SaveFinished(finished())
    )
    await commit(store, *(AddFact("s1", seq, b"") for seq in (1, 2, 3)), SaveAnswer(answer()))
    assert await store.counts() == {"sessions": 1, "files": 2, "facts": 3, "finished": 1, "answers": 1}
