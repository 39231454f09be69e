"""Which part of the server answers which request, and the services that some of them need beside it."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from penstock.protocol.errors import InvalidMessage
from penstock.server.edge.answers import encoded_problem, refuse_websocket
from penstock.server.edge.asgi import ASGIApp, Receive, Scope, Send
from penstock.server.realtime.engineio.server import EngineServer

DRAIN_BATCH = 100  # clients that are sent away at once, and come back at once
DRAIN_PAUSE_S = 0.05


class App:
    """One ASGI application. `run` must be running while it is called; `drain` sends Socket.IO clients away.

    On an ASGI server that is not ours, the lifespan protocol does both.
    """

    def __init__(
        self,
        http: ASGIApp,
        engines: Mapping[str, EngineServer],
        websockets: Mapping[str, ASGIApp] | None = None,
    ) -> None:
        """`engines` and `websockets` by path; all other requests go to `http`."""
        self.engines = engines
        self._http = http
        self._websockets: dict[str, ASGIApp] = {**engines, **(websockets or {})}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The sessions that outlive their requests. Until cancelled."""
        async with trio.open_nursery() as nursery:
            for engine in self.engines.values():
                await nursery.start(engine.run)
            task_status.started()

    async def drain(self) -> None:
        """Tell Socket.IO clients to come back, a batch at a time; the caller bounds it."""
        for engine in self.engines.values():
            await engine.drain(batch=DRAIN_BATCH, pause_s=DRAIN_PAUSE_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one WebSocket, or the lifespan."""
        match scope["type"]:
            case "lifespan":
                await self._live(receive, send)
            case "websocket":
                await self._websockets.get(scope["path"], no_websocket)(scope, receive, send)
            case _:
                engine = self.engines.get(scope["path"])
                await (self._http if engine is None else engine)(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        async with trio.open_nursery() as nursery:
            await nursery.start(self.run)
            await send({"type": "lifespan.startup.complete"})
            await receive()  # lifespan.shutdown
            await self.drain()
            nursery.cancel_scope.cancel(reason="shutdown")
        await send({"type": "lifespan.shutdown.complete"})


async def no_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    text = b"there is no WebSocket at this address"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode("ascii"))]
    await refuse_websocket(scope, send, 404, headers, text)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Where there is no application for other requests."""
    headers, body = encoded_problem(InvalidMessage("there is nothing at this address"), 404)
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})
