"""What this machine remembers of its uploads, so that they can be listed and resumed: a file per session.

`$XDG_STATE_HOME/penstock/sessions/<sessionId>.json`, readable by its owner alone: whoever has a session id
commands the session. Written at once or not at all, so that several clients do not disturb each other.
Where the bytes go is not remembered: the session says it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from penstock.server.client.errors import ClientError
from penstock.server.exits import Exit

FORGOTTEN_S = 30 * 24 * 3600.0  # a server keeps an ended session for a day by default
SHORTEST_PREFIX = 4


class RecordedFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`path` is empty for standard input; `size` in bytes."""

    file_id: str
    name: str
    path: str
    size: int | None
    mtime_ns: int


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`created_at` in Unix seconds."""

    session_id: str
    watch_key: str
    server: str
    category: str | None
    created_at: float
    files: list[RecordedFile]


class Records:
    """All methods read or write a few small files and block that long. Raise: ClientError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Records:
        """Where the XDG base directory specification wants them."""
        state = environ.get("XDG_STATE_HOME", "")
        home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
        return cls(home / "penstock" / "sessions")

    def save(self, record: Record) -> None:
        self.forget_old()
        # Not msgspec: a path may hold bytes that are no Unicode; json writes them as lone surrogates.
        text = json.dumps(msgspec.to_builtins(record), indent=1)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=self._directory, prefix=".new-")  # mode 0600
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(text)
                os.replace(temporary, self._path(record.session_id))
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise self._unusable(error) from error

    def load(self, session_id: str) -> Record | None:
        try:
            text = self._path(session_id).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        try:
            return msgspec.convert(json.loads(text), Record)
        except (ValueError, msgspec.ValidationError):
            return None  # of another version: as good as none

    def all(self) -> list[Record]:
        """The newest first."""
        records = [record for name in self._ids() if (record := self.load(name))]
        return sorted(records, key=lambda record: record.created_at, reverse=True)

    def forget(self, session_id: str) -> None:
        try:
            self._path(session_id).unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def forget_old(self) -> None:
        for name in self._ids():
            path = self._path(name)
            try:
                if path.stat().st_mtime < time.time() - FORGOTTEN_S:
                    path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._unusable(error) from error

    def find(self, text: str) -> Record | None:
        """The session with that id, or the only one whose id begins with it."""
        folded = text.lower()
        if len(folded) < SHORTEST_PREFIX or not folded.replace("-", "").isalnum():
            return None
        matching = [name for name in self._ids() if name.startswith(folded)]
        if len(matching) > 1:
            raise ClientError(
                f"{text}: several sessions begin like that",
                "give more of its id: `penstock sessions`",
                Exit.USAGE,
            )
        return self.load(matching[0]) if matching else None

    def _ids(self) -> list[str]:
        try:
            return [path.stem for path in self._directory.glob("*.json") if path.name[0] != "."]
        except OSError as error:
            raise self._unusable(error) from error

    def _path(self, session_id: str) -> Path:
        return self._directory / f"{session_id}.json"

    def _unusable(self, error: Exception) -> ClientError:
        return ClientError(
            f"{self._directory} cannot be used: {error}",
            "check its permissions, or name another place with XDG_STATE_HOME",
            Exit.FAILED,
        )


def as_json(record: Record) -> dict[str, Any]:
    return {
        "sessionId": record.session_id,
        "watchKey": record.watch_key,
        "server": record.server,
        "category": record.category,
        "createdAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created_at)),
        "files": len(record.files),
    }
