"""A state store in memory: no threads, so that tests may use the autojump clock."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from copy import copy
from itertools import groupby

import msgspec
import trio

from penstock.protocol.lifecycle import UNFINISHED, State
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
)
from penstock.storage.state.changes import session_ids

Pair = tuple[str, str]


class Tables:
    """The rows, each by its key. Stored rows are never changed, only replaced."""

    def __init__(self) -> None:
        self.sessions: dict[str, SessionRow] = {}
        self.files: dict[Pair, FileRow] = {}
        self.facts: dict[str, dict[int, bytes]] = {}
        self.finished: dict[Pair, FinishedRow] = {}
        self.answers: dict[Pair, AnswerRow] = {}

    def copy(self) -> Tables:
        new = Tables()
        new.sessions, new.files = dict(self.sessions), dict(self.files)
        new.facts = {session_id: dict(facts) for session_id, facts in self.facts.items()}
        new.finished, new.answers = dict(self.finished), dict(self.answers)
        return new

    def apply_all(self, changes: Sequence[Change]) -> None:
        """Neighbours of one kind, as one statement: a double id is found before a stale fence is."""
        stale: StaleFence | None = None
        for change in changes:
            try:
                self.apply(change)
            except StaleFence as error:
                stale = error
        if stale is not None:
            raise stale

    def apply(self, change: Change) -> None:
        match change:
            case SaveSession(row=session):
                self._save_session(session)
            case SaveFile(row=file):
                self._save_file(file)
            case AddFact(session_id=session_id, seq=seq, payload=payload):
                if seq in self.facts.setdefault(session_id, {}):
                    raise StoreError(f"fact {seq} of {session_id} is there already")
                self.facts[session_id][seq] = payload
            case SaveFinished(row=finished):
                self.finished[finished.category, finished.stored_name] = finished
            case DropFinished(category=category, stored_name=stored_name):
                self.finished.pop((category, stored_name), None)
            case SaveAnswer(row=answer):
                self.answers[answer.scope, answer.key] = answer
            case DropAnswers(created_before=limit):
                self.answers = {key: row for key, row in self.answers.items() if row.created_at >= limit}
            case DropSession(session_id=session_id):
                self._drop_session(session_id)

    def _save_session(self, row: SessionRow) -> None:
        if any(
            row.watch_key == s.watch_key and row.session_id != s.session_id for s in self.sessions.values()
        ):
            raise StoreError(f"watch key {row.watch_key} belongs to another session")
        self.sessions[row.session_id] = row

    def _save_file(self, row: FileRow) -> None:
        key = row.session_id, row.file_id
        stored = self.files.get(key)
        if stored is not None and row.fence < stored.fence:
            raise StaleFence
        if any(row.upload_id == f.upload_id and key != other for other, f in self.files.items()):
            raise StoreError(f"upload id {row.upload_id} belongs to another file")
        self.files[key] = row

    def _drop_session(self, session_id: str) -> None:
        self.sessions.pop(session_id, None)
        self.facts.pop(session_id, None)
        self.files = {key: row for key, row in self.files.items() if row.session_id != session_id}
        self.answers = {key: row for key, row in self.answers.items() if row.session_id != session_id}


class _Asker:
    def __init__(self, changes: list[Change], hard: bool) -> None:
        self.changes = changes
        self.hard = hard
        self.error: Exception | None = None


class FakeState:
    """See `StateStore`. Faults to switch on while a test runs:

    * `fault`: raised by every commit, which then changes nothing.
    * `gate`: while it is an unset event, commits wait for it.
    * `power_cut()`: soft commits since the last hard one are lost, and the epoch is new.
    """

    def __init__(self, *, boot_id: str = "boot-1", kept_facts: int = 100_000, born_at: float = 0.0) -> None:
        self.boot_id = boot_id
        self.epoch = secrets.token_hex(8)
        self.born_at = born_at
        self.fault: StoreError | None = None
        self.gate: trio.Event | None = None
        self.commits: list[tuple[list[Change], bool]] = []  # that were applied: (changes, hard)
        self._tables = Tables()
        self._durable: Tables | None = None  # what a power cut leaves, when it is not `_tables`
        self._kept_facts = kept_facts
        self._askers: list[_Asker] = []

    def power_cut(self, boot_id: str = "boot-2") -> None:
        self._tables, self._durable = self._durable or self._tables, None
        self.epoch = secrets.token_hex(8)
        self.boot_id = boot_id

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def commit(self, changes: Sequence[Change], *, hard: bool) -> None:
        asker = _Asker([_copied(change) for change in changes], hard)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._askers.append(asker)
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            if self.gate is not None:
                await self.gate.wait()
        self._apply_waiting()  # in the order they were asked for, whoever is woken first
        if asker.error is not None:
            raise asker.error

    def _apply_waiting(self) -> None:
        askers, self._askers = self._askers, []
        broken: set[str] = set()
        for asker in askers:
            whose = set(session_ids(asker.changes))
            try:
                if whose & broken:
                    raise StoreError("a commit of this session that came before has failed")
                self._apply(asker)
            except (StaleFence, StoreError) as error:
                asker.error = error
                broken |= whose

    def _apply(self, asker: _Asker) -> None:
        if self.fault is not None:
            raise self.fault
        tables = self._tables.copy()
        for _, changes in groupby(asker.changes, key=type):
            tables.apply_all(list(changes))
        self._durable = None if asker.hard else self._durable or self._tables
        self._tables = tables
        self._prune()
        self.commits.append((asker.changes, asker.hard))

    def _prune(self) -> None:
        for facts in self._tables.facts.values():
            for seq in sorted(facts)[: -self._kept_facts]:
                del facts[seq]

    async def load_session(self, session_id: str) -> tuple[SessionRow, list[FileRow]] | None:
        await trio.lowlevel.checkpoint()
        row = self._tables.sessions.get(session_id)
        if row is None:
            return None
        files = [copy(file) for file in self._tables.files.values() if file.session_id == session_id]
        return _copied_session(row), sorted(files, key=lambda file: file.position)

    async def facts(self, session_id: str, *, after: int, limit: int) -> list[tuple[int, bytes]]:
        await trio.lowlevel.checkpoint()
        facts = self._tables.facts.get(session_id, {})
        return [(seq, facts[seq]) for seq in sorted(facts) if seq > after][:limit]

    async def oldest_fact(self, session_id: str) -> int | None:
        await trio.lowlevel.checkpoint()
        return min(self._tables.facts.get(session_id, {}), default=None)

    async def find_upload(self, upload_id: str) -> Pair | None:
        await trio.lowlevel.checkpoint()
        return next((key for key, row in self._tables.files.items() if row.upload_id == upload_id), None)

    async def find_watched(self, watch_key: str) -> str | None:
        await trio.lowlevel.checkpoint()
        sessions = self._tables.sessions.values()
        return next((row.session_id for row in sessions if row.watch_key == watch_key), None)

    async def find_finished(self, category: str, stored_name: str) -> FinishedRow | None:
        await trio.lowlevel.checkpoint()
        return copy(self._tables.finished.get((category, stored_name)))

    async def find_answer(self, scope: str, key: str) -> AnswerRow | None:
        await trio.lowlevel.checkpoint()
        return copy(self._tables.answers.get((scope, key)))

    async def unfinished_sessions(self, *, active_before: float, limit: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        rows = [row for row in self._tables.sessions.values() if row.ended_at is None]
        found = sorted((row.active_at, row.session_id) for row in rows if row.active_at < active_before)
        return [session_id for _, session_id in found[:limit]]

    async def ended_sessions(self, *, ended_before: float, limit: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        ended = [
            (row.ended_at, row.session_id)
            for row in self._tables.sessions.values()
            if row.ended_at is not None
        ]
        return [session_id for ended_at, session_id in sorted(ended) if ended_at < ended_before][:limit]

    async def finished_before(self, *, completed_before: float, limit: int) -> list[FinishedRow]:
        await trio.lowlevel.checkpoint()
        rows = [row for row in self._tables.finished.values() if row.completed_at < completed_before]
        rows.sort(key=lambda row: (row.completed_at, row.category, row.stored_name))
        return [copy(row) for row in rows[:limit]]

    async def finishing_files(self) -> list[Pair]:
        await trio.lowlevel.checkpoint()
        return sorted(key for key, row in self._tables.files.items() if row.state is State.FINISHING)

    async def known_blobs(self, keys: Sequence[str]) -> set[str]:
        await trio.lowlevel.checkpoint()
        return set(keys) & {row.blob_key for row in self._tables.files.values() if _needs_blob(row)}

    async def known_names(self, names: Sequence[Pair]) -> set[Pair]:
        await trio.lowlevel.checkpoint()
        return set(names) & (self._tables.finished.keys() | self._finishing_names())

    def _finishing_names(self) -> set[Pair]:
        sessions = self._tables.sessions
        return {
            (sessions[row.session_id].category, row.stored_name)
            for row in self._tables.files.values()
            if row.state is State.FINISHING and row.stored_name and row.session_id in sessions
        }

    async def reserved_bytes(self) -> int:
        await trio.lowlevel.checkpoint()
        rows = [row for row in self._tables.files.values() if row.state in UNFINISHED]
        return sum(max((row.file_size or 0) - row.synced, 0) for row in rows)

    async def counts(self) -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        tables = self._tables
        return {
            "sessions": len(tables.sessions),
            "files": len(tables.files),
            "facts": sum(map(len, tables.facts.values())),
            "finished": len(tables.finished),
            "answers": len(tables.answers),
        }


def _copied(change: Change) -> Change:
    match change:
        case SaveSession(row=row):
            return SaveSession(_copied_session(row))
        case SaveFile() | SaveFinished() | SaveAnswer():
            return type(change)(copy(change.row))  # type: ignore[arg-type]  # a pair of the same kind
        case _:
            return change


def _copied_session(row: SessionRow) -> SessionRow:
    return msgspec.structs.replace(row, metadata=dict(row.metadata))


def _needs_blob(row: FileRow) -> bool:
    if row.state is State.FAILED:
        return row.resumable_after_failure
    return row.state not in (State.COMPLETED, State.CANCELLED)
