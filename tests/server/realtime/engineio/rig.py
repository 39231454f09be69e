"""Engine.IO behind a real edge in this process: what a session leaves behind can be looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import trio

from penstock.protocol.engineio.packets import Frame, PacketType
from penstock.server.conformance import create_conformance_app
from penstock.server.edge.host import Edge
from penstock.server.endpoints import App, not_found
from penstock.server.realtime.engineio.server import EngineServer
from penstock.server.realtime.engineio.session import MakeApplication
from penstock.server.realtime.socketio.namespace import Namespace
from penstock.server.realtime.socketio.server import engine_server, socket_server
from penstock.server.settings import Settings
from tests.conformance.engineio.client import Engine
from tests.conformance.wire import Target
from tests.server.edge.harness import serving, until

ECHO = "/engine.io/"
SOCKETS = "/socket.io/"

# What is not waited for does not come: no ping, no deadline. Limits small enough to be met.
SETTINGS = Settings(
    port=0,
    ping_interval_s=60.0,
    ping_timeout_s=60.0,
    max_message_bytes=100_000,
    max_unsent_bytes=200_000,
    linger_bytes=64 * 1024,
)


def settings_with(**changes: Any) -> Settings:
    return msgspec.structs.replace(SETTINGS, **changes)


class Running(NamedTuple):
    app: App
    edge: Edge
    settings: Settings

    def client(self, path: str = ECHO) -> Engine:
        host, port = self.edge.addresses[0]
        return Engine(Target(host, port, "/"), path)

    def server(self, path: str = ECHO) -> EngineServer:
        return self.app.engines[path]

    def ended(self, path: str = ECHO) -> dict[str, int]:
        return self.server(path).statistics()["ended"]

    async def until_sessions(self, count: int, path: str = ECHO) -> None:
        await until(lambda: self.server(path).statistics()["sessions"] == count)

    async def until_idle(self) -> None:
        """Until nobody is connected, and no session is left."""
        await until(lambda: self.edge.statistics()["connections"] == 0)
        for path in self.app.engines:
            await self.until_sessions(0, path)


@asynccontextmanager
async def running(app: App, settings: Settings) -> AsyncIterator[Running]:
    """Leaving the block cancels it."""
    async with trio.open_nursery() as nursery:
        await nursery.start(app.run)
        async with serving(app, **msgspec.structs.asdict(settings)) as edge:
            yield Running(app, edge, settings)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def conformance(**changes: Any) -> AsyncIterator[Running]:
    """The test server, with both of its endpoints."""
    settings = settings_with(**changes)
    async with running(create_conformance_app(settings), settings) as server:
        yield server


@asynccontextmanager
async def engine(make: MakeApplication, **changes: Any) -> AsyncIterator[Running]:
    """An application on Engine.IO alone."""
    settings = settings_with(**changes)
    server = engine_server(make, settings)
    async with running(App(not_found, {ECHO: server}), settings) as both:
        yield both


@asynccontextmanager
async def sockets(*namespaces: Namespace, **changes: Any) -> AsyncIterator[Running]:
    """Namespaces on Socket.IO."""
    settings = settings_with(**changes)
    server = socket_server(namespaces, settings, limited=False)
    async with running(App(not_found, {SOCKETS: server}), settings) as both:
        yield both


class Silent:
    """An application that keeps what comes and says nothing by itself; see `Application`."""

    due_at = float("inf")

    def __init__(self, session: Any, nursery: trio.Nursery) -> None:
        self.session = session
        self.received: list[Frame] = []
        self.reason: str | None = None

    def tick(self) -> None: ...

    async def receive(self, data: Frame) -> None:
        await trio.lowlevel.checkpoint()
        self.received.append(data)

    async def fill(self) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async def wind_up(self) -> None:
        await trio.lowlevel.checkpoint()

    def going_away(self) -> None: ...

    def closed(self, reason: str) -> None:
        self.reason = reason

    def say(self, text: str) -> None:
        self.session.send(PacketType.MESSAGE + text)


class Made:
    """Makes applications of a kind, and keeps them in the order of their sessions."""

    def __init__(self, kind: type[Silent] = Silent) -> None:
        self._kind = kind
        self._all: list[Silent] = []

    def __call__(self, session: Any, nursery: trio.Nursery) -> Silent:
        self._all.append(self._kind(session, nursery))
        return self._all[-1]

    def __getitem__(self, index: int) -> Silent:
        return self._all[index]

    def __iter__(self) -> Iterator[Silent]:
        return iter(self._all)
