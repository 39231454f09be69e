"""A data directory as a busy server of the first schema left it when it was killed: sessions and files in
every state, bytes that belong to them, and bytes that belong to nobody."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from penstock.protocol.lifecycle import State
from penstock.protocol.names import stored_name
from penstock.storage.state.base import FileRow, FinishedRow, SessionRow
from penstock.storage.state.rows import FILES, FINISHED, SESSIONS
from penstock.storage.state.schema import MIGRATIONS
from penstock.storage.state.sqlite import kernel_boot_id

SERVER_KEY = b"k" * 32
BORN_AT = 1_700_000_000.0

# One of ten: what a server that has been running for some weeks holds.
STATES = (
    *(State.COMPLETED, State.COMPLETED, State.COMPLETED, State.COMPLETED),
    *(State.RETRYING, State.UPLOADING, State.PAUSED, State.PENDING),
    *(State.FAILED, State.CANCELLED),
)
UNFINISHED_BYTES = 600  # there are, of ...
FILE_BYTES = 1000


class Made(NamedTuple):
    """What was put there."""

    files: dict[State, list[FileRow]]
    orphans: list[Path]


def content(number: int) -> bytes:
    """The bytes of file `number`."""
    return (b"%08d" % number * (FILE_BYTES // 8 + 1))[:FILE_BYTES]


def number_of(row: FileRow) -> int:
    return int(row.upload_id, 16)


def populate(data: Path, sessions: int, *, finishing: int, orphans: int) -> Made:
    """Sessions of one file each, `finishing` more whose publishing was cut off, and orphans of both kinds."""
    for name in ("incoming", "upload/personal", "upload/scenic"):
        (data / name).mkdir(parents=True, exist_ok=True)
    (data / "key").write_bytes(SERVER_KEY)
    states = [STATES[number % len(STATES)] for number in range(sessions)] + [State.FINISHING] * finishing
    rows = [_file(number, state) for number, state in enumerate(states)]
    with closing(_first_schema(data / "state.db")) as database:
        _insert(database, rows)
    for row in rows:
        _put_bytes(data, row)
    made: dict[State, list[FileRow]] = {}
    for row in rows:
        made.setdefault(row.state, []).append(row)
    return Made(made, list(_orphans(data, orphans)))


def _first_schema(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(f"BEGIN; {MIGRATIONS[0]} PRAGMA user_version = 1; COMMIT;")
    notes = {"born_at": repr(BORN_AT), "epoch": "e1", "boot_id": kernel_boot_id(), "clean": "0"}
    database.executemany("INSERT INTO meta VALUES (?, ?)", notes.items())
    return database


def _file(number: int, state: State) -> FileRow:
    begun = state not in (State.PENDING, State.CANCELLED, State.FAILED)
    at = time.time()
    row = FileRow(
        session_id=f"00000000-0000-4000-8000-{number:012x}",
        file_id="f1",
        position=0,
        upload_id=f"{number:032x}",
        file_name=f"{number}.bin",
        file_type="",
        file_size=FILE_BYTES,
        size_is_declared=True,
        state=state,
        started_at=at if begun else None,
        boot_id=kernel_boot_id() if begun else "",
    )
    if state in (State.COMPLETED, State.FINISHING):
        row.synced = FILE_BYTES
        row.stored_name = stored_name(SERVER_KEY, row.session_id, "f1", 1, at, row.file_name)
    elif begun:
        row.synced = UNFINISHED_BYTES
    if state in (State.COMPLETED, State.CANCELLED, State.FAILED):
        row.ended_at = at
    return row


def _put_bytes(data: Path, row: FileRow) -> None:
    incoming, whole = data / "incoming" / row.blob_key, content(number_of(row))
    match row.state:
        case State.COMPLETED:
            _published(data, row).write_bytes(whole)
        case State.RETRYING | State.UPLOADING | State.PAUSED:
            incoming.write_bytes(whole[:UNFINISHED_BYTES])
        case State.FINISHING:
            incoming.write_bytes(whole)
            if number_of(row) % 2:  # cut off after its name was made
                os.link(incoming, _published(data, row))


def _published(data: Path, row: FileRow) -> Path:
    return data / "upload" / "personal" / (row.stored_name or "")


def _orphans(data: Path, count: int) -> Iterator[Path]:
    for number in range(count):
        for path in (
            data / "incoming" / f"f{number:031x}.1",
            data / "upload" / "personal" / f"00000000-0000-4000-8000-{number:012x}_orphan.bin",
        ):
            path.write_bytes(b"whose?")
            yield path


def _insert(database: sqlite3.Connection, files: list[FileRow]) -> None:
    database.execute("BEGIN")
    _insert_rows(
        database, "sessions", [SESSIONS.parameters(_session(row)) for row in files], SESSIONS.columns
    )
    _insert_rows(database, "files", [FILES.parameters(row) for row in files], FILES.columns)
    finished = [FINISHED.parameters(_finished(row)) for row in files if row.state is State.COMPLETED]
    _insert_rows(database, "finished", finished, FINISHED.columns)
    database.execute("COMMIT")


def _insert_rows(
    database: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]], columns: tuple[str, ...]
) -> None:
    """As far as the first schema has the columns."""
    known = {column for _, column, *_ in database.execute(f"PRAGMA table_info({table})")}
    kept = [place for place, column in enumerate(columns) if column in known]
    names, marks = ", ".join(columns[place] for place in kept), ", ".join("?" * len(kept))
    values = ([row[place] for place in kept] for row in rows)
    database.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)


def _session(file: FileRow) -> SessionRow:
    at = time.time()
    return SessionRow(
        session_id=file.session_id,
        watch_key=f"w_{file.upload_id}",
        category="personal",
        subject="",
        created_at=at,
        active_at=at,
        seq=0,
        ended_at=file.ended_at,
        metadata={"number": file.upload_id},
    )


def _finished(file: FileRow) -> FinishedRow:
    return FinishedRow(
        category="personal",
        stored_name=file.stored_name or "",
        subject="",
        file_name=file.file_name,
        file_type="",
        file_size=FILE_BYTES,
        completed_at=file.ended_at or 0.0,
    )
