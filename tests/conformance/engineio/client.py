"""A client of Engine.IO v4 that takes every step by hand, on either transport."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import urlencode

import trio

from tests.conformance.websocket import Closed, Frame, WebSocket, opened
from tests.conformance.wire import Answer, Exchange, Fields, Target

SEPARATOR = "\x1e"
PING, PONG = "2", "3"
CLOSE, NOOP = "1", "6"
TRANSPORTS = ("polling", "websocket")

UNKNOWN_SID = {"code": 1, "message": "Session ID unknown"}
BAD_REQUEST = {"code": 3, "message": "Bad request"}


class Engine:
    """An Engine.IO server on one path."""

    def __init__(self, target: Target, path: str = "/engine.io/") -> None:
        self.target = target
        self.path = path

    def address(self, transport: str = "polling", sid: str | None = None, **more: str) -> str:
        query = {"EIO": "4", "transport": transport, **({} if sid is None else {"sid": sid}), **more}
        return f"{self.path}?{urlencode(query)}"

    async def get(self, sid: str | None = None, fields: Fields = (), **more: str) -> Answer:
        return await self.target.ask("GET", self.address(sid=sid, **more), fields)

    async def post(self, sid: str, body: str | bytes, fields: Fields = ()) -> Answer:
        data = body.encode() if isinstance(body, str) else body
        fields = fields or [("Content-Type", "text/plain;charset=UTF-8")]
        return await self.target.ask("POST", self.address(sid=sid), fields, data)

    async def polling(self, **more: str) -> Polling:
        """A new session on polling."""
        answer = await self.target.ask("GET", self.address(**more))
        assert answer.status == 200, answer
        return Polling(self, opening_of(answer.body.decode()))

    @asynccontextmanager
    async def websocket(self, **more: str) -> AsyncIterator[Socket]:
        """A new session on a WebSocket."""
        async with opened(self.target, self.address("websocket", **more)) as websocket:
            frame = await websocket.next()
            assert isinstance(frame, str), frame
            yield Socket(websocket, opening_of(frame))

    @asynccontextmanager
    async def peer(self, transport: str) -> AsyncIterator[Peer]:
        """A new session on that transport."""
        if transport == "polling":
            yield await self.polling()
        else:
            async with self.websocket() as socket:
                yield socket

    @asynccontextmanager
    async def upgrading(self, sid: str) -> AsyncIterator[WebSocket]:
        """A WebSocket for a session that polls; it has sent nothing yet."""
        async with opened(self.target, self.address("websocket", sid)) as websocket:
            yield websocket

    @asynccontextmanager
    async def probed(self, sid: str) -> AsyncIterator[WebSocket]:
        """The same, after its probe was answered."""
        async with self.upgrading(sid) as websocket:
            await websocket.send(PING + "probe")
            assert await websocket.next() == PONG + "probe"
            yield websocket

    @asynccontextmanager
    async def as_far_as(self, step: str, sid: str) -> AsyncIterator[WebSocket]:
        """An upgrade up to its `handshake`, or to its `probe`."""
        async with self.upgrading(sid) if step == "handshake" else self.probed(sid) as websocket:
            yield websocket

    @asynccontextmanager
    async def pending(self, sid: str, **more: str) -> AsyncIterator[Exchange]:
        """A GET that the server has and has not answered yet, if it has nothing to say."""
        async with self.target.exchange("GET", self.address(sid=sid, **more)) as exchange:
            await self.settle()
            yield exchange

    async def settle(self) -> None:
        """Two round trips of other connections: what was sent before them is with the server."""
        for _ in range(2):
            await self.target.ask("GET", self.path)


class Peer(Protocol):
    """A session on either transport. Pings are answered where they are met, and counted."""

    opening: dict[str, Any]
    pings: int

    @property
    def sid(self) -> str: ...

    async def send(self, *frames: Frame) -> None:
        """All at once: the packets of one POST, or of one write."""

    async def next(self) -> Frame:
        """What the server sends next, pings left out."""

    async def ended(self) -> list[Frame]:
        """What came before the server ended the session. Fails if a ping came first: then it may well have
        been the heartbeat that ended it."""


class Polling:
    """A session on long polls."""

    def __init__(self, engine: Engine, opening: dict[str, Any]) -> None:
        self.engine = engine
        self.opening = opening
        self.pings = 0
        self._waiting: list[Frame] = []

    @property
    def sid(self) -> str:
        return str(self.opening["sid"])

    async def get(self) -> Answer:
        return await self.engine.get(self.sid)

    async def poll(self) -> str:
        """The body of one poll, as it is."""
        return body_of(await self.get())

    async def post(self, body: str | bytes) -> Answer:
        return await self.engine.post(self.sid, body)

    async def send(self, *frames: Frame) -> None:
        await self.post(encode(frames))

    async def next(self) -> Frame:
        while True:
            await trio.lowlevel.checkpoint()
            while not self._waiting:
                self._waiting = decode(await self.poll())
            frame = self._waiting.pop(0)
            if frame == PING:
                self.pings += 1
                await self.send(PONG)
            elif frame != NOOP:
                return frame

    async def ended(self) -> list[Frame]:
        pings, frames = self.pings, list(self._waiting)
        while (answer := await self.get()).status == 200:
            frames += decode(answer.body.decode())
        assert refusal_of(answer) == UNKNOWN_SID, answer
        assert self.pings == pings
        assert PING not in frames
        return [frame for frame in frames if frame not in (CLOSE, NOOP)]


class Socket:
    """A session on a WebSocket."""

    def __init__(self, websocket: WebSocket, opening: dict[str, Any]) -> None:
        self.websocket = websocket
        self.opening = opening
        self.pings = 0

    @property
    def sid(self) -> str:
        return str(self.opening["sid"])

    async def send(self, *frames: Frame) -> None:
        await self.websocket.send(*frames)

    async def next(self) -> Frame:
        while (frame := await self.websocket.next()) == PING:
            self.pings += 1
            await self.websocket.send(PONG)
        return frame

    async def ended(self) -> list[Frame]:
        pings, frames = self.pings, []
        try:
            while True:
                frames.append(await self.next())
        except Closed:
            assert self.pings == pings
            return frames


async def ends(peer: Peer, *frames: Frame) -> None:
    """These frames must end the session, by themselves."""
    await peer.send(*frames)
    await peer.ended()


async def echoes(peer: Peer, text: str = "still here") -> None:
    """The session lives, on a server that sends every message back."""
    await peer.send("4" + text)
    assert await peer.next() == "4" + text


# What is on the wire


def encode(frames: tuple[Frame, ...]) -> str:
    texts = ("b" + base64.b64encode(f).decode() if isinstance(f, bytes) else f for f in frames)
    return SEPARATOR.join(texts)


def decode(body: str) -> list[Frame]:
    return [
        base64.b64decode(text[1:], validate=True) if text[:1] == "b" else text
        for text in body.split(SEPARATOR)
    ]


def opening_of(frame: str) -> dict[str, Any]:
    """The data of an open packet."""
    assert frame[0] == "0", frame
    opening: dict[str, Any] = json.loads(frame[1:])
    return opening


def body_of(answer: Answer) -> str:
    assert answer.status == 200, answer
    return answer.body.decode()


def refusal_of(answer: Answer) -> dict[str, Any]:
    """The error that a request was refused with."""
    assert answer.status == 400, answer
    assert answer["content-type"].startswith("application/json"), answer
    refusal: dict[str, Any] = json.loads(answer.body)
    return refusal


async def until_unknown(engine: Engine, sid: str) -> None:
    """Until the server has forgotten the session; what else it says of it is that it is elsewhere."""
    while (refusal := refusal_of(await engine.get(sid))) != UNKNOWN_SID:
        assert refusal == BAD_REQUEST
        await trio.sleep(0.01)
