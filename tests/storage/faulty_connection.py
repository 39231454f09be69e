"""A SQLite connection whose statements are counted, and fail as SQLite would when a test says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from tests.storage.gate import Gate

ERROR_NAMES = {
    sqlite3.SQLITE_FULL: "SQLITE_FULL",
    sqlite3.SQLITE_IOERR_READ: "SQLITE_IOERR_READ",
    sqlite3.SQLITE_IOERR_WRITE: "SQLITE_IOERR_WRITE",
    sqlite3.SQLITE_IOERR_FSYNC: "SQLITE_IOERR_FSYNC",
    sqlite3.SQLITE_READONLY: "SQLITE_READONLY",
    sqlite3.SQLITE_BUSY: "SQLITE_BUSY",
}
# The others roll the transaction back by themselves: https://www.sqlite.org/lang_transaction.html
_LEAVING_IT_OPEN = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY)


class Statements:
    """What a connection is asked, and where it fails. `asked` is all of it, refused or not."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failed = 0  # times
        self._code: int | None = None
        self._gate: Gate | None = None
        self._nth = 1
        self._lasting = False
        self._containing = ""

    def fail(self, code: int, *, nth: int = 1, containing: str = "", lasting: bool = False) -> None:
        """Let the `nth` statement from now (with this in it) fail with this code; `lasting`: and on."""
        self._code, self._nth, self._containing, self._lasting = code, nth, containing, lasting
        self.asked.clear()
        self.failed = 0

    def hold(self, gate: Gate, *, containing: str) -> None:
        """Let the next statement with this in it be stuck at the gate until that is let go."""
        self._gate, self._containing = gate, containing

    def heal(self) -> None:
        self._code = None

    def connection(self) -> type[sqlite3.Connection]:
        """A class of connections that do as these statements say."""
        statements = self

        class FaultyConnection(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                statements.look_at(sql, super())
                return super().execute(sql, parameters)

            def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
                statements.look_at(sql, super())
                return super().executemany(sql, parameters)

            def executescript(self, script: str, /) -> sqlite3.Cursor:
                for statement in _split(script):
                    self.execute(statement)
                return self.cursor()

        return FaultyConnection

    def look_at(self, sql: str, connection: Any) -> None:
        """Raises: OperationalError."""
        if self._containing not in sql:
            return
        self.asked.append(sql)
        gate, self._gate = self._gate, None
        if gate is not None:
            gate()
        seen = len(self.asked)
        if self._code is None or not (seen == self._nth or (self._lasting and seen > self._nth)):
            return
        self.failed += 1
        if self._code not in _LEAVING_IT_OPEN and connection.in_transaction:
            connection.execute("ROLLBACK")
        error = sqlite3.OperationalError(ERROR_NAMES[self._code])
        error.sqlite_errorcode, error.sqlite_errorname = self._code, ERROR_NAMES[self._code]
        raise error


def _split(script: str) -> Iterator[str]:
    statement = ""
    for piece in script.split(";"):
        statement += f"{piece};"
        if sqlite3.complete_statement(statement) and statement.strip("; \n"):
            yield statement
            statement = ""
