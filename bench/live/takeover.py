"""A writer stalls, and its client comes back on another connection."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import ClassVar

from bench.contestants import Contestant, Dialect
from bench.live.latency import figures, metrics
from bench.sizes import MIB
from bench.uploads.base import Count, Size
from bench.uploads.exchange import check_stored, clear
from bench.uploads.requests import TUS, head
from bench.workload import Entry, Failed, Metric, Ratio, Variant, Workload

CONTESTANTS = ("penstock", "tus-node")
ANSWER_S = 30.0
ASK_AGAIN_S = 0.02  # after 423: its client must come again


class Takeover(Workload, frozen=True, kw_only=True):
    """take-over from a writer that stalls: until the true offset is told to a second connection

    Half of a tus PATCH is sent, then nothing, and its connection stays. After `stall_ms` another connection
    asks by HEAD until it is answered with 200, and sends the rest from that offset: the time runs from the
    first HEAD to the answer. The upload must be complete then, and at first its bytes are compared.
    """

    name: ClassVar = "takeover"
    full: ClassVar = ({"tries": 30},)

    tries: Count = 5
    size: Size = 2 * MIB
    stall_ms: Count = 200

    @property
    def title(self) -> str:
        return f"Take-over of a writer that stalled {self.stall_ms} ms ago, {self.tries} times"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (*metrics("take-over"), Metric("HEADs"))

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return (Ratio("take-over p99", "tus-node"),)

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        return [Variant(one.name) for one in contestants if one.name in CONTESTANTS]

    def warm_up(self, entry: Entry) -> None:
        content = os.urandom(self.size)
        try:
            self._take_over(entry, content)
            check_stored(entry, Counter([hashlib.sha256(content).hexdigest()]))
        finally:
            clear(entry)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        content = os.urandom(self.size)
        try:
            taken = [self._take_over(entry, content) for _ in range(self.tries)]
        finally:
            clear(entry)
        seconds, heads = zip(*taken, strict=True)
        return {**figures("take-over", seconds), "HEADs": sum(heads) / len(heads)}

    def _take_over(self, entry: Entry, content: bytes) -> tuple[float, int]:
        """How long it took, and how many requests. Raises: Failed."""
        half = len(content) // 2
        try:
            target = entry.contestant.target(Dialect.TUS, entry.server, 0, len(content))
            with _stalled(entry, target, content, half), _connection(entry) as second:
                time.sleep(self.stall_ms / 1000)
                seconds, heads, offset = _true_offset(second, target)
                _finish(second, target, content, offset)
        except (OSError, HTTPException) as error:
            raise Failed(f"not taken over: {error!r}") from error
        return seconds, heads


@contextmanager
def _stalled(entry: Entry, target: str, content: bytes, half: int) -> Iterator[None]:
    """A PATCH of everything, of which half comes."""
    fields = {**TUS, "Upload-Offset": "0", "Content-Length": str(len(content))}
    with socket.create_connection((entry.server.host, entry.server.port), timeout=ANSWER_S) as writer:
        writer.sendall(head(entry, "PATCH", target, fields) + content[:half])
        yield


@contextmanager
def _connection(entry: Entry) -> Iterator[HTTPConnection]:
    connection = HTTPConnection(entry.server.host, entry.server.port, timeout=ANSWER_S)
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def _true_offset(second: HTTPConnection, target: str) -> tuple[float, int, int]:
    """Seconds, requests, offset. Raises: Failed."""
    started_at = time.monotonic()
    for heads in range(1, int(ANSWER_S / ASK_AGAIN_S)):
        answer = _say(second, "HEAD", target, {})
        if answer.status == 200:
            return time.monotonic() - started_at, heads, int(answer.headers["Upload-Offset"])
        time.sleep(ASK_AGAIN_S)
    raise Failed(f"HEAD: {answer.status} for {ANSWER_S:.0f} s")


def _finish(second: HTTPConnection, target: str, content: bytes, offset: int) -> None:
    """Raises: Failed, if the offset was no true one."""
    answer = _say(second, "PATCH", target, {"Upload-Offset": str(offset)}, content[offset:])
    if answer.status != 204 or int(answer.headers["Upload-Offset"]) != len(content):
        raise Failed(f"PATCH from {offset}: {answer.status}, at {answer.headers['Upload-Offset']}")


def _say(
    second: HTTPConnection, method: str, target: str, fields: Mapping[str, str], body: bytes | None = None
) -> HTTPResponse:
    second.request(method, target, body, {**TUS, **fields} if body else {"Tus-Resumable": "1.0.0"})
    answer = second.getresponse()
    answer.read()
    return answer
