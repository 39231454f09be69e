"""The client as a process of its own, as a script or a person would use it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import IO, Any

import httpx2

from tests.running import PATIENCE_S, PENSTOCK

Told = dict[str, Any]


class Client:
    """Runs `penstock` with a home of its own; `url` is the server it knows."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.url = url

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
            "XDG_STATE_HOME": str(self.home / "state"),
            "PENSTOCK_URL": self.url,
        }

    def __call__(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*PENSTOCK, *args],
            cwd=self.home,
            env=self.environ,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def told(self, *args: str, stdin: bytes = b"") -> list[Told]:
        """What a command says with `--json`; it must succeed."""
        done = self(*args, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def running(self, *args: str) -> Iterator[Running]:
        """A command under way, with `--json`."""
        process = subprocess.Popen(
            [*PENSTOCK, *args, "--json"],
            cwd=self.home,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        hangs = Timer(PATIENCE_S, process.kill)  # then what waits here fails
        hangs.start()
        with process:
            try:
                yield Running(process)
            finally:
                hangs.cancel()
                process.kill()


class Running:
    """A command that has not ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.stdin: IO[bytes] = process.stdin
        self.told: list[Told] = []
        self._stdout: IO[bytes] = process.stdout

    def wait_told(self, event: str, fits: Callable[[Told], bool] = lambda told: True) -> Told:
        """The next such event."""
        for line in self._stdout:
            told: Told = json.loads(line)
            self.told.append(told)
            if told["event"] == event and fits(told):
                return told
        raise AssertionError(f"no {event}; it ended with {self.end()}, and told {self.told[-3:]}")

    def end(self) -> int:
        """Its exit code."""
        self.stdin.close()
        self.told += [json.loads(line) for line in self._stdout]
        return self.process.wait(PATIENCE_S)


def download(url: str) -> bytes:
    answer = httpx2.get(url, trust_env=False, timeout=PATIENCE_S)
    assert answer.status_code == 200
    return answer.content


def uploaded(told: list[Told]) -> dict[str, bytes]:
    """What lies at the server, by file name."""
    return {one["fileName"]: download(one["url"]) for one in told if one["event"] == "file-uploaded"}


def summary(told: list[Told]) -> Told:
    assert told[-1]["event"] == "summary"
    return told[-1]


def noise(size: int) -> bytes:
    return os.urandom(size)
