"""Uploads that go on until nobody wants them any more, a process of its own: a thread for each.

The bytes come from a file in memory by `sendfile`. What to send comes on stdin as a line of JSON; `begun` is
said when each has sent its first chunk. Another line lets them go on; at the end of stdin all break off, and
what answers came before is said.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import suppress

import msgspec

from bench.live.messages import Send


class Senders:
    def __init__(self, plan: Send) -> None:
        self._plan = plan
        self.go_on = threading.Event()
        self._begun = threading.Barrier(len(plan.heads) + 1)
        self.failures: list[str] = []  # uploads that ended by themselves
        self._source = os.memfd_create("chunk")
        os.ftruncate(self._source, plan.chunk_bytes)

    def begin(self) -> None:
        """A first chunk from each."""
        for index in range(len(self._plan.heads)):
            threading.Thread(target=self._send, args=(index,), daemon=True).start()
        self._begun.wait()

    def _send(self, index: int) -> None:
        plan = self._plan
        with socket.create_connection((plan.host, plan.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(plan.heads[index].encode("ascii"))
            self._chunk(connection)
            self._begun.wait()
            self.go_on.wait()
            # Spread over the pace, as uploads of different people would be.
            due = time.monotonic() + plan.every_s * index / len(plan.heads)
            with suppress(ConnectionError):
                while True:
                    if plan.every_s:
                        due += plan.every_s
                        time.sleep(max(due - time.monotonic(), 0))
                    self._chunk(connection)
            self.failures.append(self._answer(connection))

    def _chunk(self, connection: socket.socket) -> None:
        at, end = 0, self._plan.chunk_bytes
        while at < end:
            at += os.sendfile(connection.fileno(), self._source, at, end - at)

    def _answer(self, connection: socket.socket) -> str:
        """Why the server did not want the rest."""
        try:
            return connection.recv(2000).decode(errors="replace")
        except OSError as error:
            return repr(error)


if __name__ == "__main__":
    senders = Senders(msgspec.json.decode(sys.stdin.buffer.readline(), type=Send))
    senders.begin()
    print("begun", flush=True)
    sys.stdin.buffer.readline()
    senders.go_on.set()
    sys.stdin.buffer.read()
    with suppress(BrokenPipeError):  # nobody asks any more
        print(*senders.failures[:3], sep="; ", flush=True)
    os._exit(0)  # the threads are in the kernel, and have nothing to put away
