"""Run by tests in a process of its own whose disk is made to fail: `python -m tests.storage.faulty_database`.

Commits for a while, beyond the point where the log is copied into the database, and says on its standard
output what was acknowledged and what refused.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

from penstock.storage.errors import StoreError
from penstock.storage.state.base import AddFact
from penstock.storage.state.changes import prepared
from penstock.storage.state.database import Database, as_store_error

PAYLOAD_BYTES = 200_000  # 50 pages: twenty commits fill the log
COMMITS = 30


def main(path: Path) -> None:
    try:
        database = Database(path, "boot-1")
    except StoreError as error:
        say(f"not opened: {type(error).__name__}")
        return
    for seq in range(1, COMMITS + 1):
        commit(database, seq)
    try:
        database.close()
    except sqlite3.Error as error:
        say(f"not closed: {type(as_store_error(error)).__name__}")


def commit(database: Database, seq: int) -> None:
    """Every third is hard."""
    changes = prepared([AddFact("s1", seq, os.urandom(PAYLOAD_BYTES)), AddFact("s2", seq, b"")], 1000)
    hard = seq % 3 == 0
    try:
        (refused,) = database.commit([changes], hard)
    except StoreError as error:
        refused = error
    except sqlite3.Error as error:
        refused = as_store_error(error)
    say(f"{seq} {'hard' if hard else 'soft'} {type(refused).__name__ if refused else 'done'}")


def say(line: str) -> None:
    """In one system call, so that it stands in the log of them."""
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
