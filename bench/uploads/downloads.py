"""Downloads of a finished file. The receiver reads into one buffer and counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, ClassVar

from bench.contestants import REQUEST_S, Contestant, Dialect
from bench.load import Outcome, Plan, Request
from bench.sizes import GIB, MIB, size_text
from bench.uploads import requests
from bench.uploads.base import Count, Size, source_in
from bench.uploads.exchange import Amount, amount_of_bytes, clear, send, weigh
from bench.uploads.payload import Payload, digest_of
from bench.workload import Entry, Failed, Metric, Ratio, Variant, Workload

PATH = "path"  # the note: where the file is


class Downloads(Workload, frozen=True, kw_only=True):
    """GET of a finished file: an upload URL, or a file that express serves"""

    name: ClassVar = "downloads"
    full: ClassVar = ({"size": GIB}, {"at_once": 32, "size": 32 * MIB})

    at_once: Count = 1
    size: Size = 256 * MIB

    @property
    def title(self) -> str:
        many = f"{self.at_once} downloads at once" if self.at_once > 1 else "One download"
        return f"{many} of {size_text(self.size)}"

    @property
    def amount(self) -> Amount:
        return amount_of_bytes(self.at_once * self.size)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return self.amount.metrics

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return (Ratio(self.amount.rate.name, "express", "× express"),)

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        """Nothing is synced here: one way of running ours is enough."""
        return [Variant(one.name) for one in contestants if one.serves and not one.synced]

    def prepare(self, directory: Path) -> None:
        Payload(1, 1, self.size).write(source_in(directory))

    def warm_up(self, entry: Entry) -> None:
        """Upload the file, and download it once."""
        try:
            entry.notes[PATH] = _upload(entry, self.size)
            received = _digest_of_download(entry)
        except (OSError, HTTPException) as error:
            raise Failed(f"the file to download is not there: {error!r}") from error
        if received != digest_of(source_in(entry.shared)):
            clear(entry)
            raise Failed("what was downloaded is not what was uploaded")

    def sample(self, entry: Entry) -> Mapping[str, float]:
        get = Request(requests.head(entry, "GET", entry.notes[PATH], requests.CLOSE))
        plan = Plan(entry.server.host, entry.server.port, [[get]] * self.at_once)
        return weigh(entry, self.amount, lambda: self._load(plan))

    def _load(self, plan: Plan) -> Outcome:
        outcome = send(plan)
        if outcome.received_bytes != self.at_once * self.size:
            raise Failed(f"{outcome.received_bytes} bytes came instead of {self.at_once * self.size}")
        return outcome


def _upload(entry: Entry, length: int) -> str:
    """Where the file can be had afterwards. Raises: OSError, HTTPException."""
    dialect = Dialect.TUS if Dialect.TUS in entry.contestant.takes else Dialect.PUT
    target = entry.contestant.target(dialect, entry.server, 0, length)
    method, fields = (
        ("PATCH", {**requests.TUS, "Upload-Offset": "0"}) if dialect is Dialect.TUS else ("PUT", {})
    )
    with source_in(entry.shared).open("rb") as body:
        fields = {**fields, "Content-Length": str(length)}
        with _asked(entry, method, target, body, fields) as answer:
            said = answer.read()
    return target if dialect is Dialect.TUS else str(json.loads(said)["path"])


def _digest_of_download(entry: Entry) -> str:
    with _asked(entry, "GET", entry.notes[PATH], None, {}) as answer:
        digest = hashlib.sha256()
        while piece := answer.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def _asked(
    entry: Entry, method: str, path: str, body: BinaryIO | None, fields: Mapping[str, str]
) -> Iterator[HTTPResponse]:
    connection = HTTPConnection(entry.server.host, entry.server.port, timeout=REQUEST_S)
    try:
        connection.request(method, path, body, dict(fields))
        answer = connection.getresponse()
        if not 200 <= answer.status < 300:
            raise HTTPException(f"{method}: {answer.status} {answer.read()[:500].decode(errors='replace')}")
        yield answer
    finally:
        connection.close()
