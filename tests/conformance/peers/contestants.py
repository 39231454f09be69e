"""The servers that the suites are run against: how each is installed, started and named."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

import penstock
from bench.npm import NotHere, install

HERE = Path(__file__).parent


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
    _place = HERE / "tus_node_server"

    def prepare(self) -> None:
        install(self._place)

    def version(self) -> str:
        wanted = json.loads((self._place / "package.json").read_bytes())["dependencies"]
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        return (
            f"{wanted['@tus/server']}, @tus/file-store {wanted['@tus/file-store']}, "
            f"Node {node.strip().removeprefix('v')}"
        )

    def options(self) -> list[str]:
        return ["--serve", f"node {self._place / 'server.js'} {{directory}}"]


class TusPyServer(Contestant):
    """tuspyserver on FastAPI and uvicorn, in an environment of its own."""

    name = "tuspyserver"
    _place = HERE / "tuspyserver"
    _wanted = _place / "requirements.txt"
    _environment = Path(sys.prefix) / "peers" / "tuspyserver"

    @property
    def _python(self) -> Path:
        return self._environment / "bin" / "python"

    def prepare(self) -> None:
        done = self._environment / "installed.txt"
        if done.exists() and done.read_bytes() == self._wanted.read_bytes():
            return
        # As `make setup`: where there is no ensurepip, pip can still fill an environment from outside.
        self._run(sys.executable, "-m", "venv", "--without-pip", str(self._environment))
        pip = (sys.executable, "-m", "pip", "--python", str(self._python), "--quiet")
        self._run(*pip, "install", "--no-deps", "-r", str(self._wanted))
        done.write_bytes(self._wanted.read_bytes())

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise NotHere(f"{command} failed: {done.stderr.strip()[-500:]}")

    def version(self) -> str:
        lines = self._wanted.read_text(encoding="utf-8").splitlines()
        wanted = dict(line.split("==") for line in lines if "==" in line)
        return (
            f"{wanted['tuspyserver']}, FastAPI {wanted['fastapi']}, uvicorn {wanted['uvicorn']}, "
            f"Python {platform.python_version()}"
        )

    def options(self) -> list[str]:
        return ["--serve", f"{self._python} {self._place / 'server.py'} {{directory}}"]


CONTESTANTS: tuple[Contestant, ...] = (Penstock(), TusNodeServer(), TusPyServer())
