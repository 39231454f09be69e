"""The questions a state store answers, in SQL. Everything here blocks."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.storage.state.base import AnswerRow, FileRow, FinishedRow, SessionRow
from penstock.storage.state.database import Database
from penstock.storage.state.rows import ANSWERS, FILES, FINISHED, SESSIONS

_TABLES = ("sessions", "files", "facts", "finished", "answers")


def load_session(db: Database, session_id: str) -> tuple[SessionRow, list[FileRow]] | None:
    found = db.select(f"{SESSIONS.select} WHERE session_id = ?", (session_id,))
    if not found:
        return None
    files = db.select(f"{FILES.select} WHERE session_id = ? ORDER BY position", (session_id,))
    return SESSIONS.row(found[0]), [FILES.row(values) for values in files]


def facts(db: Database, session_id: str, after: int, limit: int) -> list[tuple[int, bytes]]:
    return db.select(
        "SELECT seq, payload FROM facts WHERE session_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        (session_id, after, limit),
    )


def oldest_fact(db: Database, session_id: str) -> int | None:
    [(seq,)] = db.select("SELECT min(seq) FROM facts WHERE session_id = ?", (session_id,))
    return None if seq is None else int(seq)


def find_upload(db: Database, upload_id: str) -> tuple[str, str] | None:
    found = db.select("SELECT session_id, file_id FROM files WHERE upload_id = ?", (upload_id,))
    return found[0] if found else None


def find_watched(db: Database, watch_key: str) -> str | None:
    found = db.select("SELECT session_id FROM sessions WHERE watch_key = ?", (watch_key,))
    return found[0][0] if found else None


def find_finished(db: Database, category: str, stored_name: str) -> FinishedRow | None:
    where = "WHERE category = ? AND stored_name = ?"
    found = db.select(f"{FINISHED.select} {where}", (category, stored_name))
    return FINISHED.row(found[0]) if found else None


def find_answer(db: Database, scope: str, key: str) -> AnswerRow | None:
    found = db.select(f"{ANSWERS.select} WHERE scope = ? AND key = ?", (scope, key))
    return ANSWERS.row(found[0]) if found else None


def unfinished_sessions(db: Database, active_before: float, limit: int) -> list[str]:
    found = db.select(
        "SELECT session_id FROM sessions WHERE ended_at IS NULL AND active_at < ? "
        "ORDER BY active_at, session_id LIMIT ?",
        (active_before, limit),
    )
    return [session_id for (session_id,) in found]


def ended_sessions(db: Database, ended_before: float, limit: int) -> list[str]:
    found = db.select(
        "SELECT session_id FROM sessions WHERE ended_at IS NOT NULL AND ended_at < ? "
        "ORDER BY ended_at, session_id LIMIT ?",
        (ended_before, limit),
    )
    return [session_id for (session_id,) in found]


def finished_before(db: Database, completed_before: float, limit: int) -> list[FinishedRow]:
    found = db.select(
        f"{FINISHED.select} WHERE completed_at < ? ORDER BY completed_at, category, stored_name LIMIT ?",
        (completed_before, limit),
    )
    return [FINISHED.row(values) for values in found]


def finishing_files(db: Database) -> list[tuple[str, str]]:
    found = db.select(
        "SELECT session_id, file_id FROM files INDEXED BY files_finishing WHERE state = 'finishing'"
    )
    return sorted(found)


def known_blobs(db: Database, keys: Sequence[str]) -> set[str]:
    return {key for key in keys if _knows_blob(db, key)}


def _knows_blob(db: Database, key: str) -> bool:
    found = db.select(
        "SELECT upload_id || '.' || attempt FROM files "
        "WHERE upload_id = ? AND state NOT IN ('completed', 'cancelled') "
        "AND (state != 'failed' OR resumable_after_failure)",
        (key.rpartition(".")[0],),
    )
    return found == [(key,)]


def known_names(db: Database, names: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(category, name) for category, name in names if _knows_name(db, category, name)}


def _knows_name(db: Database, category: str, stored_name: str) -> bool:
    found = db.select(
        "SELECT 1 FROM finished WHERE category = ?1 AND stored_name = ?2 UNION ALL "
        "SELECT 1 FROM files JOIN sessions USING (session_id) "
        "WHERE state = 'finishing' AND stored_name = ?2 AND category = ?1 LIMIT 1",
        (category, stored_name),
    )
    return bool(found)


def reserved_bytes(db: Database) -> int:
    [(total,)] = db.select(
        "SELECT coalesce(sum(max(file_size - synced, 0)), 0) FROM files "
        "WHERE state NOT IN ('completed', 'failed', 'cancelled')"
    )
    return int(total)


def counts(db: Database) -> dict[str, int]:
    return {table: db.select(f"SELECT count(*) FROM {table}")[0][0] for table in _TABLES}
