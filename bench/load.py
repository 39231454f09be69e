"""The load generator, a process of its own: requests from stdin as JSON, timings to stdout as JSON.

It must never be what is measured: bodies go from the page cache into the socket by `sendfile`, heads and
multipart preambles are made beforehand, and each request has a thread that waits in the kernel.
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


class Request(msgspec.Struct, frozen=True):
    """What goes over one connection: `before`, a stretch of the source file, `after`."""

    before: bytes
    after: bytes
    source: str
    offset: int
    length: int


class Plan(msgspec.Struct, frozen=True):
    """All requests of one measurement; they start together, each on its own connection."""

    port: int
    requests: list[Request]


class Outcome(msgspec.Struct, frozen=True):
    """`seconds`: from the common start until the last answer was read. `failures`: each text once."""

    seconds: float
    cpu_s: float
    failures: list[str]


def run(plan: Plan) -> Outcome:
    """Send everything at once, read every answer."""
    together = threading.Barrier(len(plan.requests) + 1)
    failures: list[str] = []

    def work(request: Request) -> None:
        together.wait()
        failure = _exchange(plan.port, request)
        if failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(request,)) for request in plan.requests]
    for thread in threads:
        thread.start()
    cpu_s = time.process_time()
    together.wait()
    started_at = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started_at
    return Outcome(seconds, time.process_time() - cpu_s, sorted(set(failures)))


def _exchange(port: int, request: Request) -> str | None:
    """One request and its answer; what went wrong, None if it was accepted."""
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            with suppress(ConnectionError):  # an early answer says why
                _send(connection, request)
            return _refusal(connection)
    except (OSError, HTTPException) as error:
        return repr(error)


def _send(connection: socket.socket, request: Request) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(request.before)
    at, end = request.offset, request.offset + request.length
    with Path(request.source).open("rb") as source:
        while at < end:
            at += os.sendfile(connection.fileno(), source.fileno(), at, end - at)
    connection.sendall(request.after)


def _refusal(connection: socket.socket) -> str | None:
    with HTTPResponse(connection) as answer:
        answer.begin()
        body = answer.read()
    return None if 200 <= answer.status < 300 else f"{answer.status} {body[:500].decode(errors='replace')}"


if __name__ == "__main__":
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(run(plan)))
