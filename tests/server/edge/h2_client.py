"""An HTTP/2 client for tests: h2 over a real socket, driven by the test, so that it can misbehave at will."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h2.events as ev
import h11
import trio
import trio.testing
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame

from penstock.server.edge.asgi import ASGIApp, ConnectionInfo, Headers
from penstock.server.edge.http2 import serve_http2
from penstock.server.edge.transport import Traffic, Transport
from penstock.server.settings import Settings

PATIENCE_S = 30  # a hanging test fails; no test waits for it


class _Machine(H2Connection):
    """A client that keeps its streams after the server's GOAWAY, as browsers do."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[ev.Event]]:
        event = ev.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]


@dataclass
class Answer:
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    informational: list[int] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: ErrorCodes | int | None = None


class H2Client:
    def __init__(self, stream: trio.SocketStream, *, validate: bool = True, take_bodies: bool = True) -> None:
        self.stream = stream
        self.take_bodies = take_bodies
        self.mute = False  # nothing is answered by itself: no acknowledgements, no windows
        self.machine = _Machine(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=validate,
                normalize_outbound_headers=validate,
            )
        )
        self.answers: dict[int, Answer] = {}
        self.goaway: ev.ConnectionTerminated | None = None
        self.windows: list[ev.WindowUpdated] = []
        self.settings: dict[int, int] = {}
        self.pings = 0
        self.pongs = 0
        self.eof = False

    async def start(self) -> None:
        self.machine.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        if data := self.machine.data_to_send():
            await self.stream.send_all(data)

    def request(
        self, method: str = "GET", path: str = "/", headers: Headers | None = None, *, end: bool = True
    ) -> int:
        fields = [
            (b":method", method.encode()),
            (b":scheme", b"http"),
            (b":authority", b"localhost:8005"),
            (b":path", path.encode()),
        ]
        return self.open(fields + (headers or []), end=end)

    def open(self, fields: Headers, *, end: bool = True) -> int:
        """A new stream with any fields at all."""
        stream_id = self.machine.get_next_available_stream_id()
        self.answers[stream_id] = Answer()
        self.machine.send_headers(stream_id, fields, end_stream=end)
        return stream_id

    async def ask(
        self,
        method: str = "GET",
        path: str = "/",
        headers: Headers | None = None,
        *,
        body: bytes | None = None,
    ) -> Answer:
        """A whole exchange."""
        stream_id = self.request(method, path, headers, end=body is None)
        if body is not None:
            await self.send_body(stream_id, body)
        return await self.answer(stream_id)

    async def send_body(self, stream_id: int, body: bytes, *, end: bool = True) -> None:
        """Send within the windows; stops early if the stream is answered or reset."""
        rest = memoryview(body)
        while rest and not self.answers[stream_id].ended:
            size = min(len(rest), self.machine.local_flow_control_window(stream_id), 16384)
            if size <= 0:
                await self.pump()
                continue
            self.machine.send_data(stream_id, rest[:size], end_stream=end and size == len(rest))
            rest = rest[size:]
            await self.flush()
        if not body and end:
            self.machine.end_stream(stream_id)
            await self.flush()

    async def answer(self, stream_id: int) -> Answer:
        answer = self.answers[stream_id]
        await self.until(lambda: answer.ended)
        return answer

    async def until(self, condition: Callable[[], object]) -> None:
        await self.flush()
        with trio.fail_after(PATIENCE_S):
            while not condition():
                assert not self.eof, "the server closed"
                await self.pump()

    async def send_frames(self, *frames: Frame) -> None:
        """Whatever h2 would not send."""
        await self.flush()
        await self.stream.send_all(b"".join(frame.serialize() for frame in frames))

    async def until_closed(self) -> None:
        await self.flush()
        with trio.fail_after(PATIENCE_S):
            while not self.eof:
                await self.pump()

    async def ping(self) -> None:
        """When the pong is back, the server has acted on all that was sent before."""
        self.machine.ping(b"whatever")
        seen = self.pongs
        await self.until(lambda: self.pongs > seen)

    async def pump(self) -> None:
        """Read once and act on it."""
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self.eof = True
            return
        for event in self.machine.receive_data(data):
            self._act(event)
        if self.mute:
            self.machine.clear_outbound_data_buffer()
        await self.flush()

    def _act(self, event: ev.Event) -> None:
        match event:
            case ev.InformationalResponseReceived():
                self.answers[event.stream_id].informational.append(int(dict(event.headers)[b":status"]))
            case ev.ResponseReceived():
                answer = self.answers[event.stream_id]
                answer.headers = {bytes(name): bytes(value) for name, value in event.headers}
                answer.status = int(answer.headers[b":status"])
            case ev.DataReceived():
                self.answers[event.stream_id].body += event.data
                if self.take_bodies:
                    self.machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case ev.StreamEnded():
                self.answers[event.stream_id].ended = True
            case ev.StreamReset():
                answer = self.answers[event.stream_id]
                answer.ended, answer.reset = True, event.error_code
            case ev.WindowUpdated():
                self.windows.append(event)
            case ev.PingReceived():
                self.pings += 1
            case ev.PingAckReceived():
                self.pongs += 1
            case ev.RemoteSettingsChanged():
                self.settings = {int(k): v.new_value for k, v in event.changed_settings.items()}
            case ev.ConnectionTerminated():
                self.goaway = event

    def window_bytes(self, stream_id: int) -> int:
        """All that the server has credited."""
        return sum(update.delta or 0 for update in self.windows if update.stream_id == stream_id)


@dataclass
class Serving:
    """One connection as the test's server end sees it."""

    info: ConnectionInfo
    traffic: Traffic = field(default_factory=Traffic)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


@asynccontextmanager
async def connected(
    app: ASGIApp,
    settings: Settings | None = None,
    *,
    initial: bytes = b"",
    upgraded: h11.Request | None = None,
    small_buffers: bool = False,
) -> AsyncIterator[tuple[trio.SocketStream, Serving]]:
    """A raw client socket and the serving at its other end, which must end after the socket is closed."""
    settings = settings or Settings()
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        client = await trio.testing.open_stream_to_socket_listener(listener)
        accepted = await listener.accept()
        if small_buffers:  # so that the server's writes block soon
            client.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            accepted.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4096)
        info = ConnectionInfo("http", ("127.0.0.1", 1), ("127.0.0.1", 2), {"shared": 1})
        serving = Serving(info)

        async def serve() -> None:
            transport = Transport(accepted, settings, serving.traffic)
            with serving.scope:
                await serve_http2(info, transport, app, settings, initial=initial, upgraded=upgraded)
            await transport.aclose()
            serving.ended.set()

        nursery.start_soon(serve)
        async with client:
            yield client, serving
        with trio.fail_after(PATIENCE_S):
            await serving.ended.wait()


@asynccontextmanager
async def talking(
    app: ASGIApp,
    settings: Settings | None = None,
    *,
    validate: bool = True,
    take_bodies: bool = True,
    small_buffers: bool = False,
) -> AsyncIterator[tuple[H2Client, Serving]]:
    """A client that has sent its preface, and the serving at its other end."""
    async with connected(app, settings, small_buffers=small_buffers) as (stream, serving):
        client = H2Client(stream, validate=validate, take_bodies=take_bodies)
        await client.start()
        yield client, serving
