"""The whole server over stores in memory, and connections to it that need no network.

On a socket pair a byte is there when it is sent: the clock may jump, and the same run takes the same steps.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from penstock.server.app import create_app
from penstock.server.edge.asgi import ConnectionInfo
from penstock.server.edge.host import Edge
from tests.server.edge.harness import Raw
from tests.server.http.clients import SocketClient, World
from tests.server.uploads.rig import Rig, make_rig


class Wires(SocketClient):
    """`ask` needs a connection each, as over sockets; `connect` gives one to talk on."""

    def __init__(self, rig: Rig, nursery: trio.Nursery) -> None:
        self.rig = rig
        self._nursery = nursery
        self.start()

    def start(self) -> None:
        """The application and its edge, over `rig.gateway` as it is now."""
        app = create_app(self.rig.gateway, self.rig.settings)
        super().__init__(World(self.rig.gateway, self.rig.blobs, app), self._connect)
        self.edge = _PairEdge(app, self.rig.settings)

    async def restart(self) -> None:
        """As a new process would be, on the stores as they are."""
        await self.rig.open()
        self.start()

    def hang_up(self) -> None:
        """Cancel every connection at once, as a drain does when its time is over. Never blocks."""
        for scope in self.edge._open.values():
            scope.cancel(reason="hang up")

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Raw]:
        """The block's end closes it, and waits until the server has let go of it."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        ended = trio.Event()
        self._nursery.start_soon(self._serve, trio.socket.from_stdlib_socket(theirs), ended)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
            yield Raw(stream)
        await ended.wait()

    async def _serve(self, accepted: trio.socket.SocketType, ended: trio.Event) -> None:
        try:  # as Trio's `serve_listeners` does
            await self.edge._connection(trio.SocketStream(accepted))
        finally:
            accepted.close()
            ended.set()


class _PairEdge(Edge):
    """The ends of a socket pair have no addresses."""

    def _describe(self, stream: trio.SocketStream) -> ConnectionInfo:
        return ConnectionInfo("http", ("127.0.0.1", 1), ("127.0.0.1", 2))


@asynccontextmanager
async def wired(**settings: Any) -> AsyncIterator[Wires]:
    """Settings by name. Connections have ended when the block is left."""
    rig = await make_rig(**settings)
    async with trio.open_nursery() as nursery:
        yield Wires(rig, nursery)


async def said(raw: Raw, *pieces: bytes) -> bytes:
    """Send, then read until the server closes; what a lost connection leaves of it."""
    with suppress(trio.BrokenResourceError):
        for piece in pieces:
            await raw.send(piece)
            await trio.lowlevel.checkpoint()
    return await raw.rest()
