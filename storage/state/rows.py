"""Row types ↔ SQL: the one place that knows how a msgspec struct becomes a table's row and back."""

from __future__ import annotations

from enum import Enum
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_origin, get_type_hints

import msgspec

from penstock.storage.state.base import AnswerRow, FileRow, FinishedRow, SessionRow

Row = TypeVar("Row", bound=msgspec.Struct)
Value = str | bytes | int | float | None
Parameters = tuple[Value, ...]


class Table(Generic[Row]):
    """One table: its statements, and its rows as parameters and back.

    Enums are stored as their value, dicts as JSON, bools as 0 and 1.
    """

    def __init__(self, name: str, row_type: type[Row], key: tuple[str, ...], *, unless: str = "") -> None:
        hints = get_type_hints(row_type)
        self.columns = tuple(field.name for field in msgspec.structs.fields(row_type))
        self._row_type = row_type
        self._json = tuple(column for column in self.columns if get_origin(hints[column]) is dict)
        self._values = attrgetter(*(_attribute(column, hints[column]) for column in self.columns))
        names, marks = ", ".join(self.columns), ", ".join("?" * len(self.columns))
        changed = ", ".join(f"{column} = excluded.{column}" for column in self.columns if column not in key)
        self.upsert = (
            f"INSERT INTO {name} ({names}) VALUES ({marks}) "
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed} {unless}"
        )
        self.select = f"SELECT {names} FROM {name}"

    def parameters(self, row: Row) -> Parameters:
        """The row's values, in the order of `columns`: a copy of what they are now."""
        values: Parameters = self._values(row)
        if not self._json:
            return values
        return tuple(
            msgspec.json.encode(value).decode() if column in self._json else value
            for column, value in zip(self.columns, values, strict=True)
        )

    def row(self, values: tuple[Any, ...]) -> Row:
        """The row of a selected tuple. Raises: msgspec.ValidationError when the database holds nonsense."""
        fields = dict(zip(self.columns, values, strict=True))
        for column in self._json:
            fields[column] = msgspec.json.decode(fields[column])
        return msgspec.convert(fields, self._row_type, strict=False)


def _attribute(column: str, hint: object) -> str:
    return f"{column}.value" if isinstance(hint, type) and issubclass(hint, Enum) else column


SESSIONS = Table("sessions", SessionRow, ("session_id",))
FILES = Table("files", FileRow, ("session_id", "file_id"), unless="WHERE excluded.fence >= files.fence")
FINISHED = Table("finished", FinishedRow, ("category", "stored_name"))
ANSWERS = Table("answers", AnswerRow, ("scope", "key"))
