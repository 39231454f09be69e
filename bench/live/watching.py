"""The crowd as the measuring process sees it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from bench.live.messages import Asked, Count, Counted, Open, Opened, Ready, Record, Recorded, Tell
from bench.live.stage import Stage
from bench.workload import Failed

OPEN_S = 120.0
COUNT_S = 60.0
NAP_S = 0.002

T = TypeVar("T", bound=Opened | Counted | Recorded | Ready)


class Crowd:
    """Watchers that wait. All its methods raise Failed when the server does not do what it should."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def open(
        self, stage: Stage, sessions: Sequence[str], *, at_once: int = 200, deflate: bool = False
    ) -> Opened:
        """A watcher for each of `sessions`: connected, joined, greeted."""
        targets = [stage.target(session) for session in sessions]
        self._ask(Open(stage.host, stage.port, targets, stage.greetings, at_once, deflate, OPEN_S))
        return _whole(self._told(Opened))

    def begin_count(self, events: int, *, nap_s: float = NAP_S, linger_s: float = 0.0) -> None:
        """Count from now on; then make the server emit, then `counted`."""
        self._ask(Count(events, nap_s, COUNT_S, linger_s))
        self._told(Ready)

    def counted(self) -> Counted:
        return _whole(self._told(Counted))

    def begin_record(self, seconds: float) -> None:
        self._ask(Record(seconds))
        self._told(Ready)

    def recorded(self) -> Recorded:
        return _whole(self._told(Recorded))

    def told(self) -> int:
        """Events so far, greetings included."""
        self._ask(Tell())
        return _whole(self._told(Counted)).events

    def _ask(self, asked: Asked) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(asked) + b"\n")
        self._process.stdin.flush()

    def _told(self, kind: type[T]) -> T:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise Failed("the crowd of watchers has ended by itself")
        return msgspec.json.decode(line, type=kind)


@contextmanager
def crowd() -> Iterator[Crowd]:
    """Watchers to be; all leave at the end."""
    command = [sys.executable, "-P", "-m", "bench.live.crowd"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Crowd(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


U = TypeVar("U", bound=Opened | Counted | Recorded)


def _whole(told: U) -> U:
    if told.failures:
        raise Failed("; ".join(told.failures))
    return told
