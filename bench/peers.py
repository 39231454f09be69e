"""Other people's upload servers: each a few lines around a library, as its own documentation shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from bench import npm, pip
from bench.contestants import SERVERS, Contestant, Dialect


class NodePeer(Contestant):
    """`node server.js DIRECTORY`, with what the lock file beside it names."""

    place: Path
    packages: tuple[str, ...]  # whose versions say what it is

    def prepare(self) -> None:
        npm.install(self.place)

    def command(self, directory: Path) -> list[str]:
        return ["node", str(self.place / "server.js"), str(directory)]

    def version(self) -> str:
        wanted = npm.pinned(self.place)
        return ", ".join([*(f"{name} {wanted[name]}" for name in self.packages), f"Node {_node_version()}"])


class PythonPeer(Contestant):
    """`python server.py DIRECTORY`, in an environment that has what the list beside it names."""

    place: Path
    packages: tuple[str, ...]

    def prepare(self) -> None:
        pip.install(self.place)

    def command(self, directory: Path) -> list[str]:
        return [str(pip.python(self.place)), str(self.place / "server.py"), str(directory)]

    def version(self) -> str:
        wanted = pip.pinned(self.place)
        return ", ".join(f"{name} {wanted[name]}" for name in self.packages)


class Express(NodePeer):
    """multer's disk storage for forms; a raw body is piped into a file."""

    name = "express"
    place = SERVERS / "express_multer"
    packages = ("express", "multer")
    takes: Mapping[Dialect, str] = {Dialect.PUT: "/upload/{index}", Dialect.FORM: "/upload"}
    serves = True


class TusNode(NodePeer):
    """@tus/server with its file store.

    It could serve files, but its process ends once a client closes the connection that brought one.
    """

    name = "tus-node"
    place = SERVERS / "tus_node"
    packages = ("@tus/server", "@tus/file-store")
    takes: Mapping[Dialect, str] = {Dialect.TUS: "/files"}

    def stored(self, directory: Path) -> Iterator[Path]:
        return (path for path in super().stored(directory / "files") if path.suffix != ".json")


class TusPy(PythonPeer):
    """tuspyserver on FastAPI and uvicorn."""

    name = "tuspyserver"
    place = SERVERS / "tuspyserver"
    packages = ("tuspyserver", "fastapi", "uvicorn", "uvloop", "httptools")
    takes: Mapping[Dialect, str] = {Dialect.TUS: "/files/"}

    def stored(self, directory: Path) -> Iterator[Path]:
        return (path for path in super().stored(directory / "files") if re.fullmatch("[0-9a-f]+", path.name))


@cache
def _node_version() -> str:
    if shutil.which("node") is None:
        return "absent"
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().removeprefix("v")
