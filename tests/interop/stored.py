"""What a gateway holds more than before."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.acceptance.content import Content, file_sha256
from tests.acceptance.gateway import Gateway


class Stored:
    """The difference to the moment in which this was made."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.url = f"http://{gateway.host}:{gateway.port}"
        self._before = self._below("upload")
        self._begun_before = self._below("incoming")
        self._sessions = self._listed()

    def files(self) -> list[Path]:
        """Finished ones, in their place."""
        return sorted(self._below("upload") - self._before)

    def sessions(self) -> int:
        """How many were made; what holds the parts of a parallel upload does not count."""
        return self._listed() - self._sessions

    def check(self, content: Content, name: str, *, partials: int = 0) -> None:
        """One upload, its one file whole, under the name it was given, and nothing else but its partials."""
        (path,) = self.files()
        assert path.name.endswith(f"_{name}")
        assert file_sha256(path) == content.sha256()
        assert self.sessions() == 1
        assert len(self._unfinished()) == partials

    def check_nothing(self) -> None:
        """Not a byte."""
        assert self.files() == []
        assert self._unfinished() == set()

    def _unfinished(self) -> set[Path]:
        return self._below("incoming") - self._begun_before

    def _below(self, name: str) -> set[Path]:
        return {path for path in (self.gateway.data / name).rglob("*") if path.is_file()}

    def _listed(self) -> int:
        with closing(sqlite3.connect(f"file:{self.gateway.data / 'state.db'}?mode=ro", uri=True)) as database:
            ((count,),) = database.execute("SELECT count(*) FROM sessions WHERE NOT hidden").fetchall()
            return int(count)
