"""Who takes part: how each server is started, where it takes an upload, where it leaves the bytes."""

from __future__ import annotations

import json
import sys
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from http.client import HTTPConnection
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import penstock
from bench.processes import Running, running

SERVERS = Path(__file__).parent / "servers"
REQUEST_S = 30.0

Kind = Literal["tus", "socketio"]  # what a server that runs already can be taken for


class Dialect(StrEnum):
    TUS = "tus"
    PUT = "PUT"
    FORM = "form"


class Contestant(ABC):
    """One server in one way of running it."""

    name: str
    synced = False  # whether it answers only when the bytes are on the disk
    only: tuple[str, ...] = ()  # the workloads it is there for; empty: whatever it can do
    takes: Mapping[Dialect, str] = {}  # uploads: where, by dialect
    serves = False  # whether what was uploaded can be downloaded, again and again

    @abstractmethod
    def command(self, directory: Path) -> list[str]:
        """What starts it, with all it stores below `directory`."""

    def running(self, directory: Path) -> AbstractContextManager[Running]:
        """Its server, ready. Raises: StartFailed."""
        return running(self.command(directory), directory)

    def stored(self, directory: Path) -> Iterator[Path]:
        """The finished files."""
        return (path for path in directory.glob("**/*") if path.is_file() and path.name != "log")

    def target(self, dialect: Dialect, server: Running, index: int, length: int) -> str:
        """Where the bytes of the next upload go; what has to be made before them is made here."""
        if dialect is Dialect.TUS:
            return create_upload(server, self.takes[dialect], length)
        return self.takes[dialect].format(index=index)

    def prepare(self) -> None:
        """Install what is missing. Raises: NotHere."""
        return  # ours come with the checkout

    def version(self) -> str:
        """What takes part, where the machine's description does not say it."""
        return ""


class Penstock(Contestant):
    takes: Mapping[Dialect, str] = {Dialect.TUS: "/files/", Dialect.PUT: "", Dialect.FORM: "/api/upload"}
    serves = True

    def __init__(self, name: str, *options: str, fsync: str = "never", only: tuple[str, ...] = ()) -> None:
        self.name = name
        self.only = only
        self.synced = fsync != "never"
        self._options = ("--fsync", fsync, *options)

    def command(self, directory: Path) -> list[str]:
        program = Path(sysconfig.get_path("scripts")) / "penstock"
        return [str(program), "serve", "--port", "0", "--data-dir", str(directory / "data"), *self._options]

    def stored(self, directory: Path) -> Iterator[Path]:
        return super().stored(directory / "data" / "upload")

    def target(self, dialect: Dialect, server: Running, index: int, length: int) -> str:
        """A session of its own for each file, as for uploads of different people."""
        if dialect is not Dialect.PUT:
            return super().target(dialect, server, index, length)
        wanted = {"files": [{"fileName": f"{index}.bin", "fileSize": length}]}
        headers = {"Content-Type": "application/json"}
        _, body = _post(server, "/api/upload/sessions", json.dumps(wanted), headers)
        return str(json.loads(body)["files"][0]["uploadUrl"])

    def version(self) -> str:
        return " ".join((penstock.__version__, *self._options))


class Floor(Contestant):
    takes: Mapping[Dialect, str] = {Dialect.PUT: "/upload/{index}", Dialect.FORM: "/upload"}

    def __init__(self, name: str, *, sync: bool) -> None:
        self.name = name
        self.synced = sync

    def command(self, directory: Path) -> list[str]:
        program = [sys.executable, "-P", str(SERVERS / "floor.py"), str(directory)]
        return [*program, "--sync"] if self.synced else program


class Elsewhere(Contestant):
    """A server that runs already, known by its URL. What it costs and stores nobody can see from here."""

    def __init__(self, name: str, kind: Kind, url: str) -> None:
        self.name = name
        self.kind = kind
        self.path = urlsplit(url).path or "/"
        self.url = url
        self.takes = {Dialect.TUS: self.path} if kind == "tus" else {}

    def command(self, directory: Path) -> list[str]:
        raise NotImplementedError(f"{self.name} is not ours to start")

    def running(self, directory: Path) -> AbstractContextManager[Running]:
        parts = urlsplit(self.url)
        return nullcontext(Running(None, parts.port or 80, parts.hostname or "127.0.0.1"))

    def stored(self, directory: Path) -> Iterator[Path]:
        return iter(())

    def version(self) -> str:
        return self.url


def create_upload(server: Running, path: str, length: int) -> str:
    """The path of a new tus upload."""
    head = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": "filename YS5iaW4="}
    location, _ = _post(server, path, "", head)
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _post(server: Running, path: str, body: str, headers: dict[str, str]) -> tuple[str, bytes]:
    """The answer's `Location` and its body. Raises: OSError."""
    connection = HTTPConnection(server.host, server.port, timeout=REQUEST_S)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise ConnectionError(f"POST {path}: {answer.status} {said[:500].decode(errors='replace')}")
    return answer.getheader("Location", ""), said


# In the order of a round, peers (bench/peers.py) between them. Without `synced` nothing is promised about a
# power cut.
FLOOR = Floor("floor", sync=False)
FLOOR_SYNCED = Floor("floor-synced", sync=True)
PENSTOCK = Penstock("penstock")
PENSTOCK_COMPLETE = Penstock("penstock-complete", fsync="complete", only=("fsync", "syncs"))
PENSTOCK_SYNCED = Penstock("penstock-synced", fsync="append")
PENSTOCK_H2C = Penstock("penstock-h2c", "--h2c", only=("http2",))
