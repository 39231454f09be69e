"""A server as a process that a test may kill and start again where it was."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO

from tests.conformance.wire import Target

READY = re.compile(r"\bready at (http://\S+/)")
START_S = 30.0
STOP_S = 30.0
KILLED_AFTER_S = 2.0  # somebody else's server that does not stop when it is asked to
WRONG_OPTION = 2  # the exit code by which a server says that it has no such option


class NotStarted(Exception):
    """The server did not become ready; the message ends with what it said."""

    def __init__(self, message: str, exit_code: int | None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Server:
    """What `command` serves, with all it stores in `directory`. It prints a line `… ready at URL …`."""

    def __init__(self, command: Sequence[str], directory: Path, *, ours: bool) -> None:
        self.directory = directory
        self.ours = ours
        self._command = [word.replace("{directory}", str(directory)) for word in command]
        self._log = directory / "server.log"
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    @property
    def target(self) -> Target:
        """Where it is now: after a restart it has another port."""
        return Target.at(self._url + ("files/" if self.ours else ""), ours=self.ours)

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process, "not started"
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, or start it again. Raises: NotStarted."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self.directory, stdout=subprocess.PIPE, stderr=log, text=True
            )
        said: Queue[str] = Queue()
        assert self._process.stdout
        Thread(target=_listen, args=(self._process.stdout, said), daemon=True).start()
        try:
            self._url = said.get(timeout=START_S)
        except Empty:
            self._url = ""
        if not self._url:
            self._end(KILLED_AFTER_S)
            complaint = self._log.read_text(encoding="utf-8")[-2000:]
            raise NotStarted(f"{self._command} did not start: {complaint}", self._process.returncode)

    def twin(self) -> Server:
        """Another one on the same directory, not started."""
        return Server(self._command, self.directory, ours=self.ours)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """SIGKILL, and start again in the same directory."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """SIGTERM, if it still runs. Penstock must stop cleanly and have made no mistake of its own."""
        if self.is_running:
            self.process.terminate()
            code = self._end(STOP_S if self.ours else KILLED_AFTER_S)
            assert code == 0 or not self.ours, f"exit code {code}"
        if self.ours:
            assert self.faults() == []

    def _end(self, patience_s: float) -> int:
        """The exit code; one that does not end by itself is killed."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def faults(self) -> list[dict[str, object]]:
        """What Penstock logged as its own mistakes."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line[:1] == "{"]
        return [entry for entry in entries if entry["level"] == "error"]


def _listen(stdout: IO[str], said: Queue[str]) -> None:
    """Tell the URL, or that none came; then take what is printed, or the server would block one day."""
    with stdout:
        for line in stdout:
            if found := READY.search(line):
                said.put(found[1])
        said.put("")
