"""The gateway as a process of its own, for tests that look at it from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO, NamedTuple

import penstock

PENSTOCK = (sys.executable, "-P", "-c", "from penstock.server.cli import main; main(prog_name='penstock')")
READY = re.compile(
    rf"Penstock {re.escape(penstock.__version__)} is ready at (https?://\S+/) \((?:no )?data[ ,].+\)\n"
)
PATIENCE_S = 60  # for a process that hangs; nothing is judged by it


class Server(NamedTuple):
    process: subprocess.Popen[str]
    url: str  # with a slash at its end


@contextmanager
def serving(command: Sequence[str] = PENSTOCK, *options: str, cwd: Path) -> Iterator[Server]:
    """A gateway that has said it is ready, on a free port. What is still running at the end is asked to stop,
    and must do so cleanly."""
    process = subprocess.Popen(
        [*command, "serve", "--port", "0", *options], cwd=cwd, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as stdout:
        try:
            line = _first_line(stdout)
            ready = READY.fullmatch(line)
            assert ready, f"not ready: {line!r}"
            yield Server(process, ready[1])
            if process.poll() is None:
                process.terminate()
                assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()


def _first_line(stdout: IO[str]) -> str:
    lines: Queue[str] = Queue()
    Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    return lines.get(timeout=PATIENCE_S)
