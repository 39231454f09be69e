"""A network that breaks: a TCP proxy that ends every connection after so many bytes, in several ways."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto

import trio

CHUNK_BYTES = 64 * 1024
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
FOREVER = 1 << 62  # bytes after which a connection is not cut


class Manner(Enum):
    """How a connection ends: for both sides at once."""

    FIN = auto()  # closed in order, in the middle of a message
    RST = auto()  # reset: what the receivers have not read yet is lost, too
    STALL = auto()  # no byte moves any more, and nobody is told


class CuttingProxy:
    """`limit()` says after how many bytes, in both directions together, the next connection is cut. One that
    begins with `unwanted` gets 403."""

    def __init__(self, port: int, limit: Callable[[], int], manner: Manner = Manner.FIN) -> None:
        self.port = port  # of the server; may change, it is looked at by every connection
        self.limit = limit
        self.manner = manner
        self.unwanted: bytes | None = None
        self.connections = 0
        self.cuts = 0
        self.sent_up = 0  # bytes handed to the server
        self._live: set[trio.CancelScope] = set()

    def cut_all(self) -> None:
        """Close every connection there is, now."""
        for scope in self._live:
            scope.cancel(reason="cut")

    async def carry(self, client: trio.SocketStream) -> None:
        """One connection, until it ends or is cut."""
        self.connections += 1
        left = self.limit()
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self.port)
        except OSError:
            await client.aclose()
            return

        async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            nonlocal left
            try:
                while left > 0 and (data := await source.receive_some(min(CHUNK_BYTES, left))):
                    left -= len(data)
                    if self.unwanted is not None and data.startswith(self.unwanted):
                        await source.send_all(FORBIDDEN)
                        break
                    await sink.send_all(data)
                    if sink is server:
                        self.sent_up += len(data)
                if left <= 0:
                    await self._cut(client, server)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel(reason="one side has ended")

        async with client, server, trio.open_nursery() as nursery:
            self._live.add(nursery.cancel_scope)
            nursery.start_soon(pump, client, server)
            nursery.start_soon(pump, server, client)
        self._live.discard(nursery.cancel_scope)

    async def _cut(self, *sides: trio.SocketStream) -> None:
        self.cuts += 1
        if self.manner is Manner.STALL:
            await trio.sleep_forever()
        if self.manner is Manner.RST:
            for side in sides:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def cutting(
    url: str, limit: Callable[[], int], manner: Manner = Manner.FIN
) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """A proxy in front of the server at `url`, and its own address."""
    proxy = CuttingProxy(int(url.rstrip("/").rpartition(":")[2]), limit, manner)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, proxy.carry, 0)
        port = listeners[0].socket.getsockname()[1]
        yield proxy, f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel(reason="the test is over")
