"""The other end of an ASGI WebSocket in the same process: no sockets, so the clock may jump."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import msgspec
import trio

from penstock.server.edge.asgi import CONNECTION, Message, Scope
from penstock.server.peer import PeerGone, PeerTooSlow
from penstock.server.realtime.envelope_endpoint import EnvelopeEndpoint

Said = dict[str, Any]

PATIENCE_S = 1000  # of the mock clock: a test that hangs fails at once


class Handle:
    """Stands for the edge's handle. `answers` says whether the peer sends pongs."""

    def __init__(self, *, answers: bool = True) -> None:
        self.last_heard = trio.current_time()
        self.pings: list[float] = []
        self.answers = answers

    async def ping(self, payload: bytes = b"") -> None:
        await trio.lowlevel.checkpoint()
        self.pings.append(trio.current_time())
        if self.answers:
            self.last_heard = trio.current_time()

    is_behind = False

    def send_nowait(self, frames: bytes) -> bool:
        return False

    async def catch_up(self) -> None:
        await trio.lowlevel.checkpoint()


class Client:
    """Speaks the envelope to an endpoint. `frames` is every text frame that came, as it came."""

    def __init__(self, handle: Handle | None = None, send_timeout_s: float = 20.0) -> None:
        self.handle = handle
        self.frames: list[str] = []
        self.arrived: list[tuple[float, Said]] = []
        self.accepted: Message | None = None
        self.close_code: int | None = None
        self.reading = trio.Event()  # a stalled client has an unset one
        self.reading.set()
        self.ended = trio.Event()
        self._send_timeout_s = send_timeout_s
        self._to_app, self._app_reads = trio.open_memory_channel[Message](10_000)
        self._app_says, self._from_app = trio.open_memory_channel[Said](10_000)
        self._numbers = count(1)

    # What the application holds

    async def app_receives(self) -> Message:
        try:
            message = await self._app_reads.receive()
        except trio.EndOfChannel:
            return {"type": "websocket.disconnect", "code": 1006}
        if self.handle is not None:
            self.handle.last_heard = trio.current_time()
        return message

    async def app_sends(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if self.ended.is_set() or self.close_code is not None:
            raise PeerGone("closed")
        with trio.move_on_after(self._send_timeout_s) as waiting:
            await self.reading.wait()
        if waiting.cancelled_caught:
            raise PeerTooSlow("not read")
        match message["type"]:
            case "websocket.accept":
                self.accepted = message
            case "websocket.close":
                self.close_code = message["code"]
                self._app_says.close()
            case "websocket.send":
                self.frames.append(message["text"])
                said = msgspec.json.decode(message["text"])
                self.arrived.append((trio.current_time(), said))
                self._app_says.send_nowait(said)

    # What a test does

    def say_nowait(self, kind: str, data: object = None, **more: object) -> str:
        """Send a message; its id."""
        message_id = f"c{next(self._numbers)}"
        message = {"type": kind, "data": data, "timestamp": 0, "messageId": message_id, **more}
        self.raw_nowait(msgspec.json.encode(message).decode())
        return message_id

    def raw_nowait(self, text: str | None = None, data: bytes | None = None) -> None:
        self._to_app.send_nowait({"type": "websocket.receive", "text": text, "bytes": data})

    async def ask(self, kind: str, data: object = None) -> Said:
        """Send a message and return the `data` of its ack or error; what comes before it is skipped."""
        message_id = self.say_nowait(kind, data)
        while True:
            said = await self.next()
            if said["type"] in ("ack", "error") and said["data"].get("messageId") == message_id:
                return {**said["data"], "type": said["type"]}

    async def next(self, kind: str | None = None) -> Said:
        """The next message (of that type)."""
        with trio.fail_after(PATIENCE_S):
            while True:
                said = await self._from_app.receive()
                if kind in (None, said["type"]):
                    return said

    async def next_event(self, name: str | None = None) -> Said:
        """The `data` of the next push (of that event), `connection-status` left out."""
        while True:
            said = await self.next()
            event = said["data"].get("event")
            if event not in (None, "connection-status") and name in (None, event):
                return {**said["data"], "type": said["type"], "sequence": said["sequence"]}

    def events(self) -> list[Said]:
        """All pushes so far that are about a session."""
        pushes = [said for _, said in self.arrived if "payload" in said["data"]]
        return [said for said in pushes if said["data"]["event"] != "connection-status"]

    def names(self) -> list[str]:
        return [said["data"]["event"] for said in self.events()]

    async def closed(self) -> int:
        """The close code, once the endpoint has ended."""
        with trio.fail_after(PATIENCE_S):
            await self.ended.wait()
        assert self.close_code is not None, "the connection ended without a close"
        return self.close_code

    @property
    def unread(self) -> int:
        """How many messages the application has not taken yet."""
        return self._to_app.statistics().current_buffer_used

    def hang_up(self) -> None:
        self._to_app.close()


def scope_for(query: str = "", *, subprotocols: tuple[str, ...] = (), language: str = "") -> Scope:
    return {
        "type": "websocket",
        "path": "/api/v1/ws",
        "query_string": query.encode(),
        "headers": [(b"accept-language", language.encode())] if language else [],
        "subprotocols": list(subprotocols),
        "state": {},
    }


@asynccontextmanager
async def opened(
    endpoint: EnvelopeEndpoint, scope: Scope | None = None, handle: Handle | None = None
) -> AsyncIterator[Client]:
    """A client in the middle of connecting; it hangs up at the end, and the endpoint must end then."""
    client = Client(handle)
    scope = scope or scope_for()
    if handle is not None:
        scope["state"] = {CONNECTION: handle}

    async def run() -> None:
        try:
            await endpoint(scope, client.app_receives, client.app_sends)
        finally:
            client.ended.set()

    client._to_app.send_nowait({"type": "websocket.connect"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield client
        client.hang_up()
        with trio.fail_after(PATIENCE_S):
            await client.ended.wait()


@asynccontextmanager
async def connected(
    endpoint: EnvelopeEndpoint, scope: Scope | None = None, handle: Handle | None = None
) -> AsyncIterator[Client]:
    """A client that has been greeted."""
    async with opened(endpoint, scope, handle) as client:
        assert (await client.next())["type"] == "connect"
        assert (await client.next())["data"]["status"] == "connected"
        yield client
