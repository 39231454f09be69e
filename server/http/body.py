"""A request's body out of ASGI messages: how bytes come where the direct path cannot be taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio

from penstock.server.peer import BodyBroken

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]  # ASGI's own type: messages are open dicts


class AsgiBody:
    """A `Body` over `http.request` messages, of any ASGI server under Trio. One task takes it.

    It holds at most one message, and asks for the next only when that one is used up.
    """

    def __init__(self, receive: Receive, length: int | None) -> None:
        """`length` is the announced Content-Length; a body of another size is broken."""
        self.length = length
        self._receive = receive
        self._chunk = memoryview(b"")
        self._arrived = 0
        self._ended = False
        self._broken: str | None = None

    async def wait_readable(self) -> None:
        """Wait for bytes, the end, or a break. As cancel-safe as the server's `receive()`."""
        if self._settled:
            await trio.lowlevel.checkpoint()
        while not self._settled:
            self._take(await self._receive())

    @property
    def _settled(self) -> bool:
        return bool(self._chunk) or self._ended or self._broken is not None

    def _take(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] != "http.request":
            self._broken = "the peer is gone"
            return
        self._chunk = memoryview(message.get("body", b""))
        self._arrived += len(self._chunk)
        self._ended = not message.get("more_body", False)
        if self.length is None:
            return
        if self._arrived > self.length or (self._ended and self._arrived < self.length):
            self._broken = f"{self._arrived} bytes came, {self.length} were announced"

    def receive_nowait(self, into: memoryview) -> int:
        """Move up to `len(into)` bytes; 0 is the end. Raises: `trio.WouldBlock`; `BodyBroken`."""
        if self._chunk:
            count = min(len(into), len(self._chunk))
            into[:count] = self._chunk[:count]
            self._chunk = self._chunk[count:]
            return count
        if self._broken is not None:
            raise BodyBroken(self._broken)
        if self._ended:
            return 0
        raise trio.WouldBlock
