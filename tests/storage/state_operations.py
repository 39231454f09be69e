"""Commits of every kind of change, every question of the state store's contract, and databases to ask."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

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
    StateStore,
)
from penstock.storage.state.changes import prepared
from penstock.storage.state.database import Database
from penstock.storage.state.rows import FILES, SESSIONS
from penstock.storage.state.schema import MIGRATIONS

NAME = "state.db"
TABLES = ("sessions", "files", "facts", "finished", "answers")
SESSION = SessionRow(
    session_id="s1", watch_key="w1", category="personal", subject="", created_at=1.0, active_at=2.0
)
FILE = FileRow(
    session_id="s1",
    file_id="f1",
    position=0,
    upload_id="ff",
    file_name="n",
    file_type="t",
    file_size=9,
    fence=3,
)
FINISHED = FinishedRow(
    category="personal",
    stored_name="n",
    subject="",
    file_name="n",
    file_type="t",
    file_size=9,
    completed_at=1.0,
)
ANSWER = AnswerRow(
    scope="s", key="k", fingerprint="f", session_id="s1", status=200, body=b"b", created_at=1.0
)
FOUND: tuple[Change, ...] = (
    *(SaveSession(SESSION), SaveFile(FILE), AddFact("s1", 1, b"one")),
    *(SaveFinished(FINISHED), SaveAnswer(ANSWER)),
)
STALE = SaveFile(msgspec.structs.replace(FILE, fence=2))
COMMITS: dict[str, tuple[Change, ...]] = {
    "facts": (AddFact("s1", 2, b"two"), AddFact("s1", 3, b"three")),
    "rows": (
        SaveFile(msgspec.structs.replace(FILE, synced=5)),
        SaveSession(msgspec.structs.replace(SESSION, seq=2)),
        AddFact("s1", 2, b"two"),
    ),
    "finish": (
        SaveFinished(msgspec.structs.replace(FINISHED, stored_name="m")),
        SaveAnswer(msgspec.structs.replace(ANSWER, key="l")),
    ),
    "drop": (DropFinished("personal", "n"), DropAnswers(2.0)),
    "drop-session": (DropSession("s1"),),
}
QUESTIONS: dict[str, Callable[[StateStore], Awaitable[object]]] = {
    "load_session": lambda state: state.load_session("s1"),
    "facts": lambda state: state.facts("s1", after=0, limit=9),
    "oldest_fact": lambda state: state.oldest_fact("s1"),
    "find_upload": lambda state: state.find_upload("ff"),
    "find_watched": lambda state: state.find_watched("w1"),
    "find_finished": lambda state: state.find_finished("personal", "n"),
    "find_answer": lambda state: state.find_answer("s", "k"),
    "unfinished_sessions": lambda state: state.unfinished_sessions(active_before=9.0, limit=9),
    "ended_sessions": lambda state: state.ended_sessions(ended_before=9.0, limit=9),
    "finished_before": lambda state: state.finished_before(completed_before=9.0, limit=9),
    "finishing_files": lambda state: state.finishing_files(),
    "known_blobs": lambda state: state.known_blobs(["ff.1", "00.1"]),
    "known_names": lambda state: state.known_names([("personal", "n"), ("personal", "m")]),
    "reserved_bytes": lambda state: state.reserved_bytes(),
    "counts": lambda state: state.counts(),
}


def found(path: Path) -> Path:
    """A database that holds `FOUND`."""
    path.mkdir()
    database = Database(path / NAME, "boot-1")
    database.commit([prepared(FOUND, 100)], True)
    database.close()
    return path


def nothing(path: Path) -> Path:
    path.mkdir()
    return path


def found_as_first_made(path: Path) -> Path:
    """A database of the first schema, with a session and a file."""
    path.mkdir()
    old = sqlite3.connect(path / NAME)
    old.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
    for table, columns, values in (
        ("sessions", SESSIONS.columns, SESSIONS.parameters(SESSION)),
        ("files", FILES.columns, FILES.parameters(FILE)),
    ):
        known = {column[1] for column in old.execute(f"PRAGMA table_info({table})")}
        row = {name: value for name, value in zip(columns, values, strict=True) if name in known}
        marks = ", ".join("?" * len(row))
        old.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    old.commit()
    old.close()
    return path
