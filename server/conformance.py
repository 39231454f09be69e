"""`penstock serve --conformance`: no uploads, but what the test suites of Engine.IO and Socket.IO want.

* Engine.IO on `/engine.io/` sends every message back, text and binary.
* Socket.IO on `/socket.io/`: `/` and `/custom` emit `auth` with what came with CONNECT. On `/`, `message`
  comes back as `message-back`, and `message-with-ack` is acknowledged, with the same arguments.

Sources: socketio/socket.io, docs/engine.io-protocol/v4-test-suite and docs/socket.io-protocol/v5-test-suite.
"""

from __future__ import annotations

import trio

from penstock.protocol.engineio.packets import Frame, PacketType
from penstock.server.endpoints import App, not_found
from penstock.server.realtime.engineio.session import EngineSession
from penstock.server.realtime.socketio.namespace import Namespace, Said
from penstock.server.realtime.socketio.server import engine_server, socket_server
from penstock.server.realtime.socketio.socket import Socket
from penstock.server.settings import Settings

# The suite of Socket.IO listens for one message at a time, and overhears the second of two read at once.
GREETING_AFTER_S = 0.02


class Echo:
    """An Engine.IO session's application; see `Application`."""

    due_at = float("inf")

    def __init__(self, session: EngineSession, nursery: trio.Nursery) -> None:
        self._session = session

    def tick(self) -> None: ...

    async def receive(self, data: Frame) -> None:
        self._session.send(data if isinstance(data, bytes) else PacketType.MESSAGE + data)

    async def fill(self) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async def wind_up(self) -> None:
        await trio.lowlevel.checkpoint()

    def going_away(self) -> None: ...

    def closed(self, reason: str) -> None: ...


class Greeting(Namespace):
    """Tells each client what it came with."""

    async def connected(self, socket: Socket) -> None:
        await trio.sleep(GREETING_AFTER_S)
        socket.emit("auth", dict(socket.auth))


def namespaces() -> list[Namespace]:
    """`/` and `/custom`."""
    root = Greeting("/")

    @root.on("message")
    async def message(socket: Socket, said: Said) -> None:
        await trio.lowlevel.checkpoint()
        socket.emit("message-back", *said.args)

    @root.on("message-with-ack")
    async def message_with_ack(socket: Socket, said: Said) -> None:
        await trio.lowlevel.checkpoint()
        said.answer(*said.args)

    return [root, Greeting("/custom")]


def create_conformance_app(settings: Settings) -> App:
    """Nothing but the two endpoints."""
    echo = engine_server(Echo, settings)
    socketio = socket_server(namespaces(), settings, limited=False)
    return App(not_found, {"/engine.io/": echo, "/socket.io/": socketio})
