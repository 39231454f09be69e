"""A Socket.IO client in the same process, on either transport, without sockets: the clock may jump.

It reads packets as the texts they are; the server's own decoder has no part in it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any
from urllib.parse import urlencode

import msgspec
import trio
import trio.testing

from penstock.server.edge.asgi import CONNECTION, Headers, Message, Scope
from penstock.server.peer import PeerGone, PeerTooSlow
from penstock.server.realtime.engineio.server import EngineServer
from tests.server.realtime.wire import Wire

TRANSPORTS = ("websocket", "polling")
PATIENCE_S = 1000  # of the mock clock: a test that hangs fails at once
SEPARATOR = "\x1e"
MAX_POST = 60_000  # then it is full: enough for one more packet below `maxPayload`

Told = tuple[str, dict[str, Any]]  # an event and its payload


class Client:
    """One client. `packets` is every Socket.IO packet that came, as it came."""

    def __init__(self, server: EngineServer, transport: str, query: dict[str, str], headers: Headers) -> None:
        self.packets: list[str] = []
        self.sid = ""  # the Engine.IO session's
        self.ended = trio.Event()  # the server has closed the transport, or this client has left
        self.reading = trio.Event()
        self.reading.set()
        self.send_timeout_s = 20.0  # of the edge that is not here
        self.wire = Wire(self._hear, lambda: self.reading)
        self._server = server
        self._transport = transport
        self._query = {"EIO": "4", "transport": transport, **query}
        self._headers = headers
        self._numbers = count()
        self._seen = 0  # by `next`
        self._left = trio.Event()
        self._moved = trio.lowlevel.ParkingLot()
        self._outgoing, self._waiting = trio.open_memory_channel[str](10_000)

    # What a test does

    async def connect(self) -> None:
        """Join the default namespace."""
        self.packet_nowait("0")
        await self.until(lambda: self.told)
        assert self.packets[0].startswith('0{"sid":"')

    def packet_nowait(self, text: str) -> None:
        """Send a Socket.IO packet as it is."""
        self._outgoing.send_nowait("4" + text)

    def say_nowait(self, event: str, *args: object, wants_ack: bool = True) -> int:
        """Send an event; the number its ack will have."""
        number = next(self._numbers)
        text = msgspec.json.encode([event, *args]).decode()
        self.packet_nowait(f"2{number if wants_ack else ''}{text}")
        return number

    async def ask(self, event: str, *args: object) -> dict[str, Any]:
        """Send an event, and the one argument of its ack."""
        number = self.say_nowait(event, *args)
        await self.until(lambda: number in self.acks)
        return self.acks[number]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that came makes it true."""
        with trio.fail_after(PATIENCE_S):
            while not condition():
                assert not self.ended.is_set(), f"ended: {self.packets[-3:]}"
                await self._moved.park()

    async def next(self, name: str) -> dict[str, Any]:
        """The payload of the next such event; what comes before it is skipped."""
        await self.until(lambda: any(told[0] == name for told in self.told[self._seen :]))
        at = next(at for at, told in enumerate(self.told) if at >= self._seen and told[0] == name)
        self._seen = at + 1
        return self.told[at][1]

    async def closed(self) -> None:
        """Until the server has closed the transport, and is done with it."""
        with trio.fail_after(PATIENCE_S):
            await self.ended.wait()
        await trio.testing.wait_all_tasks_blocked()

    def stall(self) -> None:
        """Read nothing until `reading` is set."""
        if self.reading.is_set():
            self.reading = trio.Event()

    def hang_up(self) -> None:
        """Break off. A polling client that does not poll just stays away."""
        self._left.set()
        self._outgoing.close()

    # What it was told

    @property
    def acks(self) -> dict[int, dict[str, Any]]:
        """By number; each has one argument, and comes once."""
        found = {}
        for text in self.packets:
            if text[0] == "3":
                number, _, rest = text[1:].partition("[")
                (argument,) = msgspec.json.decode("[" + rest)
                assert int(number) not in found
                found[int(number)] = argument
        return found

    @property
    def told(self) -> list[Told]:
        """All events, each with its payload, which is its one argument."""
        events = [msgspec.json.decode(text[1:]) for text in self.packets if text[0] == "2"]
        assert all(len(event) == 2 for event in events)
        return [(name, payload) for name, payload in events]

    def events(self) -> list[Told]:
        """All that are about a session."""
        return [told for told in self.told if told[0] not in ("connection-status", "error")]

    def names(self) -> list[str]:
        return [name for name, _ in self.events()]

    def errors(self) -> list[dict[str, Any]]:
        return [payload for name, payload in self.told if name == "error"]

    # Both transports

    async def run(self) -> None:
        """From the first request to the end."""
        try:
            if self._transport == "websocket":
                await self._run_websocket()
            else:
                await self._run_polling()
        finally:
            self.ended.set()
            self._moved.unpark_all()

    def _hear_all(self, body: str) -> None:
        for packet in body.split(SEPARATOR):
            self._hear(packet)

    def _hear(self, packet: str) -> None:
        match packet[0]:
            case "0":
                self.sid = msgspec.json.decode(packet[1:])["sid"]
            case "2":
                self._outgoing.send_nowait("3")
            case "4":
                self.packets.append(packet[1:])
        self._moved.unpark_all()

    def _scope(self, kind: str, **more: str) -> Scope:
        return {
            "type": kind,
            "path": "/socket.io/",
            "query_string": urlencode({**self._query, **more}).encode(),
            "headers": self._headers,
            "client": ("127.0.0.1", 1),
            "state": {CONNECTION: self.wire},
        }

    # WebSocket

    async def _run_websocket(self) -> None:
        coming = [{"type": "websocket.connect"}]

        async def receive() -> Message:
            await trio.lowlevel.checkpoint()
            if coming:
                return coming.pop()
            try:
                return {"type": "websocket.receive", "text": await self._waiting.receive()}
            except trio.EndOfChannel:
                return {"type": "websocket.disconnect", "code": 1006}

        await self._server(self._scope("websocket"), receive, self._take)

    async def _take(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if self._left.is_set():
            raise PeerGone("closed")
        with trio.move_on_after(self.send_timeout_s) as waiting:
            await self.reading.wait()
        if waiting.cancelled_caught:
            raise PeerTooSlow("not read")
        if self.wire.is_behind:
            await self.wire.catch_up()
        if message["type"] == "websocket.send":
            self._hear(message["text"])

    # Polling

    async def _run_polling(self) -> None:
        self._hear_all((await self._ask("GET"))[1])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._post)
            await self._poll()
            nursery.cancel_scope.cancel()

    async def _poll(self) -> None:
        while not self._left.is_set():
            await self.reading.wait()
            status, body = await self._ask("GET", sid=self.sid)
            if status != 200:
                return
            self._hear_all(body)

    async def _post(self) -> None:
        async for packet in self._waiting:
            body = packet
            with suppress(trio.WouldBlock, trio.EndOfChannel):
                while len(body) < MAX_POST:
                    body += SEPARATOR + self._waiting.receive_nowait()
            await self._ask("POST", body, sid=self.sid)

    async def _ask(self, method: str, body: str = "", **more: str) -> tuple[int, str]:
        """Status and body of the answer; 0 if it did not arrive whole."""
        coming = [{"type": "http.request", "body": body.encode(), "more_body": False}]
        answer: list[Message] = []

        async def receive() -> Message:
            await trio.lowlevel.checkpoint()
            if coming:
                return coming.pop()
            await self._left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await trio.lowlevel.checkpoint()
            answer.append(message)

        await self._server({**self._scope("http", **more), "method": method}, receive, send)
        if len(answer) < 2:
            return 0, ""
        return answer[0]["status"], answer[1]["body"].decode()
