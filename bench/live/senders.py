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
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import msgspec

from bench.live.messages import Send


class Senders:
    def __init__(self, plan: Send) -> None:
        self._plan = plan
        self.go_on = threading.Event()
        self._begun = threading.Barrier(len(plan.heads) + 1)
        self._connections: list[socket.socket] = []
        self._source = os.memfd_create("chunk")
        os.ftruncate(self._source, plan.chunk_bytes)

    def begin(self) -> None:
        """A first chunk from each."""
        for index in range(len(self._plan.heads)):
            threading.Thread(target=self._send, args=(index,), daemon=True).start()
        self._begun.wait()

    def _send(self, index: int) -> None:
        plan = self._plan
        connection = socket.create_connection((plan.host, plan.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.append(connection)
        with suppress(ConnectionError):  # its answer says why
            connection.sendall(plan.heads[index].encode("ascii"))
            self._chunk(connection)
            self._begun.wait()
            self.go_on.wait()
            # Spread over the pace, as uploads of different people would be.
            due = time.monotonic() + plan.every_s * index / len(plan.heads)
            while True:
                if plan.every_s:
                    due += plan.every_s
                    time.sleep(max(due - time.monotonic(), 0))
                self._chunk(connection)

    def _chunk(self, connection: socket.socket) -> None:
        at, end = 0, self._plan.chunk_bytes
        while at < end:
            at += os.sendfile(connection.fileno(), self._source, at, end - at)

    def answers(self) -> Iterator[str]:
        """Of uploads that did not last."""
        for connection in self._connections:
            try:
                yield connection.recv(2000, socket.MSG_DONTWAIT).decode(errors="replace") or "no answer"
            except BlockingIOError:
                pass  # as it should be
            except OSError as error:
                yield repr(error)


if __name__ == "__main__":
    senders = Senders(msgspec.json.decode(sys.stdin.buffer.readline(), type=Send))
    senders.begin()
    print("begun", flush=True)
    sys.stdin.buffer.readline()
    senders.go_on.set()
    sys.stdin.buffer.read()
    with suppress(BrokenPipeError):  # nobody asks any more
        print(*islice(senders.answers(), 3), sep="; ", flush=True)
    os._exit(0)  # the threads are in the kernel, and have nothing to put away
