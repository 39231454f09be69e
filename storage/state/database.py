"""The SQLite connection: opening and migrating it, the epoch, and a group of commits in one transaction.

Everything here blocks; `sqlite.py` runs it in a thread, one call at a time.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.storage.errors import StoreError, StoreFull
from penstock.storage.state.base import StaleFence
from penstock.storage.state.changes import Batch, Commit
from penstock.storage.state.schema import MIGRATIONS

BUSY_TIMEOUT_S = 5.0  # for a backup or a curious operator; our own connection is the only writer
JOURNAL_LIMIT_BYTES = 16 * 1024 * 1024  # what the WAL may keep on disk after a burst
CHECKPOINT_PAGES = 1000  # SQLite's own default
SOFT_GROUPS = 1000  # in a row; then one is hard, for only those let the log be copied into the database

# What a commit itself can be guilty of: the others of its group go on without it.
_OWN_FAULTS = (StaleFence, sqlite3.Error, ValueError, OverflowError)

_SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)


class Database:
    """One open database. Raises: StoreError from the constructor, sqlite3.Error from the rest."""

    born_at: float
    epoch: str

    def __init__(
        self,
        path: Path,
        boot_id: str,
        *,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self._hard: bool | None = None  # None: not known
        self._soft_groups = 0
        self._unsynced = False
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(
                path,
                timeout=busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
                factory=connection,
            )
            try:
                self._configure()
                self._migrate(path)
                self.epoch = self._begin_epoch(boot_id)
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"state database {path}: {error}") from error

    def select(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        self._roll_back()  # what an earlier fault may have left open is not to be seen
        return self._db.execute(sql, parameters).fetchall()

    def commit(self, commits: Sequence[Commit], hard: bool) -> list[Exception | None]:
        """Apply each commit or none of it, all in one transaction; what each has failed with, if it has.

        Behind one that failed, those of the same session fail as well: its facts would have a hole.

        Raises: sqlite3.Error when the transaction failed, and so all of them; StoreError ever after a sync
        failed: the kernel may have dropped earlier soft commits, and later ones would be lost behind the gap.
        """
        if self.broken:
            raise StoreError(self.broken)
        self._roll_back()  # what an earlier fault may have left open
        hard = hard or self._soft_groups == SOFT_GROUPS
        try:
            self._be_durable(hard)
            self._db.execute("BEGIN IMMEDIATE")
            outcomes = self._attempt_all(commits)
            self._db.execute("COMMIT")
        except BaseException as error:
            self._unsynced = getattr(error, "sqlite_errorcode", None) in _SYNC_FAILED
            self._roll_back()
            raise
        self._soft_groups = 0 if hard else self._soft_groups + 1
        return outcomes

    @property
    def broken(self) -> str | None:
        """Why it takes no commit any more, until it is opened anew. May be asked from any thread."""
        if not self._unsynced:
            return None
        return "an earlier sync of the database's log failed; restart once its disk is well"

    def close(self) -> None:
        """Mark the end as clean and close. Idempotent.

        It is none after a failed sync: a power cut may take soft commits then, and the epoch has to change.
        """
        try:
            self._roll_back()
            if not self._unsynced:
                self._be_durable(True)
                self._set_meta("clean", "1")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._db.close()

    def _attempt_all(self, commits: Sequence[Commit]) -> list[Exception | None]:
        outcomes: list[Exception | None] = []
        broken: set[str] = set()
        for commit in commits:
            if broken.isdisjoint(commit.session_ids):
                outcomes.append(self._attempt(commit.batches))
            else:
                outcomes.append(StoreError("a commit of this session that came before has failed"))
            if outcomes[-1] is not None:
                broken |= commit.session_ids
        return outcomes

    def _attempt(self, batches: Sequence[Batch]) -> Exception | None:
        self._db.execute("SAVEPOINT attempt")
        try:
            self._apply(batches)
        except _OWN_FAULTS as error:
            if not self._db.in_transaction:  # SQLite rolled all of it back: disk full, I/O error
                raise
            self._db.execute("ROLLBACK TO attempt")
            return error if isinstance(error, StaleFence) else as_store_error(error)
        finally:
            if self._db.in_transaction:
                self._db.execute("RELEASE attempt")
        return None

    def _apply(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            changed = sum(self._db.executemany(sql, rows).rowcount for sql, rows in batch.pieces())
            if batch.fenced and changed < len(batch.parameters):
                raise StaleFence

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _be_durable(self, hard: bool) -> None:
        """FULL syncs the log at each COMMIT, NORMAL leaves that to the kernel. Not to be set in transactions.

        The log is copied into the database only behind a COMMIT that has synced it: before it copies, SQLite
        syncs the log once more, but if that fails it tells nobody, and the next sync would say all is well.
        """
        if hard is not self._hard:
            self._hard = None
            self._db.execute(f"PRAGMA synchronous = {'FULL' if hard else 'NORMAL'}")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES if hard else 0}")
            self._hard = hard

    def _configure(self) -> None:
        [(mode,)] = self.select("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise sqlite3.OperationalError(
                f"write-ahead logging is needed, its file system allows only {mode}"
            )
        self._db.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}")
        self._be_durable(True)

    def _migrate(self, path: Path) -> None:
        [(version,)] = self.select("PRAGMA user_version")
        if version > len(MIGRATIONS):
            raise StoreError(f"state database {path} was made by a newer Penstock (schema {version})")
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            self._db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    def _begin_epoch(self, boot_id: str) -> str:
        """The stored epoch; a new one where soft commits may be lost, for then facts may repeat a seq."""
        meta = dict(self.select("SELECT name, value FROM meta"))
        self.born_at = float(meta.get("born_at", time.time()))
        lost = meta.get("clean") != "1" and meta.get("boot_id") != boot_id
        epoch = secrets.token_hex(8) if lost else meta["epoch"]
        self._db.execute("BEGIN IMMEDIATE")
        notes = {"born_at": repr(self.born_at), "epoch": epoch, "boot_id": boot_id, "clean": "0"}
        for name, value in notes.items():
            self._set_meta(name, value)
        self._db.execute("COMMIT")
        return epoch

    def _set_meta(self, name: str, value: str) -> None:
        self._db.execute("REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))


def as_store_error(error: Exception) -> StoreError:
    """What an error of SQLite (or of binding a value) means to the caller of a store."""
    full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return (StoreFull if full else StoreError)(f"{type(error).__name__}: {error}")
