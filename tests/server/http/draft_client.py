"""Clients of the IETF draft: in any of its dialects, and one whose body comes as slowly as a test wants."""

from __future__ import annotations

import math
from typing import Any

import trio

from penstock.protocol.rufh import DIALECTS, completeness
from penstock.server.edge.asgi import INFORMATIONAL, Message
from tests.server.http.clients import Answer, Body, Client, Conversation

PARTIAL_UPLOAD = "application/partial-upload"
PROBLEMS = "https://iana.org/assignments/http-problem-types#"


class DraftClient:
    """Speaks one dialect. `version` None: as 8, but without saying so."""

    def __init__(self, client: Client, version: int | None = 8) -> None:
        self.client = client
        self.dialect = DIALECTS[version or 8]
        self.version = {"Upload-Draft-Interop-Version": str(version)} if version else {}

    def creation(self, *, complete: bool, **more: str) -> dict[str, str]:
        return {**self.version, **completeness(self.dialect, complete), **named(more)}

    def appending(self, offset: int, *, complete: bool, **more: str) -> dict[str, str]:
        typed = {"Content-Type": PARTIAL_UPLOAD} if self.dialect.typed_patch else {}
        return {**self.creation(complete=complete), "Upload-Offset": str(offset), **typed, **named(more)}

    async def create(self, body: Body = b"", *, complete: bool, method: str = "POST", **more: str) -> Answer:
        return await self.client.ask(method, "/files/", body, self.creation(complete=complete, **more))

    async def started(self, body: Body = b"", **more: str) -> str:
        """The URL of an upload that is to be gone on with."""
        answer = await self.create(body, complete=False, **more)
        assert answer.status == 201, answer
        return answer.headers["location"]

    async def append(self, url: str, offset: int, body: Body = b"", *, complete: bool, **more: str) -> Answer:
        return await self.client.ask("PATCH", url, body, self.appending(offset, complete=complete, **more))

    async def head(self, url: str) -> Answer:
        return await self.client.ask("HEAD", url, None, self.version)

    async def cancel(self, url: str) -> Answer:
        return await self.client.ask("DELETE", url, None, self.version)


def named(values: dict[str, str]) -> dict[str, str]:
    """Header fields from arguments: `upload_length` is Upload-Length."""
    return {name.replace("_", "-").title(): value for name, value in values.items()}


def says_complete(answer: Answer) -> bool | None:
    """What an answer in a dialect of today says; None: nothing."""
    return {None: None, "?0": False, "?1": True}[answer.headers.get("upload-complete")]


def problem(answer: Answer) -> tuple[int, str]:
    """Status, and the problem type without its registry's address."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    return answer.status, answer.json["type"].removeprefix(PROBLEMS)


class Slow(Conversation):
    """A request whose body is fed piece by piece, on a server that sends interim answers."""

    def __init__(self, client: Client, method: str, path: str, headers: dict[str, str]) -> None:
        super().__init__(client.app, method, path, [], headers)
        self._scope["extensions"] = {INFORMATIONAL: {}}
        self._bytes, self._fed = trio.open_memory_channel[bytes](math.inf)
        self.interims: list[tuple[float, dict[str, str]]] = []  # when, since the first, and what
        self._began = trio.current_time()

    def feed(self, piece: bytes) -> None:
        self._bytes.send_nowait(piece)

    def finish(self) -> None:
        self._bytes.close()

    @property
    def offsets(self) -> list[int]:
        """What the 104s said."""
        told = [headers.get("upload-offset") for _, headers in self.interims]
        return [int(offset) for offset in told if offset is not None]

    async def _receive(self) -> Message:
        message: Message = {"type": "http.disconnect"}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_when_left, nursery.cancel_scope)
            message = await self._next()
            nursery.cancel_scope.cancel()
        return message

    async def _next(self) -> Message:
        try:
            return {"type": "http.request", "body": await self._fed.receive(), "more_body": True}
        except trio.EndOfChannel:
            return {"type": "http.request", "body": b"", "more_body": False}

    async def _cancel_when_left(self, scope: trio.CancelScope) -> None:
        await self._left.wait()
        scope.cancel()

    async def _send(self, message: Message) -> None:
        if message["type"] != INFORMATIONAL:
            return await super()._send(message)
        await trio.lowlevel.checkpoint()
        assert message["status"] == 104
        headers: dict[str, Any] = {name.decode(): value.decode() for name, value in message["headers"]}
        self.interims.append((trio.current_time() - self._began, headers))
        return None
