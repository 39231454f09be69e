"""A tus client that never gives up: it asks for the offset and sends the rest, a little after each break."""

from __future__ import annotations

import random
from base64 import b64encode
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

import h11
import trio

from tests.acceptance.api import STEP_BYTES, Answer, Api, Exchange
from tests.acceptance.content import Content

SILENCE_S = 2.0
"""Without a byte sent or an answer, the connection is taken for dead."""

TRANSIENT = {409, 423, 500, 502, 503, 504}


class Address(NamedTuple):
    """What `Api` wants to know of a server."""

    host: str
    port: int


def api_at(url: str) -> Api:
    """Calls by way of an address that is not the server's own."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return Api(Address(parts.hostname, parts.port))  # type: ignore[arg-type]  # no process


class Broken(Exception):
    """No answer: the connection ended, or fell silent."""


class TusClient:
    """Uploads one content."""

    def __init__(self, api: Api, content: Content, name: str) -> None:
        self.name = name
        self.content = content
        self.url: str | None = None  # path of the upload
        self.breaks = 0
        self.refusals = 0
        self._api = api
        self._dice = random.Random(name)

    async def upload(self) -> None:
        """Until the server says that all is there."""
        offset = 0
        while self.url is None or offset < self.content.size:
            try:
                offset = await self._step(offset)
            except Broken:
                self.breaks += 1
                await trio.sleep(self._dice.uniform(0, 0.2))
                offset = await self._resume()

    async def _step(self, offset: int) -> int:
        """One request towards the end; the offset after it. Raises: Broken."""
        if self.url is None:
            await self._create()
            return 0
        answer = await self._patch(self.url, offset)
        if answer.status == 204:
            return answer.offset
        await self._wait(answer)
        return await self._head(self.url)

    async def _resume(self) -> int:
        """Where to go on. A creation whose answer was lost is asked for again."""
        while self.url is not None:
            try:
                return await self._head(self.url)
            except Broken:
                self.breaks += 1
        return 0

    async def _create(self) -> None:
        encoded = b64encode(self.name.encode()).decode()
        fields = {
            "Upload-Length": str(self.content.size),
            "Upload-Metadata": f"filename {encoded}",
            "Idempotency-Key": f'"{self.name}"',
            "Content-Length": "0",
        }
        answer = await self._call("POST", "/files/", fields)
        if answer.status == 201:
            self.url = urlsplit(answer.headers["location"]).path
        else:
            await self._wait(answer)

    async def _head(self, url: str) -> int:
        """Raises: Broken."""
        while (answer := await self._call("HEAD", url, {})).status != 200:
            await self._wait(answer)
        assert answer.headers["upload-length"] == str(self.content.size)
        return answer.offset

    async def _patch(self, url: str, offset: int) -> Answer:
        fields = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(self.content.size - offset),
        }
        return await self._call("PATCH", url, fields, offset)

    async def _wait(self, answer: Answer) -> None:
        assert answer.status in TRANSIENT, answer
        self.refusals += 1
        await trio.sleep(self._dice.uniform(0.05, 0.3))

    async def _call(self, method: str, path: str, fields: dict[str, str], start: int | None = None) -> Answer:
        """One request on a connection of its own, with the content from `start`. Raises: Broken."""
        headers = {"Tus-Resumable": "1.0.0", "Connection": "close", **fields}
        with trio.move_on_after(SILENCE_S) as patience, suppress(OSError, trio.BrokenResourceError):
            async with self._api.exchange(method, path, headers) as exchange:
                answer = await self._converse(exchange, start, patience)
                if answer is not None:
                    return answer
        raise Broken

    async def _converse(
        self, exchange: Exchange, start: int | None, patience: trio.CancelScope
    ) -> Answer | None:
        """Send and listen at once: an answer may come early. None: it never came."""
        answer = None
        async with trio.open_nursery() as nursery:
            if start is not None:
                nursery.start_soon(self._send, exchange, start, patience)
            with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
                answer = await exchange.answer()
            nursery.cancel_scope.cancel(reason="it is over")
        return answer

    async def _send(self, exchange: Exchange, start: int, patience: trio.CancelScope) -> None:
        with suppress(trio.BrokenResourceError):  # the answer, or its absence, tells more
            for piece in self.content.pieces(start, step=STEP_BYTES):
                await exchange.send(piece)
                patience.deadline = trio.current_time() + SILENCE_S
