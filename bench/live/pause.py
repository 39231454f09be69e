"""Pauses: how soon they are confirmed, and whether they hold."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from bench.contestants import Contestant
from bench.live.client import Client
from bench.live.latency import figures, metrics
from bench.live.sending import sending
from bench.live.stage import PenstockStage
from bench.sizes import MB
from bench.uploads.base import Count
from bench.workload import Entry, Failed, Metric, Variant, Workload

CONTESTANTS = ("penstock", "penstock-synced")
SESSION, FILE = "session", "one file"
BEGIN_S = 10.0
HOLDS_S = 0.3  # what is stored after the ack would be there by then
FLOWS_S = 0.05  # between a resume and the next pause


class Pause(Workload, frozen=True, kw_only=True):
    """pause of running uploads, over Socket.IO: until the ack, and what is stored after it

    All uploads are of one session and run as fast as they can. A client with a connection of its own pauses
    the session, or one file while the others go on. The gate closes before the ack, so that is its bound.
    The files are looked at right after the ack and 0.3 s later: any byte in between fails the row.
    """

    name: ClassVar = "pause"
    full: ClassVar = ({"uploads": 1, "pauses": 30}, {"uploads": 200, "pauses": 30})

    uploads: Count = 200
    pauses: Count = 10

    @property
    def title(self) -> str:
        return f"{self.pauses} pauses of {self.uploads} running uploads"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        stored = Metric("stored after the ack", "bytes", "less", "max")
        return (*metrics("ack"), stored, Metric("flowing", "MB/s"))

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        scopes = (SESSION,) if self.uploads == 1 else (SESSION, FILE)
        chosen = [one.name for one in contestants if one.name in CONTESTANTS]
        return [Variant(name, scope) for scope in scopes for name in chosen]

    def sample(self, entry: Entry) -> Mapping[str, float]:
        with _running(entry, self.uploads) as (client, session, first):
            if entry.variant.how == FILE:
                return self._pauses(entry, client, {"sessionId": session, "fileId": "f0"}, [first])
            return self._pauses(entry, client, {"sessionId": session}, _stored(entry))

    def _pauses(
        self, entry: Entry, client: Client, what: dict[str, Any], files: Sequence[Path]
    ) -> Mapping[str, float]:
        acks: list[float] = []
        flowed = late = 0
        for _ in range(self.pauses):
            before = _bytes(_stored(entry))
            time.sleep(FLOWS_S)
            flowed += _bytes(_stored(entry)) - before
            acks.append(client.ask("upload-pause", what))
            confirmed = _bytes(files)
            time.sleep(HOLDS_S)
            late += _bytes(files) - confirmed
            client.ask("upload-resume", what)
        if late or not flowed:
            raise Failed(f"{late} bytes were stored after an ack, {flowed} came between the pauses")
        rate = flowed / MB / (self.pauses * FLOWS_S)
        return {**figures("ack", acks), "stored after the ack": late, "flowing": rate}


@contextmanager
def _running(entry: Entry, count: int) -> Iterator[tuple[Client, str, Path]]:
    """Uploads that do not end by themselves: a client, their session, and where `f0` is on the disk."""
    length = shutil.disk_usage(entry.directory).free // 2 // count  # more than anybody waits for
    with PenstockStage(entry.server) as stage, Client(stage) as client:
        session, targets = stage.uploads(count)
        try:
            with sending(entry.server, targets[:1], length) as one:
                (first,) = _begun(entry, 1)
                with sending(entry.server, targets[1:], length) as others:
                    _begun(entry, count)
                    one.go_on()
                    others.go_on()
                    yield client, session, first
        finally:
            stage.cancel(session)


def _begun(entry: Entry, count: int) -> list[Path]:
    """So many files, once they have their first bytes. Raises: Failed."""
    deadline = time.monotonic() + BEGIN_S
    while len(stored := _stored(entry)) < count or not all(path.stat().st_size for path in stored):
        if time.monotonic() > deadline:
            raise Failed(f"{len(stored)} of {count} uploads have begun within {BEGIN_S:.0f} s")
        time.sleep(0.01)
    return stored


def _stored(entry: Entry) -> list[Path]:
    return list((entry.directory / "data" / "incoming").iterdir())


def _bytes(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files)
