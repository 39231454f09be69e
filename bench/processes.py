"""A server as a process of its own: started, waited for, weighed, stopped."""

from __future__ import annotations

import math
import os
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

READY = re.compile(rb"ready at http://127\.0\.0\.1:(\d+)/")
START_S = 30.0
STOP_S = 15.0
SETTLE_S = 0.05  # no CPU used for this long: what was left to do after the answer is done
SETTLE_MOST_S = 3.0

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"  # proc(5), clear_refs: VmHWM starts again from what is resident now


class StartFailed(Exception):
    """The server did not become ready; the message ends with what it said."""


class Running:
    """A ready server: where it listens and what its process tree costs.

    Without a `pid` it is somebody else's, perhaps on another machine: its costs are nan.
    """

    def __init__(self, pid: int | None, port: int, host: str = "127.0.0.1") -> None:
        self.pid = pid
        self.port = port
        self.host = host

    def cpu_s(self) -> float:
        """CPU seconds of the tree so far, ended children included; to 10 ms, as the kernel tells it."""
        return self._sum(_cpu_s)

    def settled_cpu_s(self) -> float:
        """The same, once it has come to rest: what is left to do after an answer belongs to its cost."""
        cpu_s, deadline = self.cpu_s(), time.monotonic() + SETTLE_MOST_S
        while self.pid is not None and time.monotonic() < deadline:
            time.sleep(SETTLE_S)
            before, cpu_s = cpu_s, self.cpu_s()
            if cpu_s == before:
                break
        return cpu_s

    def reset_peak(self) -> None:
        for pid in _tree(self.pid):
            with suppress(FileNotFoundError, ProcessLookupError):  # one that has just ended
                Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK, encoding="ascii")

    def peak_bytes(self) -> float:
        """The sum of each process's highest resident size since `reset_peak`."""
        return self._sum(lambda pid: _memory_bytes(pid, "VmHWM"))

    def resident_bytes(self) -> float:
        """The sum of each process's resident size now."""
        return self._sum(lambda pid: _memory_bytes(pid, "VmRSS"))

    def _sum(self, of: Callable[[int], float]) -> float:
        return math.nan if self.pid is None else sum(_of_living(of, pid) for pid in _tree(self.pid))


@contextmanager
def running(command: Sequence[str], cwd: Path) -> Iterator[Running]:
    """A server that says `ready at http://127.0.0.1:PORT/` on stdout; its stderr goes to `cwd/log`.

    Raises: StartFailed.
    """
    log = cwd / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=cwd, env=_environment(), stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        try:
            yield Running(process.pid, _wait_ready(process, log))
        finally:
            _stop(process)


def _environment() -> dict[str, str]:
    """Ours without the settings of whoever measures; node's as in production."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return {**kept, "NODE_ENV": "production"}


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> int:
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + START_S
    while not (match := READY.search(said)):
        more = _read(process.stdout, deadline - time.monotonic())
        if not more:
            complaint = (said + log.read_bytes())[-2000:].decode(errors="replace").strip()
            raise StartFailed(f"{process.args!r} did not start: {complaint or 'it said nothing'}")
        said += more
    return int(match[1])


def _read(pipe: IO[bytes], timeout_s: float) -> bytes:
    """What is there, waiting for it; nothing at the end or when it is too late."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return os.read(pipe.fileno(), 65536) if selector.select(max(timeout_s, 0)) else b""


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


# /proc


def _tree(pid: int | None) -> Iterator[int]:
    if pid is None:
        return
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has just ended
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from _tree(int(child))


def _of_living(of: Callable[[int], float], pid: int) -> float:
    """Nothing for one that has just ended; its CPU is then among its parent's ended children."""
    try:
        return of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _cpu_s(pid: int) -> float:
    # proc(5): after the name in brackets, fields 14-17 are utime, stime, cutime, cstime.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def _memory_bytes(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    match = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
