"""Running uploads, as the measuring process sees them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from bench.live.messages import Send
from bench.processes import Running
from bench.sizes import KIB
from bench.workload import Failed

CHUNK_BYTES = 1024 * KIB


class Sending:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def begin(self, plan: Send) -> None:
        self._say(msgspec.json.encode(plan))
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"begun\n":
            raise Failed("the uploads did not begin")

    def go_on(self) -> None:
        self._say(b"go on")

    def end(self) -> None:
        """All break off. Raises: Failed, if one was answered before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        if failures := self._process.stdout.read().strip():
            raise Failed(f"uploads ended by themselves: {failures.decode(errors='replace')}")

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()


@contextmanager
def sending(
    server: Running,
    targets: Sequence[str],
    length: int,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    every_s: float = 0.0,
) -> Iterator[Sending]:
    """A `PUT` to each, of which the first chunk is on its way: the others when they are to `go_on`.

    Raises: Failed.
    """
    heads = [_head(server, target, length) for target in targets]
    command = [sys.executable, "-P", "-m", "bench.live.senders"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        sending = Sending(process)
        try:
            sending.begin(Send(server.host, server.port, heads, chunk_bytes, every_s))
            yield sending
            sending.end()
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _head(server: Running, target: str, length: int) -> str:
    return f"PUT {target} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nContent-Length: {length}\r\n\r\n"
