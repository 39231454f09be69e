"""The database's tables, as a list of migrations: entry n brings version n to n + 1, and is never edited.

Columns are the fields of the row types in `base.py`, by name (a test holds them together). Tables are
WITHOUT ROWID: rows lie in the order they are asked for, and each is stored once.
"""

from __future__ import annotations

_V1 = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    watch_key TEXT NOT NULL,
    category TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_at REAL NOT NULL,
    active_at REAL NOT NULL,
    open INTEGER NOT NULL,
    latch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    ended_at REAL,
    metadata TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX sessions_watch_key ON sessions (watch_key);
CREATE INDEX sessions_unfinished ON sessions (active_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE files (
    session_id TEXT NOT NULL,
    file_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    upload_id TEXT NOT NULL,
    file_name TEXT NOT NULL,
    file_type TEXT NOT NULL,
    file_size INTEGER,
    size_is_declared INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    synced INTEGER NOT NULL,
    floor INTEGER,
    promise TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    broke_off INTEGER NOT NULL,
    retry_count INTEGER NOT NULL,
    resumable_after_failure INTEGER NOT NULL,
    exempt INTEGER NOT NULL,
    stored_name TEXT,
    started_at REAL,
    ended_at REAL,
    error_code TEXT,
    error_message TEXT,
    digest TEXT,
    PRIMARY KEY (session_id, file_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX files_upload ON files (upload_id);
CREATE INDEX files_finishing ON files (stored_name) WHERE state = 'finishing';
CREATE INDEX files_unended ON files (file_size, synced)
    WHERE state NOT IN ('completed', 'failed', 'cancelled');

CREATE TABLE facts (
    session_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (session_id, seq)
) WITHOUT ROWID;

CREATE TABLE finished (
    category TEXT NOT NULL,
    stored_name TEXT NOT NULL,
    subject TEXT NOT NULL,
    file_name TEXT NOT NULL,
    file_type TEXT NOT NULL,
    file_size INTEGER NOT NULL,
    completed_at REAL NOT NULL,
    digest TEXT,
    PRIMARY KEY (category, stored_name)
) WITHOUT ROWID;
CREATE INDEX finished_age ON finished (completed_at);

CREATE TABLE answers (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    session_id TEXT NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX answers_session ON answers (session_id);
CREATE INDEX answers_age ON answers (created_at);
"""

_V2 = """
ALTER TABLE sessions ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN digest_wanted TEXT NOT NULL DEFAULT '';
ALTER TABLE files ADD COLUMN upload_metadata TEXT;
ALTER TABLE files ADD COLUMN upload_concat TEXT;
ALTER TABLE files ADD COLUMN part_of TEXT;
ALTER TABLE files ADD COLUMN stays_open INTEGER NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN final_offset INTEGER;
ALTER TABLE files ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
"""

MIGRATIONS = (_V1, _V2)
