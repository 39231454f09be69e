"""The servers that the suites are run against: how each is installed, started and named."""

from __future__ import annotations

import platform
import subprocess
from abc import ABC, abstractmethod

import penstock
from bench import npm, pip
from bench.peers import TusNode, TusPy


class Contestant(ABC):
    name: str
    suites: tuple[str, ...] = ("tus",)

    def prepare(self) -> None:
        """Install what is missing. Raises: NotHere."""
        return  # ours is the checkout

    @abstractmethod
    def version(self) -> str:
        """What took part, and what it ran on."""

    @abstractmethod
    def options(self) -> list[str]:
        """What makes pytest run the suites against it."""


class Penstock(Contestant):
    name = "Penstock"
    suites = ("tus", "rufh")

    def version(self) -> str:
        return f"{penstock.__version__}, Python {platform.python_version()}"

    def options(self) -> list[str]:
        return []


class TusNodeServer(Contestant):
    """@tus/server with @tus/file-store."""

    name = "@tus/server"
    _peer = TusNode()

    def prepare(self) -> None:
        self._peer.prepare()

    def version(self) -> str:
        wanted = npm.pinned(self._peer.place)
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        return (
            f"{wanted['@tus/server']}, @tus/file-store {wanted['@tus/file-store']}, "
            f"Node {node.strip().removeprefix('v')}"
        )

    def options(self) -> list[str]:
        return ["--serve", f"node {self._peer.place / 'server.js'} {{directory}}"]


class TusPyServer(Contestant):
    """tuspyserver on FastAPI and uvicorn, in an environment of its own."""

    name = "tuspyserver"
    _peer = TusPy()

    def prepare(self) -> None:
        self._peer.prepare()

    def version(self) -> str:
        wanted = pip.pinned(self._peer.place)
        return (
            f"{wanted['tuspyserver']}, FastAPI {wanted['fastapi']}, uvicorn {wanted['uvicorn']}, "
            f"Python {platform.python_version()}"
        )

    def options(self) -> list[str]:
        return ["--serve", f"{pip.python(self._peer.place)} {self._peer.place / 'server.py'} {{directory}}"]


CONTESTANTS: tuple[Contestant, ...] = (Penstock(), TusNodeServer(), TusPyServer())
