"""One Socket.IO client that waits for what it is told: for latencies, one after the other."""

from __future__ import annotations

import json
import socket
import time
from typing import Any, Self

from bench.live import wire
from bench.live.stage import Stage
from bench.workload import Failed

ANSWER_S = 30.0


class Client:
    """Connected, joined and greeted. Its methods raise Failed when the server does not answer in time."""

    def __init__(self, stage: Stage, session: str = "") -> None:
        self._socket = socket.create_connection((stage.host, stage.port), timeout=ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._asked = 0
        self._socket.sendall(wire.upgrade(stage.target(session), stage.port, deflate=False))
        while self._file.readline() != b"\r\n":
            pass
        self._read(b"0")
        self._socket.sendall(wire.NAMESPACE)
        self._read(b"40")
        for _ in range(stage.greetings if session else 1):
            self._read(b"42")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, event: str, payload: dict[str, Any]) -> float:
        """Emit it; the seconds until its ack. Raises: Failed, if that says no."""
        self._asked += 1
        said = f"42{self._asked}{json.dumps([event, payload])}".encode()
        started_at = time.monotonic()
        self._socket.sendall(wire.frame(said))
        answer = self._read(b"43%d[" % self._asked)
        seconds = time.monotonic() - started_at
        (told,) = json.loads(answer[answer.index(b"[") :])
        if not told["ok"]:
            raise Failed(f"{event}: {told['error']}")
        return seconds

    def wait_event(self, name: str) -> float:
        """The monotonic time at which it came; others are passed over."""
        self._read(f'42["{name}"'.encode())
        return time.monotonic()

    def _read(self, prefix: bytes) -> bytes:
        """The next message that begins so. Pings are answered."""
        try:
            while not (payload := self._frame()).startswith(prefix):
                if payload == b"2":
                    self._socket.sendall(wire.PONG_PACKET)
        except OSError as error:
            raise Failed(f"no {prefix!r}: {error!r}") from error
        return payload

    def _frame(self) -> bytes:
        head = self._file.read(2)
        if len(head) < 2 or head[0] != wire.TEXT:
            raise Failed(f"the connection ended: {head + self._file.read(100)!r}")
        length = head[1]
        if length >= 126:
            length = int.from_bytes(self._file.read(2 if length == 126 else 8), "big")
        return self._file.read(length)
