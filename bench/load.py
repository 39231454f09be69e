"""The load generator, a process of its own: requests from stdin as JSON, timings to stdout as JSON.

It must never be what is measured: bodies go from the page cache into the socket by `sendfile`, heads and
multipart preambles are made beforehand, answers are counted and thrown away, and each connection has a thread
that waits in the kernel.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import msgspec

TAKEN_AT_ONCE = 2**20
COMPLAINT_BYTES = 500


class Request(msgspec.Struct, frozen=True):
    """What goes over the connection: `before`, a stretch of the source file, `after`."""

    before: bytes
    after: bytes = b""
    source: str = ""
    offset: int = 0
    length: int = 0


class Plan(msgspec.Struct, frozen=True):
    """One measurement. The connections start together; the requests of one follow each other's answers."""

    host: str
    port: int
    connections: list[list[Request]]


class Outcome(msgspec.Struct, frozen=True):
    """`seconds`: from the common start until the last answer was read. `failures`: each text once."""

    seconds: float
    cpu_s: float
    failures: list[str] = []
    received_bytes: int = 0  # bodies of answers


def run(plan: Plan) -> Outcome:
    """Send everything at once, read every answer."""
    together = threading.Barrier(len(plan.connections) + 1)
    failures: list[str] = []
    received: list[int] = []

    def work(requests: list[Request]) -> None:
        together.wait()
        try:
            received.append(_exchange((plan.host, plan.port), requests))
        except (OSError, HTTPException) as error:
            failures.append(str(error) if isinstance(error, Refused) else repr(error))

    threads = [threading.Thread(target=work, args=(requests,)) for requests in plan.connections]
    for thread in threads:
        thread.start()
    cpu_s = time.process_time()
    together.wait()
    started_at = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started_at
    return Outcome(seconds, time.process_time() - cpu_s, sorted(set(failures)), sum(received))


class Refused(HTTPException):
    """An answer that is not 2xx."""


def _exchange(address: tuple[str, int], requests: list[Request]) -> int:
    """One request after the other's answer; how many bytes came back. Raises: HTTPException, OSError."""
    received = 0
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            with suppress(ConnectionError):  # an early answer says why
                _send(connection, request)
            received += _take_answer(connection)
    return received


def _send(connection: socket.socket, request: Request) -> None:
    connection.sendall(request.before)
    if request.length:
        at, end = request.offset, request.offset + request.length
        with Path(request.source).open("rb") as source:
            while at < end:
                at += os.sendfile(connection.fileno(), source.fileno(), at, end - at)
    if request.after:
        connection.sendall(request.after)


def _take_answer(connection: socket.socket) -> int:
    with HTTPResponse(connection) as answer:
        answer.begin()
        if not 200 <= answer.status < 300:
            complaint = answer.read()[:COMPLAINT_BYTES].decode(errors="replace")
            raise Refused(f"{answer.status} {complaint}")
        return _count(answer)


def _count(answer: HTTPResponse) -> int:
    """The length of the body, which goes into one buffer again and again."""
    promised, received = answer.length, 0
    buffer = memoryview(bytearray(min(promised or TAKEN_AT_ONCE, TAKEN_AT_ONCE)))
    while count := answer.readinto(buffer):
        received += count
    if promised is not None and received < promised:
        raise HTTPException(f"the answer ended after {received} of {promised} bytes")
    return received


if __name__ == "__main__":
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(run(plan)))
