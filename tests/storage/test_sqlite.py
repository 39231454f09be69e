"""SQLite beyond the contract: group commit, hard and soft, epochs, crashes, and what it refuses to open."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from penstock.protocol.lifecycle import State
from penstock.storage.disk import Disk
from penstock.storage.errors import StoreError, StoreFull
from penstock.storage.state import queries
from penstock.storage.state.base import AddFact, Change, DropFinished, FileRow, SaveFile, StaleFence
from penstock.storage.state.changes import prepared
from penstock.storage.state.database import Database
from penstock.storage.state.rows import ANSWERS, FILES, FINISHED, SESSIONS
from penstock.storage.state.schema import MIGRATIONS
from penstock.storage.state.sqlite import SqliteState, kernel_boot_id
from tests.contract.stepping import stepped
from tests.storage.gate import Gate


def opened(path: Path, boot_id: str = "boot-1") -> Database:
    return Database(path / "state.db", boot_id)


def fact(seq: int, size_bytes: int = 0) -> AddFact:
    return AddFact("s1", seq, bytes(size_bytes))


async def begin(commit: Coroutine[Any, Any, None], task_status: trio.TaskStatus[None]) -> None:
    """Started when the commit has taken its place in the queue."""
    await stepped(commit, task_status.started)


def file(**fields: Any) -> FileRow:
    plain = {"session_id": "s1", "file_id": "f1", "position": 0, "upload_id": "ff", "file_name": "n"}
    return FileRow(**{**plain, "file_type": "t", "file_size": 1, **fields})


def crashed(path: Path, aside: Path) -> Path:
    """What is on the disk now, as a crash would leave it: the database and its log, not closed."""
    shutil.copytree(path, aside)
    return aside


# Commits of many askers.


async def test_those_who_ask_together_share_one_transaction(tmp_path: Path) -> None:
    async with await SqliteState.open(tmp_path / "state.db") as state:
        async with trio.open_nursery() as nursery:
            for seq in range(1, 17):
                nursery.start_soon(partial(state.commit, (fact(seq),), hard=True))
        statistics = state.statistics
        assert (statistics.commits, statistics.groups) == (16, 2)  # the first alone, then all who waited
        assert len(await state.facts("s1", after=0, limit=99)) == 16


async def test_a_group_is_synced_if_one_of_it_has_to_be(tmp_path: Path) -> None:
    async with await SqliteState.open(tmp_path / "state.db") as state:
        await state.commit((fact(1),), hard=False)
        assert (state.statistics.groups, state.statistics.hard_groups) == (1, 0)
        gate = Gate()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(state.thread.run, gate)
            await gate.wait_inside()
            for seq, hard in enumerate((False, False, True, False), start=2):
                await nursery.start(begin, state.commit((fact(seq),), hard=hard))
            gate.let_go()
        assert (state.statistics.groups, state.statistics.hard_groups) == (3, 1)


@pytest.mark.parametrize(("hard", "synchronous"), [(True, 2), (False, 1)])
def test_hard_is_full_and_soft_is_normal(tmp_path: Path, hard: bool, synchronous: int) -> None:
    database = opened(tmp_path)
    for kind in (not hard, hard):
        database.commit([prepared([fact(kind)], 100)], kind)
    assert database.select("PRAGMA synchronous") == [(synchronous,)]
    database.close()


def test_who_fails_fails_alone(tmp_path: Path) -> None:
    database = opened(tmp_path)
    commits: list[list[Change]] = [
        [SaveFile(file(fence=2))],
        [fact(1), SaveFile(file(fence=1))],
        [fact(1), SaveFile(file(file_id="f2", upload_id="aa", file_name="\ud800"))],
        [fact(1), SaveFile(file(file_id="f2", upload_id="aa", file_size=1 << 63))],
        [AddFact("s2", 1, b"")],
    ]
    outcomes = database.commit([prepared(changes, 100) for changes in commits], True)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [type(None), StaleFence, StoreError, StoreError, type(None)]
    assert queries.facts(database, "s2", 0, 9) == [(1, b"")]
    assert queries.counts(database) == {**queries.counts(database), "files": 1, "facts": 1}
    database.close()


@pytest.mark.parametrize("count", [1, 29, 30, 31, 32, 33, 64, 65, 200])
def test_many_rows_are_as_many_single_ones(tmp_path: Path, count: int) -> None:
    database = opened(tmp_path)
    rows = [file(file_id=f"{n:04}", upload_id=f"{n:04x}", position=n, fence=1) for n in range(count)]
    changes: list[Change] = [*map(SaveFile, rows), *(fact(n + 1, n) for n in range(count))]
    assert database.commit([prepared(changes, 10**6)], True) == [None]
    assert queries.facts(database, "s1", 0, 999) == [(n + 1, bytes(n)) for n in range(count)]
    for row in rows:
        row.file_name = "new"
    assert database.commit([prepared([*map(SaveFile, rows)], 10**6)], True) == [None]
    found = database.select(f"{FILES.select} ORDER BY position")
    assert [FILES.row(values) for values in found] == rows
    rows[count // 2].fence = 0
    (outcome,) = database.commit([prepared([fact(999), *map(SaveFile, rows)], 10**6)], True)
    assert isinstance(outcome, StaleFence)
    assert queries.counts(database) == {**queries.counts(database), "files": count, "facts": count}
    database.close()


def test_a_batch_needs_few_executions() -> None:
    def executions(changes: list[Change]) -> int:
        return sum(len(rows) for batch in prepared(changes, 10**6).batches for _, rows in batch.pieces())

    rows: list[Change] = [SaveFile(file(file_id=f"{n}")) for n in range(256)]
    at_once = 999 // len(FILES.columns)
    assert executions(rows) == 256 // at_once + 256 % at_once
    assert executions([fact(n + 1) for n in range(512)]) == 512 // 64
    drops: list[Change] = [DropFinished("c", f"{n}") for n in range(256)]
    assert executions(drops) == 256


def test_behind_a_failed_commit_its_session_gets_no_hole(tmp_path: Path) -> None:
    """A watcher that replays would wait for the missing fact for ever."""
    database = opened(tmp_path)
    database.commit([prepared([SaveFile(file(fence=2))], 100)], True)
    group: list[list[Change]] = [[fact(1), SaveFile(file(fence=1))], [fact(2)], [AddFact("s2", 1, b"")]]
    outcomes = database.commit([prepared(changes, 100) for changes in group], True)
    assert [type(outcome) for outcome in outcomes] == [StaleFence, StoreError, type(None)]
    assert database.commit([prepared([fact(1)], 100)], True) == [None], "the next group begins anew"
    database.close()


async def test_a_failed_transaction_fails_all_in_it(tmp_path: Path) -> None:
    database = opened(tmp_path)
    database.select("PRAGMA busy_timeout = 0")
    failed: list[int] = []
    async with SqliteState(database, Disk(1), "boot-1", 100) as state:

        async def commit(seq: int) -> None:
            try:
                await state.commit((fact(seq),), hard=True)
            except StoreError:
                failed.append(seq)

        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with trio.open_nursery() as nursery:
            for seq in range(1, 6):
                nursery.start_soon(commit, seq)
        assert sorted(failed) == [1, 2, 3, 4, 5]
        other.execute("ROLLBACK")
        other.close()
        await commit(6)
        assert await state.facts("s1", after=0, limit=9) == [(6, b"")]


async def test_a_full_disk_refuses_and_goes_on_later(tmp_path: Path) -> None:
    database = opened(tmp_path)
    async with SqliteState(database, Disk(1), "boot-1", 100) as state:
        [(pages,)] = database.select("PRAGMA page_count")
        database.select(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreFull):
            await state.commit((fact(1), fact(2, 1 << 20)), hard=True)
        await state.commit((fact(3),), hard=True)
        database.select(f"PRAGMA max_page_count = {1 << 20}")
        await state.commit((fact(4, 1 << 20),), hard=True)
        assert [seq for seq, _ in await state.facts("s1", after=0, limit=9)] == [3, 4]


class ThreadlessOnce(Disk):
    """The first call finds no thread to run in."""

    refusals = 1

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]  # looser
        if self.refusals:
            self.refusals -= 1
            await trio.lowlevel.checkpoint()
            raise RuntimeError("can't start new thread")
        return await super().run(function, *args)


async def test_a_leader_that_breaks_down_leaves_nobody_waiting(tmp_path: Path) -> None:
    async with SqliteState(opened(tmp_path), ThreadlessOnce(1), "boot-1", 100) as state:
        with pytest.raises(RuntimeError):
            await state.commit((fact(1),), hard=True)
        await state.commit((fact(2),), hard=True)
        assert await state.facts("s1", after=0, limit=9) == [(2, b"")]


async def test_after_closing_everything_is_refused(tmp_path: Path) -> None:
    state = await SqliteState.open(tmp_path / "state.db")
    await state.aclose()
    await state.aclose()
    with pytest.raises(StoreError):
        await state.commit((fact(1),), hard=True)
    with pytest.raises(StoreError):
        await state.counts()


async def test_closing_is_not_cancelled(tmp_path: Path) -> None:
    state = await SqliteState.open(tmp_path / "state.db", boot_id="boot-1")
    with trio.CancelScope() as scope:
        scope.cancel()
        await state.aclose()
    after_reboot = await SqliteState.open(tmp_path / "state.db", boot_id="boot-2")
    assert after_reboot.epoch == state.epoch
    await after_reboot.aclose()


# Epochs.


async def test_the_kernels_boot_is_known(tmp_path: Path) -> None:
    async with await SqliteState.open(tmp_path / "state.db") as state:
        assert state.boot_id == kernel_boot_id() != ""


def test_every_database_has_its_own_epoch(tmp_path: Path) -> None:
    epochs = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        database = opened(tmp_path / name)
        epochs.add(database.epoch)
        database.close()
    assert len(epochs) == 2


@pytest.mark.parametrize(
    ("clean", "rebooted", "kept"),
    [(True, False, True), (True, True, True), (False, False, True), (False, True, False)],
)
def test_only_an_unclean_reboot_makes_a_new_epoch(
    tmp_path: Path, clean: bool, rebooted: bool, kept: bool
) -> None:
    running = tmp_path / "running"
    running.mkdir()
    opened(running).close()
    database = opened(running)
    database.commit([prepared([fact(1)], 100)], True)
    if clean:
        database.close()
    found = crashed(running, tmp_path / "found")
    if not clean:
        database.close()
    again = opened(found, "boot-2" if rebooted else "boot-1")
    assert (again.epoch == database.epoch) is kept
    assert queries.facts(again, "s1", 0, 9) == [(1, b"")]
    again.close()


def test_a_second_crash_counts_again(tmp_path: Path) -> None:
    path, epochs = tmp_path / "0", []
    path.mkdir()
    for number in range(3):
        database = opened(path, f"boot-{number}")
        epochs.append(database.epoch)
        path = crashed(path, tmp_path / f"{number + 1}")
        database.close()
    assert len(set(epochs)) == 3


# The database itself.


def test_the_columns_are_the_fields(tmp_path: Path) -> None:
    database = opened(tmp_path)
    tables: dict[str, tuple[str, ...]] = {"sessions": SESSIONS.columns, "files": FILES.columns}
    tables |= {"finished": FINISHED.columns, "answers": ANSWERS.columns}
    for name, columns in tables.items():
        assert tuple(column[1] for column in database.select(f"PRAGMA table_info({name})")) == columns
    database.close()


def test_reopening_keeps_everything(tmp_path: Path) -> None:
    database = opened(tmp_path)
    database.commit([prepared([SaveFile(file(state=State.PAUSED)), fact(1)], 100)], False)
    database.close()
    assert not (tmp_path / "state.db-wal").exists()
    database = opened(tmp_path)
    assert queries.find_upload(database, "ff") == ("s1", "f1")
    assert database.select("PRAGMA user_version") == [(len(MIGRATIONS),)]
    database.close()


def test_the_files_are_for_us_alone(tmp_path: Path) -> None:
    database = opened(tmp_path)
    modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm"), 0o600)
    database.close()


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    database = opened(tmp_path)
    database.select(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    database.close()
    with pytest.raises(StoreError, match="newer"):
        opened(tmp_path)


async def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"neither a database nor empty" * 100)
    with pytest.raises(StoreError, match=r"state\.db"):
        await SqliteState.open(tmp_path / "state.db")
    with pytest.raises(StoreError, match=r"missing/state\.db"):
        await SqliteState.open(tmp_path / "missing" / "state.db")


def test_nonsense_in_a_row_is_an_error(tmp_path: Path) -> None:
    values = list(FILES.parameters(file()))
    values[FILES.columns.index("state")] = "asleep"
    with pytest.raises(msgspec.ValidationError):
        FILES.row(tuple(values))


class Planner(Database):
    """Answers from a real database, and keeps how each answer was found."""

    def select(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        if not sql.startswith("PRAGMA"):
            plan = super().select(f"EXPLAIN QUERY PLAN {sql}", parameters)
            self.__dict__.setdefault("plans", []).extend(step[3] for step in plan)
        return super().select(sql, parameters)


QUESTIONS: dict[str, Callable[[Database], object]] = {
    "load_session": lambda db: queries.load_session(db, "s1"),
    "facts": lambda db: queries.facts(db, "s1", 0, 1),
    "oldest_fact": lambda db: queries.oldest_fact(db, "s1"),
    "find_upload": lambda db: queries.find_upload(db, "00"),
    "find_watched": lambda db: queries.find_watched(db, "00"),
    "find_finished": lambda db: queries.find_finished(db, "a", "b"),
    "find_answer": lambda db: queries.find_answer(db, "a", "b"),
    "unfinished_sessions": lambda db: queries.unfinished_sessions(db, 1.0, 1),
    "ended_sessions": lambda db: queries.ended_sessions(db, 1.0, 1),
    "finished_before": lambda db: queries.finished_before(db, 1.0, 1),
    "finishing_files": queries.finishing_files,
    "known_blobs": lambda db: queries.known_blobs(db, ["00.1"]),
    "known_names": lambda db: queries.known_names(db, [("a", "b")]),
    "reserved_bytes": queries.reserved_bytes,
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_reads_a_whole_table(tmp_path: Path, question: str) -> None:
    database = Planner(tmp_path / "state.db", "boot-1")
    del database.__dict__["plans"]
    QUESTIONS[question](database)
    scans = [step for step in database.__dict__["plans"] if step.startswith("SCAN") and "USING" not in step]
    assert scans == []
    database.close()


async def test_the_database_remembers_when_it_was_made(tmp_path: Path) -> None:
    async with await SqliteState.open(tmp_path / "state.db", boot_id="a") as state:
        born_at = state.born_at
    async with await SqliteState.open(tmp_path / "state.db", boot_id="b") as state:
        assert state.born_at == born_at
