"""State in one SQLite database: one connection, one thread at a time, many commits in one transaction.

Whoever asks while nobody leads becomes the leader, takes every commit that waits (its own is the first) into
the thread, tells the others, and hands the lead to the first of those that came meanwhile. So a group is as
large as the disk is slow, each asker leads once at most, and no service task is needed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar, TypeVarTuple

import msgspec
import trio

from penstock.storage.disk import Disk
from penstock.storage.errors import StoreError
from penstock.storage.state import queries
from penstock.storage.state.base import (
    AnswerRow,
    Change,
    FileRow,
    FinishedRow,
    SessionRow,
)
from penstock.storage.state.changes import Commit, prepared
from penstock.storage.state.database import Database, as_store_error

T = TypeVar("T")
Args = TypeVarTuple("Args")

KEPT_FACTS = 100_000


class StateStatistics(msgspec.Struct):
    """What the store has done since it was opened."""

    commits: int = 0  # asked for
    groups: int = 0  # transactions
    hard_groups: int = 0  # of these: synced


class _Asker:
    """One commit that waits. There is one per task inside `commit`, so nothing else bounds their number."""

    def __init__(self, commit: Commit, hard: bool) -> None:
        self.commit = commit
        self.hard = hard
        self.woken = trio.Event()  # done, or to lead
        self.done = False
        self.error: Exception | None = None

    def finish(self, error: Exception | None) -> None:
        self.done = True
        self.error = error
        self.woken.set()


class SqliteState(trio.abc.AsyncResource):
    """See `StateStore`."""

    born_at: float
    epoch: str
    boot_id: str

    def __init__(self, database: Database, thread: Disk, boot_id: str, kept_facts: int) -> None:
        """Use `open`."""
        self.born_at = database.born_at
        self.epoch = database.epoch
        self.boot_id = boot_id
        self.thread = thread
        self.statistics = StateStatistics()
        self._database = database
        self._kept_facts = kept_facts
        self._askers: list[_Asker] = []
        self._led = False
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        boot_id: str | None = None,
        kept_facts: int = KEPT_FACTS,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> Self:
        """Open the database at `path`, creating and migrating it. `boot_id` is the kernel's unless given.

        Raises: StoreError.
        """
        thread = Disk(1)
        if boot_id is None:
            boot_id = await thread.run(kernel_boot_id)
        return cls(await thread.run(_open, path, boot_id, connection), thread, boot_id, kept_facts)

    @property
    def broken(self) -> str | None:
        """Why every commit is refused until a restart; None: it is not so. Cheap, never waits."""
        return self._database.broken

    async def aclose(self) -> None:
        """Mark the end as clean, close. Idempotent; not cancellable. Commits asked for later are refused."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        await self.thread.run_shielded(_mapped, self._database.close, ())

    async def commit(self, changes: Sequence[Change], *, hard: bool) -> None:
        asker = _Asker(prepared(changes, self._kept_facts), hard)
        await trio.lowlevel.checkpoint_if_cancelled()
        self.statistics.commits += 1
        self._askers.append(asker)
        with trio.CancelScope(shield=True):  # ends with the thread call of a leader
            if self._led:
                await asker.woken.wait()
            if not asker.done:
                await self._lead()
        if asker.error is not None:
            raise asker.error

    async def _lead(self) -> None:
        self._led = True
        group, self._askers = self._askers, []
        outcomes: Sequence[Exception | None] = [StoreError("the commit did not run") for _ in group]
        try:
            outcomes = await self._commit(group)
        except StoreError as error:
            outcomes = [type(error)(*error.args) for _ in group]
        finally:
            for asker, outcome in zip(group, outcomes, strict=True):
                asker.finish(outcome)
            self._led = bool(self._askers)
            if self._led:
                self._askers[0].woken.set()

    async def _commit(self, group: list[_Asker]) -> Sequence[Exception | None]:
        hard = any(asker.hard for asker in group)
        self.statistics.groups += 1
        self.statistics.hard_groups += hard
        return await self._run(self._database.commit, [asker.commit for asker in group], hard)

    async def _run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """A call into the database's thread. Raises: StoreError."""
        return await self.thread.run(_mapped, function, args)

    async def load_session(self, session_id: str) -> tuple[SessionRow, list[FileRow]] | None:
        return await self._run(queries.load_session, self._database, session_id)

    async def facts(self, session_id: str, *, after: int, limit: int) -> list[tuple[int, bytes]]:
        return await self._run(queries.facts, self._database, session_id, after, limit)

    async def oldest_fact(self, session_id: str) -> int | None:
        return await self._run(queries.oldest_fact, self._database, session_id)

    async def find_upload(self, upload_id: str) -> tuple[str, str] | None:
        return await self._run(queries.find_upload, self._database, upload_id)

    async def find_watched(self, watch_key: str) -> str | None:
        return await self._run(queries.find_watched, self._database, watch_key)

    async def find_finished(self, category: str, stored_name: str) -> FinishedRow | None:
        return await self._run(queries.find_finished, self._database, category, stored_name)

    async def find_answer(self, scope: str, key: str) -> AnswerRow | None:
        return await self._run(queries.find_answer, self._database, scope, key)

    async def unfinished_sessions(self, *, active_before: float, limit: int) -> list[str]:
        return await self._run(queries.unfinished_sessions, self._database, active_before, limit)

    async def ended_sessions(self, *, ended_before: float, limit: int) -> list[str]:
        return await self._run(queries.ended_sessions, self._database, ended_before, limit)

    async def finished_before(self, *, completed_before: float, limit: int) -> list[FinishedRow]:
        return await self._run(queries.finished_before, self._database, completed_before, limit)

    async def finishing_files(self) -> list[tuple[str, str]]:
        return await self._run(queries.finishing_files, self._database)

    async def known_blobs(self, keys: Sequence[str]) -> set[str]:
        return await self._run(queries.known_blobs, self._database, keys)

    async def known_names(self, names: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        return await self._run(queries.known_names, self._database, names)

    async def reserved_bytes(self) -> int:
        return await self._run(queries.reserved_bytes, self._database)

    async def counts(self) -> dict[str, int]:
        return await self._run(queries.counts, self._database)


def _open(path: Path, boot_id: str, connection: type[sqlite3.Connection]) -> Database:
    return Database(path, boot_id, connection=connection)


def kernel_boot_id() -> str:
    """The running kernel's: another one means that the page cache is another one, too. Blocks."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _mapped(function: Callable[[*Args], T], args: tuple[*Args]) -> T:
    try:
        return function(*args)
    except sqlite3.Error as error:
        raise as_store_error(error) from error
