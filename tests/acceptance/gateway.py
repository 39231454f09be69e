"""A real `penstock serve` process under a test, and what the system says about it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import trio

from tests.running import PATIENCE_S, PENSTOCK, Server, serving

T = TypeVar("T")

# The shell replaces itself: the process id is the server's.
LOGGED = ("/bin/sh", "-c", 'exec "$0" "$@" 2>>server.log', *PENSTOCK)


class Gateway:
    """A running server with its data in `directory`/data and its log in `directory`/server.log."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.process = server.process
        self.data = directory / "data"
        self._log = directory / "server.log"
        url = urlsplit(server.url)
        assert url.hostname
        assert url.port
        self.host, self.port = url.hostname, url.port

    async def kill(self) -> None:
        """SIGKILL."""
        self.freeze()
        self.process.kill()
        await trio.to_thread.run_sync(self.process.wait)

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return await self.wait()

    async def wait(self) -> int:
        return await trio.to_thread.run_sync(self.process.wait, PATIENCE_S)

    # What it left on the disk

    def paths(self) -> list[str]:
        """Everything in the data directory that is not the database's own."""
        found = self.data.rglob("*")
        return sorted(str(path.relative_to(self.data)) for path in found if path.name[:5] != "state")

    def incoming_bytes(self) -> int:
        """What all unfinished files hold on the disk."""
        total = 0
        for path in (self.data / "incoming").iterdir():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def published(self, upload_path: str) -> Path:
        """The file behind an `uploadPath`."""
        return self.data / unquote(upload_path).lstrip("/")

    def rows(self, but: tuple[str, ...] = ()) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of every table, except those of the tables named."""
        with closing(sqlite3.connect(f"file:{self.data / 'state.db'}?mode=ro", uri=True)) as database:
            tables = [
                name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type='table'")
            ]
            wanted = [name for name in tables if name not in but and not name.startswith("sqlite_")]
            return {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in wanted}

    # What the system says

    def peak_memory_bytes(self) -> int:
        return self._status_kib("VmHWM") * 1024

    def freeze(self) -> None:
        """Stop it where it is; idempotent. What /proc says of it then is the last word."""
        self.process.send_signal(signal.SIGSTOP)

    def read_bytes(self) -> int:
        """What it has read so far: of bodies on the direct path, and of files."""
        lines = Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("rchar:"))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _status_kib(self, name: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    # What it says itself

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """The lines of its log (of all processes that ran in this directory)."""
        entries = [json.loads(line) for line in self._log.read_text().splitlines() if line[:1] == "{"]
        return [entry for entry in entries if event in (None, entry["event"])]

    def faults(self) -> list[dict[str, Any]]:
        """What it logged as its own mistakes: there should never be any."""
        return [entry for entry in self.log() if entry["level"] == "error"]


@asynccontextmanager
async def running(directory: Path, *options: str) -> AsyncIterator[Gateway]:
    """A gateway that is ready; at the end it must stop cleanly, unless it was killed."""
    stack = ExitStack()
    server = await trio.to_thread.run_sync(
        lambda: stack.enter_context(serving(LOGGED, *options, cwd=directory))
    )
    gateway = Gateway(server, directory)
    try:
        yield gateway
    finally:
        with trio.move_on_after(2 * PATIENCE_S, shield=True):
            await trio.to_thread.run_sync(stack.close)
    assert gateway.faults() == []


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that only a look can tell."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # another process has no event for us
            await trio.sleep(0.01)


async def polled(look: Callable[[], Awaitable[T]], wanted: Callable[[T], object]) -> T:
    """Ask until the answer is as wanted; it."""
    with trio.fail_after(PATIENCE_S):
        while not wanted(seen := await look()):  # noqa: ASYNC110  # the same
            await trio.sleep(0.01)
    return seen
