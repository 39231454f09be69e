"""Who takes part: how each server is started, where it takes an upload, where it leaves the bytes."""

from __future__ import annotations

import json
import sys
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import StrEnum
from http.client import HTTPConnection
from pathlib import Path

from bench import npm

HERE = Path(__file__).parent
EXPRESS = HERE / "servers" / "express_multer"


class Dialect(StrEnum):
    PUT = "PUT"
    FORM = "form"


class Contestant(ABC):
    """One server in one way of running it."""

    name: str
    synced = False  # whether it answers only when the bytes are on the disk
    form_target = "/upload"

    @abstractmethod
    def command(self, directory: Path) -> list[str]:
        """What starts it, with all it stores below `directory`."""

    def stored(self, directory: Path) -> Iterator[Path]:
        """The finished files."""
        return (path for path in directory.glob("**/*") if path.is_file() and path.name != "log")

    def put_target(self, port: int, index: int, length: int) -> str:
        """Where the next raw body goes."""
        return f"/upload/{index}"

    def prepare(self) -> None:
        """Install what is missing. Raises: NotHere."""
        return  # ours come with the checkout


class Penstock(Contestant):
    form_target = "/api/upload"

    def __init__(self, name: str, fsync: str) -> None:
        self.name = name
        self.synced = fsync == "append"
        self._fsync = fsync

    def command(self, directory: Path) -> list[str]:
        program = Path(sysconfig.get_path("scripts")) / "penstock"
        options = {"--port": "0", "--data-dir": str(directory / "data"), "--fsync": self._fsync}
        return [str(program), "serve", *(word for option in options.items() for word in option)]

    def stored(self, directory: Path) -> Iterator[Path]:
        return super().stored(directory / "data" / "upload")

    def put_target(self, port: int, index: int, length: int) -> str:
        """A session of its own for each file, as for uploads of different people."""
        wanted = {"files": [{"fileName": f"{index}.bin", "fileSize": length}]}
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/api/upload/sessions", json.dumps(wanted), headers)
            return str(json.load(connection.getresponse())["files"][0]["uploadUrl"])
        finally:
            connection.close()


class Floor(Contestant):
    def __init__(self, name: str, *, sync: bool) -> None:
        self.name = name
        self.synced = sync

    def command(self, directory: Path) -> list[str]:
        program = [sys.executable, "-P", str(HERE / "servers" / "floor.py"), str(directory)]
        return [*program, "--sync"] if self.synced else program


class Express(Contestant):
    name = "express"

    def command(self, directory: Path) -> list[str]:
        return ["node", str(EXPRESS / "server.js"), str(directory)]

    def prepare(self) -> None:
        npm.install(EXPRESS)


# In the order of a round. The first three promise nothing about a power cut, the last two do.
CONTESTANTS: dict[str, Contestant] = {
    contestant.name: contestant
    for contestant in (
        Floor("floor", sync=False),
        Penstock("penstock", "never"),
        Express(),
        Floor("floor-synced", sync=True),
        Penstock("penstock-synced", "append"),
    )
}
