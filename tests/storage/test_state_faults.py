"""A database that fails at any statement of any operation: what is raised, what is kept, what works after.

Each operation is made again and again, with a fault at its first statement, its second, … until it has no
more. Faults of the real SQLite, by a kernel that fails: `test_faulty_database.py`.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import count, islice, product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from penstock.storage.disk import Disk
from penstock.storage.errors import StoreError, StoreFull
from penstock.storage.state.base import (
    AddFact,
    Change,
    StaleFence,
)
from penstock.storage.state.changes import prepared
from penstock.storage.state.database import SOFT_GROUPS, Database
from penstock.storage.state.sqlite import SqliteState
from tests.acceptance.sizes import full_or
from tests.contract.stepping import stepped
from tests.storage.faulty_connection import ERROR_NAMES, Statements
from tests.storage.gate import Gate
from tests.storage.operations import descriptors
from tests.storage.state_operations import (
    COMMITS,
    FOUND,
    NAME,
    QUESTIONS,
    STALE,
    TABLES,
    found,
    found_as_first_made,
    nothing,
)

FULL, BUSY, SYNC_FAILED = sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_FSYNC
CODES = full_or((FULL, BUSY), tuple(ERROR_NAMES))
every_code = pytest.mark.parametrize("code", CODES, ids=ERROR_NAMES.get)

# `lasting`: not even the transaction can be rolled back then.
FAULTS = full_or([(FULL, False), (SYNC_FAILED, False), (BUSY, True)], list(product(CODES, (False, True))))
every_fault = pytest.mark.parametrize(
    ("code", "lasting"),
    FAULTS,
    ids=[f"{ERROR_NAMES[code]}{'-lasting' if lasting else ''}" for code, lasting in FAULTS],
)

Rows = dict[str, list[tuple[Any, ...]]]


class Opened(NamedTuple):
    path: Path
    statements: Statements
    state: SqliteState

    def rows(self) -> Rows:
        return rows(self.path)


def rows(path: Path) -> Rows:
    """What another connection sees."""
    other = sqlite3.connect(path / NAME)
    try:
        return {table: sorted(other.execute(f"SELECT * FROM {table}").fetchall()) for table in TABLES}
    finally:
        other.close()


def opened(path: Path) -> Opened:
    """The database at this path, on a connection that can fail."""
    statements = Statements()
    database = Database(path / NAME, "boot-1", connection=statements.connection())
    return Opened(path, statements, SqliteState(database, Disk(1), "boot-1", 100))


async def refused(call: Awaitable[object]) -> Exception | None:
    """How the store refused. Anything that is none of its words is let through, and fails the test."""
    try:
        await call
    except (StoreError, StaleFence) as error:
        return error
    return None


async def check_kept(there: Opened, expected: Rows, *, at_most: Rows | None = None) -> None:
    """Seen by others, after closing, and by who opens it again."""
    assert there.rows() in (expected, at_most)
    with suppress(StoreError):
        await there.state.aclose()
    assert rows(there.path) in (expected, at_most)
    Database(there.path / NAME, "boot-1").close()
    assert rows(there.path) in (expected, at_most)


@every_fault
@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("kind", COMMITS)
async def test_a_commit_fails_whole(memory: Path, kind: str, lasting: bool, hard: bool, code: int) -> None:
    template = found(memory / "found")
    for nth in count(1):
        there = opened(shutil.copytree(template, memory / str(nth)))
        before = there.rows()
        there.statements.fail(code, nth=nth, lasting=lasting)
        error = await refused(there.state.commit(COMMITS[kind], hard=hard))
        there.statements.heal()
        if not there.statements.failed:
            assert error is None
            assert there.rows() != before
            await there.state.aclose()
            assert nth > 5
            return
        assert type(error) is (StoreFull if code == FULL else StoreError)
        assert there.rows() == before
        again = await refused(there.state.commit(COMMITS[kind], hard=hard))
        if code == SYNC_FAILED:
            assert type(again) is StoreError
            await check_kept(there, before)
        else:
            assert again is None
            assert there.rows() != before
            await check_kept(there, there.rows())


async def begin(commit: Coroutine[Any, Any, None], task_status: trio.TaskStatus[None]) -> None:
    """Started when the commit has taken its place in the queue."""
    await stepped(commit, task_status.started)


@every_code
async def test_of_a_group_each_is_whole_or_refused(memory: Path, code: int) -> None:
    """Three at once, and the one in the middle is refused anyhow."""
    template = found(memory / "found")
    for nth in count(1):
        there = opened(shutil.copytree(template, memory / str(nth)))
        outcomes: dict[int, Exception | None] = {}

        async def commit(there: Opened, session_id: str, seq: int, *more: Change) -> None:
            changes = (AddFact(session_id, seq, b""), *more, AddFact(session_id, seq + 1, b""))
            outcomes[seq] = await refused(there.state.commit(changes, hard=True))  # noqa: B023 - awaited here

        gate = Gate()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.state.thread.run, gate)
            await gate.wait_inside()
            await nursery.start(begin, commit(there, "s1", 10))
            await nursery.start(begin, commit(there, "s1", 20, STALE))
            await nursery.start(begin, commit(there, "s9", 30))
            there.statements.fail(code, nth=nth)
            gate.let_go()
        there.statements.heal()
        facts = [await there.state.facts(session_id, after=1, limit=99) for session_id in ("s1", "s9")]
        kept = {seq for seq, _ in facts[0] + facts[1]}
        for seq, outcome in outcomes.items():
            assert {seq, seq + 1} & kept == (set() if outcome else {seq, seq + 1})
        assert outcomes[20] is not None
        await check_kept(there, there.rows())
        if not there.statements.failed:
            assert kept == {10, 11, 30, 31}
            return


@every_code
@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_question_fails_and_is_answered_later(memory: Path, question: str, code: int) -> None:
    there = opened(found(memory / "found"))
    before, answer = there.rows(), await QUESTIONS[question](there.state)
    for nth in count(1):
        there.statements.fail(code, nth=nth)
        error = await refused(QUESTIONS[question](there.state))
        there.statements.heal()
        assert await QUESTIONS[question](there.state) == answer
        if not there.statements.failed:
            assert error is None
            assert nth > 1
            break
        assert type(error) is (StoreFull if code == FULL else StoreError)
    await check_kept(there, before)


@every_fault
@pytest.mark.parametrize("made", [nothing, found_as_first_made, found])
def test_opening_fails(memory: Path, made: Callable[[Path], Path], lasting: bool, code: int) -> None:
    template = made(memory / "template")
    Database(shutil.copytree(template, memory / "well") / NAME, "boot-1").close()
    expected = rows(memory / "well")
    for nth in count(1):
        path, statements = shutil.copytree(template, memory / str(nth)), Statements()
        before = descriptors()
        statements.fail(code, nth=nth, lasting=lasting)
        with suppress(StoreError):
            database = Database(path / NAME, "boot-1", connection=statements.connection())
            statements.heal()
            database.close()
        assert descriptors() == before
        Database(path / NAME, "boot-1").close()
        assert rows(path) == expected
        if not statements.failed:
            break


@every_fault
async def test_closing_fails(memory: Path, lasting: bool, code: int) -> None:
    template = found(memory / "found")
    for nth in count(1):
        before = descriptors()
        there = opened(shutil.copytree(template, memory / str(nth)))
        await there.state.commit(COMMITS["facts"], hard=False)
        kept = there.rows()
        there.statements.fail(code, nth=nth, lasting=lasting)
        error = await refused(there.state.aclose())
        assert type(error) in (StoreError, StoreFull, type(None))
        assert descriptors() == before
        await there.state.aclose()
        assert rows(there.path) == kept
        if not there.statements.failed:
            assert error is None
            return


async def test_after_a_failed_sync_the_end_is_not_clean(memory: Path) -> None:
    """For a power cut may take soft commits that were told: then the epoch has to be another one."""
    there = opened(found(memory / "found"))
    await there.state.commit(COMMITS["facts"], hard=False)
    there.statements.fail(SYNC_FAILED, containing="COMMIT")
    assert await refused(there.state.commit(COMMITS["rows"], hard=True)) is not None
    there.statements.heal()
    await there.state.aclose()
    rebooted = Database(there.path / NAME, "boot-2")
    assert rebooted.epoch != there.state.epoch
    rebooted.close()


async def test_a_hard_commit_is_synced_also_after_a_soft_one_that_failed_half_way(memory: Path) -> None:
    there = opened(found(memory / "found"))
    there.statements.fail(BUSY, containing="PRAGMA")
    assert await refused(there.state.commit(COMMITS["facts"], hard=False)) is not None
    there.statements.fail(BUSY, nth=2, containing="PRAGMA")
    assert await refused(there.state.commit(COMMITS["facts"], hard=False)) is not None
    there.statements.heal()
    await there.state.commit(COMMITS["facts"], hard=True)
    assert there.statements.asked[2] == "PRAGMA synchronous = FULL"
    await there.state.aclose()


def test_among_many_soft_commits_one_is_hard(memory: Path) -> None:
    """The log can be copied into the database behind a hard one only, and must not grow for ever."""
    statements = Statements()
    database = Database(memory / NAME, "boot-1", connection=statements.connection())
    seqs, log_bytes = count(1), []
    for _ in range(2):
        for seq in islice(seqs, SOFT_GROUPS + 1):
            database.commit([prepared([AddFact("s1", seq, bytes(5000))], 100)], False)
        log_bytes.append((memory / f"{NAME}-wal").stat().st_size)
    assert statements.asked.count("PRAGMA synchronous = FULL") == 1 + 2
    assert log_bytes[1] < 1.5 * log_bytes[0]
    database.close()


async def test_a_database_that_somebody_else_has_locked(tmp_path: Path) -> None:
    database = Database(tmp_path / NAME, "boot-1", busy_timeout_s=0.01)
    async with SqliteState(database, Disk(1), "boot-1", 100) as state:
        other = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert type(await refused(state.commit(FOUND, hard=True))) is StoreError
        assert await state.counts() == dict.fromkeys(TABLES, 0)  # who only reads does not wait
        with pytest.raises(StoreError, match="locked"):
            Database(tmp_path / NAME, "boot-1", busy_timeout_s=0.01)
        other.execute("ROLLBACK")
        other.close()
        await state.commit(FOUND, hard=True)
        assert await state.counts() == dict.fromkeys(TABLES, 1)


async def test_a_read_only_database(tmp_path: Path) -> None:
    database = Database(tmp_path / NAME, "boot-1")
    async with SqliteState(database, Disk(1), "boot-1", 100) as state:
        await state.commit(FOUND, hard=True)
        database.select("PRAGMA query_only = 1")  # what SQLite says then is what it says of a read-only file
        for hard in (True, False):
            assert type(await refused(state.commit(COMMITS["facts"], hard=hard))) is StoreError
        assert await state.facts("s1", after=0, limit=9) == [(1, b"one")]
        database.select("PRAGMA query_only = 0")
        await state.commit(COMMITS["facts"], hard=True)
        assert len(await state.facts("s1", after=0, limit=9)) == 3
