"""What comes in with a request: its body, pulled by the handler, and the news that the peer has gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from penstock.server.http.body import AsgiBody, Receive
from penstock.server.peer import Body

# Where the edge leaves its handle; a server that has none is served all the same.
_CONNECTION = "penstock.connection"
_BODILESS = ("GET", "HEAD", "DELETE", "OPTIONS")  # their handlers ask for no body


class Incoming:
    """One request's incoming side. The body is read by one task, `wait_gone` by another: never both at once,
    since ASGI has a single `receive` for both."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive, length: int | None) -> None:
        self._take_direct = getattr((scope.get("state") or {}).get(_CONNECTION), "take_body", None)
        self._receive = receive
        self._length = length
        self._body: Body | None = None
        self.broken = False  # the body ended before its time: the server knows why, and answers
        self._free = trio.Event()  # `receive` no longer brings body: it may be asked about the peer
        if scope["method"] in _BODILESS:
            self._free.set()

    def body(self) -> Body:
        """The request's body, always the same one; nothing is read before it is first asked for bytes."""
        if self._body is None:
            self._body = self._direct() or AsgiBody(self._next, self._length)
        return self._body

    async def wait_gone(self) -> None:
        """Return once the peer is gone. While a body is still to be read that is the reader's to find out."""
        await self._free.wait()
        while (message := await self._receive())["type"] != "http.disconnect":
            if message.get("more_body"):
                await trio.sleep_forever()  # a body nobody asked for stays where it is

    def _direct(self) -> Body | None:
        body: Body | None = self._take_direct() if self._take_direct else None
        if body is not None:
            self._free.set()  # from here on `receive` tells of the disconnect only
        return body

    async def _next(self) -> Any:
        message = await self._receive()
        self.broken = message["type"] == "http.disconnect"
        if not self.broken and not message.get("more_body"):
            self._free.set()
        return message
