"""The resumable dialects: PUT with ranges, tus and the IETF draft."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Awaitable, Callable
from itertools import chain
from urllib.parse import urlsplit

from tests.acceptance.api import SESSIONS
from tests.conformance.wire import Answer
from tests.soak.bodies import Body, stretch
from tests.soak.client import Client, Order, some_manner
from tests.soak.exchange import Fields
from tests.soak.world import Gone


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def content_digest(data: bytes) -> tuple[str, str]:
    """RFC 9530."""
    return ("Content-Digest", f"sha-256=:{in_base64(hashlib.sha256(data).digest())}:")


class Put(Client):
    """A session of one file over REST, whole or by `Content-Range`."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self.path = ""
        self.declares = self.dice.random() < 0.8

    async def create(self) -> None:
        file = {"fileName": f"{self.entry.number}.bin", "fileId": self.file_id}
        size = {"fileSize": self.size} if self.declares else {}
        created = await self.world.create_session([{**file, **size}], self.key)
        self.session_id = created["sessionId"]
        self.path = f"{SESSIONS}/{self.session_id}/files/{self.file_id}"

    async def where(self) -> int:
        answer = await self.world.insist(lambda: self.ask("HEAD", self.path, []), f"HEAD of {self.entry}")
        state = answer["upload-state"]
        if state == "cancelled":
            raise Gone(state)
        self.complete = state == "completed"
        if state == "failed" or (not self.complete and self.dice.random() < 0.1):
            await self._send_whole()
            return await self.where()
        return answer.offset

    async def _send_whole(self) -> None:
        """Without an offset: what was there before is given up with the first new byte."""
        self.world.ledger.counts["whole PUTs"] += 1
        self.entry.begin_attempt()
        body = stretch(self.content, 0, self.size, self.note_sent)
        answer = await self.world.ask("PUT", self.path, [], body, some_manner(self.dice, self.size))
        if answer is not None and answer.status == 200:
            self.take_final(answer)

    def append_request(self, offset: int, stop: int) -> tuple[str, str, Fields]:
        return "PUT", self.path, [("Content-Range", f"bytes {offset}-{stop - 1}/{self.size}")]

    def digest_field(self, data: bytes) -> tuple[str, str]:
        return content_digest(data)

    def take_final(self, answer: Answer) -> None:
        view = json.loads(answer.body)
        if view["status"] == "completed":
            self.complete, self.upload_path = True, view["uploadPath"]

    async def download_path(self) -> str:
        if self.upload_path is None:
            self.upload_path = (await self.world.get_json(self.path))["uploadPath"]
        return self.upload_path

    async def terminate(self) -> Answer | None:
        return await self.ask("DELETE", self.path, [])

    @property
    def mistakes(self) -> list[Callable[[int], Awaitable[None]]]:
        return [*super().mistakes, self._too_long] if self.declares else super().mistakes

    async def _too_long(self, offset: int) -> None:
        """More than was registered, and said so: nothing of it may be kept."""
        longer = self.size + 5
        fields = [("Content-Range", f"bytes {offset}-{longer - 1}/{longer}")]
        body = Body(longer - offset, chain(self.content.pieces(offset), (b"?" * 5,)))
        answer = await self.ask("PUT", self.path, fields, body)
        self.must_be_refused(answer, "a body beyond the size")


class Tus(Client):
    """tus 1.0.0, on an upload URL of its own or on that of a registered file."""

    VERSION = ("Tus-Resumable", "1.0.0")
    TYPE = ("Content-Type", "application/offset+octet-stream")

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self.path = ""

    async def create(self) -> None:
        how = self.dice.choice(("registered", "joined", "alone", "with bytes"))
        self.world.ledger.counts[f"tus creation, {how}"] += 1
        if how == "registered":
            file = {"fileName": f"{self.entry.number}.bin", "fileId": self.file_id, "fileSize": self.size}
            created = await self.world.create_session([file], self.key)
            self.session_id = created["sessionId"]
            self.path = urlsplit(created["files"][0]["tusUrl"]).path
            return
        texts = {"filename": f"{self.entry.number}.bin"}
        if how == "joined":
            created = await self.world.create_session([], f"{self.key}-session")
            self.session_id = texts["sessionId"] = created["sessionId"]
            texts["fileId"] = self.file_id
        first = min(self.size, self.piece_bytes) if how == "with bytes" else 0
        await self.post(texts, [("Upload-Length", str(self.size))], first)

    async def post(self, texts: dict[str, str], fields: Fields, first_bytes: int = 0) -> None:
        """Create; where the answer is lost, again under the same key."""
        metadata = ",".join(f"{name} {in_base64(value.encode())}" for name, value in texts.items())
        fields = [self.VERSION, ("Upload-Metadata", metadata), ("Idempotency-Key", f'"{self.key}"'), *fields]
        if first_bytes:
            fields.append(self.TYPE)

        async def request() -> Answer | None:
            body = stretch(self.content, 0, first_bytes, self.note_sent)
            return await self.ask("POST", "/files/", fields, body, some_manner(self.dice, first_bytes))

        answer = await self.world.insist(request, f"POST of {self.entry}")
        self.path = urlsplit(answer["location"]).path

    async def where(self) -> int:
        answer = await self.world.insist(
            lambda: self.ask("HEAD", self.path, [self.VERSION]), f"HEAD of {self.entry}"
        )
        if answer["upload-length"] != str(self.size):
            self.entry.problem(f"its length is told as {answer['upload-length']}")
        self.complete = answer.offset == self.size
        return answer.offset

    def append_request(self, offset: int, stop: int) -> tuple[str, str, Fields]:
        return "PATCH", self.path, [self.VERSION, self.TYPE, ("Upload-Offset", str(offset))]

    def digest_field(self, data: bytes) -> tuple[str, str]:
        name = self.dice.choice(("sha1", "sha256", "md5", "crc32"))
        if name == "crc32":
            return ("Upload-Checksum", f"crc32 {in_base64(zlib.crc32(data).to_bytes(4, 'big'))}")
        return ("Upload-Checksum", f"{name} {in_base64(hashlib.new(name, data).digest())}")

    async def download_path(self) -> str:
        return self.path

    @property
    def mistakes(self) -> list[Callable[[int], Awaitable[None]]]:
        return [*super().mistakes, self._too_long]

    async def _too_long(self, offset: int) -> None:
        """The rest, and more: what is too much must not be kept."""
        body = stretch(self.content, offset, self.size, self.note_sent)
        longer = Body(body.length + 100, chain(body.pieces, (b"?" * 100,)), body.note)
        answer = await self.send(offset, self.size, longer, [])
        self.must_be_refused(answer, "a body beyond the length")

    async def terminate(self) -> Answer | None:
        return await self.ask("DELETE", self.path, [self.VERSION])


class Draft(Client):
    """draft-ietf-httpbis-resumable-upload in one of its interop versions."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self.version = self.dice.choice((3, 5, 6, 8, 8))
        self.path = ""

    def _completeness(self, complete: bool) -> tuple[str, str]:
        if self.version == 3:
            return ("Upload-Incomplete", f"?{int(not complete)}")
        return ("Upload-Complete", f"?{int(complete)}")

    @property
    def _named(self) -> tuple[str, str]:
        return ("Upload-Draft-Interop-Version", str(self.version))

    async def create(self) -> None:
        """Carefully: first its URL, then its bytes."""
        fields = [
            self._named,
            self._completeness(False),
            ("Upload-Length", str(self.size)),
            ("Idempotency-Key", f'"{self.key}"'),
            ("Content-Type", "application/octet-stream"),
            ("Content-Disposition", f'attachment; filename="{self.entry.number}.bin"'),
        ]
        answer = await self.world.insist(lambda: self.ask("POST", "/files/", fields), f"POST of {self.entry}")
        self.path = urlsplit(answer["location"]).path

    async def where(self) -> int:
        answer = await self.world.insist(
            lambda: self.ask("HEAD", self.path, [self._named]), f"HEAD of {self.entry}"
        )
        name, complete = self._completeness(True)
        self.complete = answer[name] == complete
        return answer.offset

    def append_request(self, offset: int, stop: int) -> tuple[str, str, Fields]:
        fields = [self._named, self._completeness(stop == self.size), ("Upload-Offset", str(offset))]
        return "PATCH", self.path, [*fields, ("Content-Type", "application/partial-upload")]

    def digest_field(self, data: bytes) -> tuple[str, str]:
        return content_digest(data)

    def take_final(self, answer: Answer) -> None:
        name, complete = self._completeness(True)
        if answer.get(name) == complete and answer.body:
            self.complete, self.upload_path = True, json.loads(answer.body)["uploadPath"]

    async def download_path(self) -> str:
        return self.upload_path or self.path

    async def terminate(self) -> Answer | None:
        return await self.ask("DELETE", self.path, [self._named])
