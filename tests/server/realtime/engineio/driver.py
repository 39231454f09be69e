"""A client of Engine.IO in the same process, without sockets: the clock may jump."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from penstock.server.edge.asgi import Message, Scope
from penstock.server.peer import PeerGone
from penstock.server.realtime.engineio.server import EngineServer
from penstock.server.realtime.engineio.session import Limits, MakeApplication

PATIENCE_S = 500  # of the mock clock: a test that hangs fails at once


class Answer:
    """To one request."""

    def __init__(self) -> None:
        self.status = 0
        self.body = ""
        self.at = 0.0

    async def take(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message["body"].decode()
            self.at = trio.current_time()


class Driver:
    """Speaks to a server by ASGI."""

    def __init__(self, server: EngineServer) -> None:
        self._server = server

    async def ask(self, method: str, query: str, body: str = "") -> Answer:
        """One request whose client waits for the answer, however long."""
        answer = Answer()
        scope = _scope("http", query)
        scope["method"] = method
        messages = [{"type": "http.request", "body": body.encode(), "more_body": False}]

        async def receive() -> Message:
            await trio.lowlevel.checkpoint()
            if messages:
                return messages.pop()
            await trio.sleep_forever()
            raise AssertionError("it does not end")

        with trio.fail_after(PATIENCE_S):
            await self._server(scope, receive, answer.take)
        return answer

    async def get(self, sid: str) -> Answer:
        return await self.ask("GET", f"EIO=4&transport=polling&sid={sid}")

    async def post(self, sid: str, body: str) -> Answer:
        return await self.ask("POST", f"EIO=4&transport=polling&sid={sid}", body)

    async def polling(self) -> str:
        """The sid of a new session."""
        answer = await self.ask("GET", "EIO=4&transport=polling")
        assert answer.status == 200
        return answer.body.partition('"sid":"')[2].partition('"')[0]

    @asynccontextmanager
    async def websocket(
        self, sid: str | None = None, *, ready: trio.Event | None = None
    ) -> AsyncIterator[WebSocket]:
        """A WebSocket that is accepted, once it is `ready`; left, it hangs up, and the server must be done
        with it then."""
        websocket = WebSocket(ready)
        query = "EIO=4&transport=websocket" + ("" if sid is None else f"&sid={sid}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.run, self._server, _scope("websocket", query))
            yield websocket
            websocket.hang_up()
            await websocket.until_ended()


class WebSocket:
    """The client's end of one."""

    def __init__(self, ready: trio.Event | None) -> None:
        self.ended = trio.Event()
        self.ended_at = 0.0
        self.is_broken = False  # the server finds out when it writes
        self._ready = ready
        self._to_server, self._server_reads = trio.open_memory_channel[Message](1000)
        self._server_says, self._from_server = trio.open_memory_channel[str](1000)
        self._to_server.send_nowait({"type": "websocket.connect"})

    async def run(self, server: EngineServer, scope: Scope) -> None:
        try:
            await server(scope, self._receive, self._send)
        finally:
            self.ended_at = trio.current_time()
            self.ended.set()
            self._server_says.close()

    async def _receive(self) -> Message:
        try:
            return await self._server_reads.receive()
        except trio.EndOfChannel:
            return {"type": "websocket.disconnect", "code": 1006}

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if self.ended.is_set() or self.is_broken:
            raise PeerGone("closed")
        if self._ready is not None:
            await self._ready.wait()
        if message["type"] == "websocket.send":
            self._server_says.send_nowait(message["text"])

    async def until_ended(self) -> float:
        """When the server was done with it."""
        with trio.fail_after(PATIENCE_S):
            await self.ended.wait()
        return self.ended_at

    def send(self, frame: str) -> None:
        self._to_server.send_nowait({"type": "websocket.receive", "text": frame, "bytes": None})

    async def next(self) -> tuple[float, str]:
        """The next frame, and when it came."""
        with trio.fail_after(PATIENCE_S):
            frame = await self._from_server.receive()
        return trio.current_time(), frame

    def hang_up(self) -> None:
        self._to_server.close()


def _scope(kind: str, query: str) -> Scope:
    return {
        "type": kind,
        "path": "/engine.io/",
        "query_string": query.encode(),
        "headers": [],
        "client": None,
    }


@asynccontextmanager
async def driving(
    make: MakeApplication, limits: Limits, *, max_sessions: int = 100, max_per_address: int = 100
) -> AsyncIterator[Driver]:
    """A server, and a client for it, whose address is nobody else's."""
    server = EngineServer(
        make,
        limits,
        max_sessions=max_sessions,
        max_per_address=max_per_address,
        is_shared=lambda host: False,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield Driver(server)
        nursery.cancel_scope.cancel()
