"""The application on an ASGI server that is not ours, and what it says where nothing is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from penstock.server.edge.asgi import Scope
from penstock.server.endpoints import App, not_found
from penstock.server.realtime.socketio.server import socket_server
from penstock.server.settings import Settings
from tests.conformance.engineio.client import TRANSPORTS, Engine
from tests.conformance.socketio.client import PATH, sid_of
from tests.conformance.wire import Target
from tests.server.edge.harness import PATIENCE_S
from tests.server.http.clients import World, world

JSON = [("Content-Type", "application/json")]
FILE = b'{"files": [{"fileName": "a", "fileSize": 3}]}'


@asynccontextmanager
async def under_hypercorn(app: Any) -> AsyncIterator[Target]:
    """The application as anybody may serve it on Trio: the lifespan starts and ends its services."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    stop = trio.Event()
    with trio.fail_after(3 * PATIENCE_S):
        async with trio.open_nursery() as nursery:
            start = partial(serve, app, config, shutdown_trigger=stop.wait, mode="asgi")
            (url,) = await nursery.start(start)
            yield Target.at(url)
            stop.set()


def app_of(made: World) -> App:
    assert isinstance(made.app, App)
    return made.app


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_socketio_works_on_another_server(transport: str) -> None:
    made = await world()
    async with under_hypercorn(made.app) as target:
        async with Engine(target, PATH).peer(transport) as peer:
            await peer.send("40")
            sid_of(await peer.next())
            assert await peer.next() == '42["connection-status",{"status":"connected"}]'
            created = await target.ask("POST", "/api/upload/sessions", JSON, FILE)
            assert created.status == 201, created
            session = json.loads(created.body)
            await peer.send(f'427["join-session","{session["sessionId"]}"]')
            assert str(await peer.next()).startswith('437[{"ok":true')
            await target.ask("PUT", session["files"][0]["uploadUrl"], body=b"abc")
            names: list[str] = []
            while "session-completed" not in names:
                names.append(str(await peer.next()).split('"')[1])
            assert names.count("upload-completed") == 1
            await peer.send("1")
    assert app_of(made).engines[PATH].statistics()["sessions"] == 0


async def test_its_end_ends_the_sessions() -> None:
    made = await world()
    async with under_hypercorn(made.app) as target:
        await Engine(target, PATH).polling()
    statistics = app_of(made).engines[PATH].statistics()
    assert statistics["ended"] == {"server shutting down": 1}


async def test_before_it_is_started_it_is_busy() -> None:
    """An ASGI server without lifespan, and nobody who runs it."""
    answers = await asked(
        App(not_found, {PATH: socket_server([], Settings())}), PATH, b"EIO=4&transport=polling"
    )
    assert answers[0]["status"] == 503


async def test_the_conformance_server_has_nothing_else() -> None:
    answers = await asked(App(not_found, {}), "/elsewhere", b"")
    assert answers[0]["status"] == 404
    assert b"there is nothing at this address" in answers[1]["body"]


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
@pytest.mark.parametrize("path", ["/", "/socket.io", "/api/v1/other"])
async def test_no_other_path_takes_a_websocket(path: str, extensions: dict[str, Any]) -> None:
    made = await world()
    told: list[Any] = []

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        told.append(message)

    scope: Scope = {
        "type": "websocket",
        "path": path,
        "headers": [],
        "query_string": b"",
        "extensions": extensions,
    }
    await made.app(scope, receive, send)
    if extensions:
        assert (told[0]["type"], told[0]["status"]) == ("websocket.http.response.start", 404)
    else:
        assert told == [{"type": "websocket.close", "code": 1008}]


async def asked(app: App, path: str, query: bytes) -> list[Any]:
    """What a GET is answered."""
    told: list[Any] = []

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        told.append(message)

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query,
        "headers": [],
        "client": None,
    }
    await app(scope, receive, send)
    return told
