"""An edge on a free port, and a raw HTTP/1.1 client that shows every byte."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import h11
import msgspec
import trio

from penstock.server.edge.asgi import ASGIApp, Message, Receive, Scope, Send
from penstock.server.edge.host import Edge
from penstock.server.settings import Settings

PATIENCE_S = 10  # what a test waits for at most; nothing is asserted about it


@asynccontextmanager
async def serving(app: ASGIApp, **changes: Any) -> AsyncIterator[Edge]:
    """A running edge; leaving the block cancels it."""
    edge = Edge(app, msgspec.structs.replace(Settings(port=0), **changes))
    with trio.fail_after(3 * PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, edge)
            yield edge
            nursery.cancel_scope.cancel()


async def serve(edge: Edge, task_status: trio.TaskStatus[list[str]]) -> None:
    await edge.serve(task_status=task_status)


class Raw:
    """A client socket and what has been read from it."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    @property
    def socket(self) -> trio.socket.SocketType:
        stream = self.stream if isinstance(self.stream, trio.SocketStream) else self.stream.transport_stream
        return stream.socket

    async def finish(self) -> None:
        """Send FIN and go on reading."""
        self.socket.shutdown(trio.socket.SHUT_WR)
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        """Close with RST."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
        await self.stream.aclose()

    async def push(self) -> None:
        """Send zeros until the server resets the connection."""
        with trio.fail_after(PATIENCE_S), suppress(trio.BrokenResourceError):
            while True:
                await self.stream.send_all(bytes(65536))

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`."""
        with trio.fail_after(PATIENCE_S):
            while mark not in self.buffer:
                data = await self.stream.receive_some()
                assert data, f"closed before {mark!r}: {self.buffer!r}"
                self.buffer += data
        end = self.buffer.index(mark) + len(mark)
        found, self.buffer = self.buffer[:end], self.buffer[end:]
        return found

    async def exactly(self, count: int) -> bytes:
        with trio.fail_after(PATIENCE_S):
            while len(self.buffer) < count:
                data = await self.stream.receive_some()
                assert data, f"closed after {len(self.buffer)} bytes"
                self.buffer += data
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as closed."""
        with trio.fail_after(PATIENCE_S):
            try:
                while data := await self.stream.receive_some():
                    self.buffer += data
            except trio.BrokenResourceError:
                pass
        found, self.buffer = self.buffer, b""
        return found

    async def answer(self, method: bytes = b"GET") -> tuple[int, dict[bytes, bytes], bytes]:
        """One whole final answer: status, headers, body."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        parser.send(h11.EndOfMessage())
        if self.buffer:
            parser.receive_data(self.buffer)
        status, headers, body = 0, {}, b""
        with trio.fail_after(PATIENCE_S):
            while True:
                await trio.lowlevel.checkpoint()
                match parser.next_event():
                    case h11.NEED_DATA:
                        parser.receive_data(bytes(await self.stream.receive_some()))
                    case h11.Response() as response:
                        status, headers = response.status_code, dict(response.headers)
                    case h11.Data() as data:
                        body += bytes(data.data)
                    case h11.EndOfMessage():
                        self.buffer = parser.trailing_data[0]
                        return status, headers, body
                    case h11.InformationalResponse():
                        pass
                    case other:
                        raise AssertionError(f"no answer: {other}")


@asynccontextmanager
async def connected(edge: Edge) -> AsyncIterator[Raw]:
    stream = await trio.open_tcp_stream(*edge.addresses[0])
    async with stream:
        yield Raw(stream)


async def reply(send: Send, status: int = 200, body: bytes = b"", **headers: str) -> None:
    lines = [(b"content-length", str(len(body)).encode())]
    lines += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive) -> bytes:
    """The whole body through ASGI; what came so far if the peer goes."""
    body = bytearray()
    while True:
        message: Message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body it got."""
    await reply(send, body=await read_body(receive))


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that only a look can tell."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # counters of the server have no event
            await trio.sleep(0.002)
