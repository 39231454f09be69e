"""Uploads as tus clients know them, and a PATCH whose body comes as slowly as a test wants."""

from __future__ import annotations

from tests.server.http.clients import Answer, BareClient
from tests.server.http.draft_client import Slow


class Upload:
    """An upload as its clients know it: its bytes, and what they were told."""

    def __init__(self, url: str, data: bytes, *, partial: bool = False, sent: int) -> None:
        self.url = url
        self.data = data
        self.partial = partial
        self.told = 0  # the highest offset
        self.sent = sent  # true bytes from its beginning
        self.ending = False  # somebody has asked for its end ...
        self.gone = False  # ... and was told so

    def tell(self, answer: Answer) -> None:
        offset = int(answer.headers.get("upload-offset", self.told))
        assert self.told <= offset <= self.sent, (self.told, offset, self.sent)
        self.told = offset


class SlowPatch(Slow):
    """A PATCH whose body comes bit by bit; `rubbish`: it carries a checksum that these bytes do not have."""

    def __init__(
        self, client: BareClient, upload: Upload, start: int, headers: dict[str, str], *, rubbish: bool
    ) -> None:
        super().__init__(client, "PATCH", upload.url, headers)
        self.upload = upload
        self.position = start
        self.rubbish = rubbish
        self.ended = False

    def feed_some(self, count: int) -> None:
        piece = self.upload.data[self.position : self.position + count]
        if piece and not self.ended:
            self.position += len(piece)
            if not self.rubbish and self.position - len(piece) <= self.upload.sent:
                self.upload.sent = max(self.upload.sent, self.position)
            self.feed(bytes(len(piece)) if self.rubbish else piece)

    def end(self, *, well: bool) -> None:
        self.ended = True
        if well:
            self.finish()
        else:
            self.leave()
