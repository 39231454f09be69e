"""Watchers on the plain WebSocket: what they were told, and what must hold for all of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tests.acceptance.api import Api
from tests.running import PATIENCE_S

T = TypeVar("T")

PATH = "/api/v1/ws"


class Seen(NamedTuple):
    """One event."""

    name: str
    payload: dict[str, Any]
    seq: int
    topic: str

    @property
    def is_fact(self) -> bool:
        return self.name != "upload-progress" or self.payload.get("fact") is True

    @property
    def at_ms(self) -> float:
        return datetime.fromisoformat(self.payload["timestamp"]).timestamp() * 1000


class Watcher:
    """One connection. A task reads it all the time; what came lies here in order."""

    def __init__(self, socket: WebSocketConnection, stream: trio.SocketStream) -> None:
        self.socket = socket
        self._stream = stream
        self.messages: list[dict[str, Any]] = []
        self.events: list[Seen] = []  # those of sessions
        self.facts: list[Seen] = []
        self.closed: tuple[int, str | None] | None = None
        self._numbers = 0
        self._moved = trio.lowlevel.ParkingLot()

    async def read(self) -> None:
        try:
            while True:
                self._note(json.loads(await self.socket.get_message()))
                self._moved.unpark_all()
        except ConnectionClosed as closed:
            self.closed = (closed.reason.code, closed.reason.reason) if closed.reason else (1006, None)
            self._moved.unpark_all()

    def _note(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        data = message.get("data")
        if isinstance(data, dict) and "event" in data and "seq" in data["payload"]:
            event = Seen(data["event"], data["payload"], message["sequence"], data["topic"])
            self.events.append(event)
            if event.is_fact:
                self.facts.append(event)

    def close(self) -> None:
        """At once: trio-websocket's closing handshake trips over a ping that comes in the middle of it."""
        self._stream.socket.close()

    async def send(self, kind: str, data: object) -> dict[str, Any]:
        """Send a message; its answer."""
        self._numbers += 1
        message_id = f"m{self._numbers}"
        await self.socket.send_message(json.dumps({"type": kind, "data": data, "messageId": message_id}))
        return await self.until(lambda: self._answer_to(message_id))

    async def subscribe(self, reference: str, since: dict[str, Any] | None = None) -> dict[str, Any]:
        """The ack's data."""
        params = {"params": {"since": since}} if since else {}
        answer = await self.send("subscribe", {"topic": f"session:{reference}", **params})
        assert answer["type"] == "ack", answer
        data: dict[str, Any] = answer["data"]
        return data

    async def until(self, condition: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
        """Wait until something true can be said of what came; it."""
        with trio.fail_after(patience_s):
            while not (found := condition()):
                assert self.closed is None, f"closed: {self.closed}"
                await self._moved.park()
        return found

    async def until_closed(self) -> tuple[int, str | None]:
        with trio.fail_after(PATIENCE_S):
            while self.closed is None:
                await self._moved.park()
        return self.closed

    async def until_event(self, name: str, count: int = 1) -> Seen:
        """The `count`th event of that name."""
        found = await self.until(lambda: self.named(name)[count - 1 : count])
        return found[0]

    async def until_last_word(self) -> Seen:
        """The one progress that ends a session."""
        found = await self.until(
            lambda: [
                e for e in self.named("upload-progress") if e.payload["fileId"] is None and not e.is_fact
            ]
        )
        return found[-1]

    def named(self, name: str) -> list[Seen]:
        return [event for event in self.events if event.name == name]

    def _answer_to(self, message_id: str) -> dict[str, Any] | None:
        for message in self.messages:
            if message["type"] in ("ack", "error") and message["data"].get("messageId") == message_id:
                return message
        return None


Wrap = Callable[[trio.SocketStream], trio.abc.Stream]


async def connect(nursery: trio.Nursery, api: Api, wrap: Wrap = lambda stream: stream) -> Watcher:
    """A watcher of nothing yet, read in the nursery; `wrap` may look at the bytes. To be closed."""
    stream = await api.connect()
    with trio.fail_after(PATIENCE_S):
        socket = await wrap_client_stream(
            nursery,
            wrap(stream),  # type: ignore[arg-type]  # any stream will do
            api.host,
            PATH,
            message_queue_size=64,
        )
    watcher = Watcher(socket, stream)
    nursery.start_soon(watcher.read)
    return watcher


@asynccontextmanager
async def connected(api: Api, wrap: Wrap = lambda stream: stream) -> AsyncIterator[Watcher]:
    """The same for one block."""
    async with trio.open_nursery() as nursery:
        watcher = await connect(nursery, api, wrap)
        try:
            yield watcher
        finally:
            nursery.cancel_scope.cancel(reason="the test is over")
            watcher.close()


@asynccontextmanager
async def crowd(api: Api, references: Sequence[str]) -> AsyncIterator[list[Watcher]]:
    """One watcher for each reference."""
    async with trio.open_nursery() as nursery:
        watchers: list[Watcher] = []
        try:
            for reference in references:
                watchers.append(await connect(nursery, api))
                await watchers[-1].subscribe(reference)
            yield watchers
        finally:
            nursery.cancel_scope.cancel(reason="the test is over")
            for watcher in watchers:
                watcher.close()


@asynccontextmanager
async def watching(api: Api, *references: str) -> AsyncIterator[Watcher]:
    """A watcher of these sessions, from now on."""
    async with connected(api) as watcher:
        for reference in references:
            await watcher.subscribe(reference)
        yield watcher


def check_facts(watcher: Watcher) -> None:
    """Facts came in order, without gap or double; all else carries the seq of the fact before it."""
    newest: dict[str, int] = {}
    for event in watcher.events:
        before = newest.get(event.topic)
        assert event.seq == event.payload["seq"]
        if before is not None:
            assert event.seq == before + (1 if event.is_fact else 0), f"{event} after {before}"
        newest[event.topic] = event.seq


def check_offsets(events: Sequence[Seen]) -> None:
    """No number ever goes down within an attempt, and no more is promised than was received."""
    last: dict[tuple[str, int], dict[str, Any]] = {}
    for event in events:
        payload = event.payload
        if event.name != "upload-progress" or payload["fileId"] is None:
            continue
        assert payload["durableBytes"] <= payload["uploadedBytes"]
        before = last.setdefault((payload["fileId"], payload["attempt"]), payload)
        for name in ("durableBytes", "uploadedBytes", "progress", "totalProgress"):
            assert before[name] <= payload[name], f"{name} went down: {before} {payload}"
        last[payload["fileId"], payload["attempt"]] = payload
