"""What the clients of upload resources know: the bytes they have, and what they were told."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from random import Random

import trio

from penstock.protocol.errors import GatewayError
from penstock.server.uploads.digests import Digest
from penstock.server.uploads.resources import Place
from tests.server.uploads.rig import FedBody

KIB = 1024
MOST_BYTES = 200 * KIB  # of any upload, and of what its client could send beyond its end
FLIPPED = bytes(range(255, -1, -1))  # makes rubbish of true bytes, every one of them wrong


@lru_cache(maxsize=64)
def stream(seed: str) -> bytes:
    """The bytes of an upload's client: it may say that its file ends anywhere in it."""
    return Random(seed).randbytes(MOST_BYTES)


class Upload:
    """An upload resource as its clients know it. They all have the same bytes for it."""

    def __init__(self, place: Place, length: int, *, partial: bool) -> None:
        self.place = place
        self.length = length  # of the file, as its client has it; the server may not know it yet
        self.partial = partial
        self.bytes = stream(place.upload_id)
        self.size: int | None = None  # as the server knows it
        self.sent = 0  # bytes of it that were put on the wire, from its beginning
        self.announced: dict[int, int] = {}  # the highest offset that was told, by attempt
        self.gone = 0  # the attempt that was cancelled or terminated, as somebody was told

    def tell(self, attempt: int, offset: int) -> None:
        """An offset was told: it never goes down within an attempt."""
        before = self.announced.get(attempt, 0)
        assert offset >= before, f"{self.place.file_id} was told {before}, now {offset}"
        self.announced[attempt] = offset


class Finals:
    """What files that are put together must hold, by their Upload-Concat."""

    def __init__(self) -> None:
        self.pieces: dict[str, list[Upload]] = {}
        self.places: dict[str, Place] = {}

    def expected(self, concat: str) -> bytes:
        assert all(piece.size is not None for piece in self.pieces[concat]), "put together from a torso"
        return b"".join(piece.bytes[: piece.size] for piece in self.pieces[concat])


class Request:
    """Something a client asked for that is still going on, and that can be cut."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.over = False
        self.error: GatewayError | None = None
        self.body: FedBody | None = None


class Sender(Request):
    """A request with a body: true bytes of the upload from `start` to `until`, or rubbish instead."""

    def __init__(self, upload: Upload, start: int, until: int, *, rubbish: bool, chunked: bool) -> None:
        super().__init__()
        self.upload = upload
        self.position = start
        self.until = until
        self.rubbish = rubbish
        self.body: FedBody = FedBody(length=None if chunked else until - start)
        self._start = start

    def feed(self, count: int) -> None:
        """Put that many bytes on the wire, if there are so many."""
        end = min(self.position + count, self.until)
        if end > self.position:
            piece = self.upload.bytes[self.position : end]
            if not self.rubbish and self.upload.sent >= self.position:
                self.upload.sent = max(self.upload.sent, end)
            self.body.feed(piece.translate(FLIPPED) if self.rubbish else piece)
            self.position = end

    def end(self) -> None:
        """End the body where it is: well, if that is as announced."""
        if self.position == self.until or self.body.length is None:
            self.body.end()
        else:
            self.body.break_off()

    def digest(self) -> Digest:
        """Of the true bytes."""
        true = self.upload.bytes[self._start : self.until]
        return Digest("sha256", hashlib.sha256(true).digest())
