"""On a terminal: bars, keys, and the terminal as it was when all is over."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import IO, Any

import httpx2
import pytest

from penstock.server.client.sources import WINDOW_BYTES
from penstock.server.exits import Exit
from tests.client.rig import Client, noise
from tests.running import PATIENCE_S, PENSTOCK

SESSION = re.compile(r"session ([0-9a-f-]{36}) at")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A client on a terminal of its own; its standard input is a pipe, for the file."""

    def __init__(self, client: Client, process: subprocess.Popen[bytes], keyboard: int) -> None:
        assert process.stdin is not None
        self.process = process
        self.stdin: IO[bytes] = process.stdin
        self.shown = ""
        self._client = client
        self._keyboard = keyboard

    def press(self, key: str) -> None:
        os.write(self._keyboard, key.encode())

    def wait_shown(self, pattern: str) -> re.Match[str]:
        """In what was not looked at yet."""
        while not (found := re.search(pattern, self.shown)):
            self._read()
        self.shown = self.shown[found.end() :]
        return found

    def end(self) -> int:
        """The exit code, when all was read."""
        try:
            while True:
                self._read()
        except OSError:  # EIO: the last process has closed it
            return self.process.wait(PATIENCE_S)

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._keyboard)

    def wait_session(self, session: str, **wanted: object) -> None:
        """Until the server says so."""
        url = f"{self._client.url}/api/upload/progress/{session}"
        headers: dict[str, str] = {}
        while True:
            answer = httpx2.get(url, headers=headers, trust_env=False, timeout=PATIENCE_S)
            if answer.status_code == 200 and wanted.items() <= answer.json().items():
                return
            headers = {"If-None-Match": answer.headers["ETag"], "Prefer": "wait=20"}

    def _read(self) -> None:
        self.shown += ESCAPES.sub("", os.read(self._keyboard, 65536).decode("utf-8", "replace"))


@contextmanager
def terminal(client: Client, *args: str) -> Iterator[Terminal]:
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    process = subprocess.Popen(
        [*PENSTOCK, *args],
        cwd=client.home,
        env=client.environ,
        stdin=subprocess.PIPE,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0),
    )
    os.close(screen)
    hangs = Timer(PATIENCE_S, process.kill)
    hangs.start()
    try:
        with process:
            yield Terminal(client, process, keyboard)
            process.kill()
    finally:
        hangs.cancel()
        process.kill()
        os.close(keyboard)


@pytest.fixture
def home(client: Client) -> Path:
    return client.home


def test_keys_pause_resume_and_cancel(client: Client) -> None:
    with terminal(client, "upload", "-", "--name", "film.mp4") as screen:
        before = screen.modes()
        session = screen.wait_shown(SESSION.pattern)[1]
        screen.wait_shown("p pause   r resume   c cancel")
        screen.stdin.write(noise(WINDOW_BYTES + 1))
        screen.stdin.flush()
        screen.wait_shown(r"film\.mp4 .*8\.4 MB .*")
        assert not screen.modes()[3] & termios.ICANON
        screen.press("p")
        screen.wait_session(session, overallStatus="paused")
        screen.wait_shown(r"film\.mp4 .*paused")
        screen.press("R")
        screen.wait_session(session, overallStatus="uploading")
        screen.press("xc")
        assert screen.end() == Exit.CANCELLED
        assert "1 cancelled" in screen.shown
        assert screen.modes() == before


def test_bars_show_the_servers_numbers_to_the_end(client: Client) -> None:
    for name in ("a.bin", "b.bin"):
        (client.home / name).write_bytes(noise(1_500_000))
    with terminal(client, "upload", "a.bin", "b.bin") as screen:
        assert screen.end() == Exit.OK
    last = screen.shown[screen.shown.rindex("a.bin  ") :]
    assert re.search(r"a\.bin .*100\.0% 1\.5 MB of 1\.5 MB completed", last)
    assert re.search(r"total, 2 of 2 files done .*100\.0% 3\.0 MB of 3\.0 MB", last)
    assert re.search(r"http://\S+_a\.bin\ta\.bin|http://\S+_a\.bin +a\.bin", screen.shown)


def test_ctrl_c_says_how_to_go_on_and_gives_the_terminal_back(client: Client) -> None:
    with terminal(client, "upload", "-") as screen:
        before = screen.modes()
        session = screen.wait_shown(SESSION.pattern)[1]
        screen.wait_shown("p pause")
        screen.press("\x03")
        assert screen.end() == Exit.INTERRUPTED
        assert f"penstock upload --resume {session}" in screen.shown
        assert screen.modes() == before


def test_a_terminated_client_gives_the_terminal_back(client: Client) -> None:
    with terminal(client, "upload", "-") as screen:
        before = screen.modes()
        screen.wait_shown("p pause")
        screen.process.send_signal(signal.SIGTERM)
        assert screen.end() == Exit.INTERRUPTED
        assert screen.modes() == before
