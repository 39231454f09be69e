"""How soon a watcher is told of what an uploader has sent."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPResponse
from typing import ClassVar

from bench.contestants import Contestant
from bench.live.client import ANSWER_S, Client
from bench.live.latency import figures, metrics
from bench.live.stage import PenstockStage
from bench.sizes import KIB
from bench.uploads.base import Count, Size
from bench.uploads.exchange import clear
from bench.uploads.requests import head
from bench.workload import Entry, Failed, Metric, Variant, Workload

CONTESTANTS = ("penstock", "penstock-synced")


class Progress(Workload, frozen=True, kw_only=True):
    """latency from a byte sent to the event at a Socket.IO watcher

    A small upload in two halves. `started`: from the first half handed to the kernel until the watcher has
    read `upload-started`. `completed`: from the last half until `upload-completed`, which is told when the
    file is in its place (and synced, where that is promised). Progress in between is told twice a second at
    most, so it has no latency of its own; these two are never held back.
    """

    name: ClassVar = "progress"
    full: ClassVar = ({"uploads": 200},)

    uploads: Count = 30
    size: Size = 4 * KIB

    @property
    def title(self) -> str:
        return f"{self.uploads} small uploads, watched: how late events are"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (*metrics("completed"), *metrics("started"))

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        return [Variant(one.name) for one in contestants if one.name in CONTESTANTS]

    def warm_up(self, entry: Entry) -> None:
        self.sample(entry)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        try:
            with PenstockStage(entry.server) as stage:
                seconds = [self._upload(entry, stage) for _ in range(self.uploads)]
        finally:
            clear(entry)
        started, completed = zip(*seconds, strict=True)
        return {**figures("completed", completed), **figures("started", started)}

    def _upload(self, entry: Entry, stage: PenstockStage) -> tuple[float, float]:
        """Seconds until started, until completed."""
        session, (target,) = stage.uploads(1, self.size)
        first = self.size // 2
        fields = {"Content-Length": str(self.size)}
        address = (entry.server.host, entry.server.port)
        with (
            Client(stage, session) as watcher,
            socket.create_connection(address, timeout=ANSWER_S) as uploader,
        ):
            started = _told(uploader, head(entry, "PUT", target, fields) + bytes(first), watcher, "started")
            completed = _told(uploader, bytes(self.size - first), watcher, "completed")
            _check(uploader)
        return started, completed


def _told(uploader: socket.socket, data: bytes, watcher: Client, what: str) -> float:
    uploader.sendall(data)
    sent_at = time.monotonic()
    return watcher.wait_event(f"upload-{what}") - sent_at


def _check(uploader: socket.socket) -> None:
    """Raises: Failed."""
    with HTTPResponse(uploader) as answer:
        answer.begin()
        answer.read()
    if answer.status != 200:
        raise Failed(f"PUT: {answer.status}")
