"""HTTP/2: one connection's socket, its streams' tasks, its limits.

Written on h2 itself: hypercorn's `H2Protocol` credits both windows by what its blocking `app_put` took,
closes on the request limit and has no deadlines, so a subclass would replace every method that moves a byte.

One nursery per connection: the reader is its body, the writer one task, each stream's application another.
"""

from __future__ import annotations

import math
import re
from collections import deque

import h11
import structlog
import trio
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from penstock.server.edge.answers import standard_headers
from penstock.server.edge.asgi import ASGIApp, ConnectionInfo, Headers, http_scope
from penstock.server.edge.h2_link import MAX_BACKLOG, MAX_STREAMS, Link
from penstock.server.edge.h2_streams import Stream
from penstock.server.edge.transport import Transport
from penstock.server.peer import PeerGone, PeerTooSlow
from penstock.server.settings import Settings

CALM_EVENTS = 200  # resets and settings changes a client may cause …
CALM_WITHIN_S = 10.0  # … in this time: a browser closing a tab resets 100 streams at most

_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"/[\x21-\x7e]*|\*")  # the characters h11 lets through, too
_UPGRADE_HEADERS = {b"connection", b"upgrade", b"http2-settings"}

log = structlog.get_logger()


async def serve_http2(
    connection: ConnectionInfo,
    transport: Transport,
    app: ASGIApp,
    settings: Settings,
    *,
    initial: bytes = b"",
    upgraded: h11.Request | None = None,
) -> None:
    """Serve one HTTP/2 connection to its end and close it.

    `initial` is what was read already, from the first byte of the client's preface. `upgraded` is the request
    (without body) that asked for `Upgrade: h2c`; its 101 has been sent, its answer goes out on stream 1.
    Cancelled, it leaves the closing to the caller.
    """
    connection.kind = "http/2"
    driver = _Driver(connection, transport, app, settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.write)
        await driver.read(nursery, initial, upgraded)
        if not await driver.hang_up():
            nursery.cancel_scope.cancel(reason="applications did not end")
    await transport.linger_close()


class _Driver:
    def __init__(
        self, connection: ConnectionInfo, transport: Transport, app: ASGIApp, settings: Settings
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._app = app
        self._settings = settings
        self._link = Link()
        self._streams: dict[int, Stream] = {}
        self._stream_ended = trio.lowlevel.ParkingLot()
        self._last_stream_id = 0
        self._draining = False
        self._causes: deque[float] = deque(maxlen=CALM_EVENTS)
        self._reading = trio.CancelScope()  # its deadline is the connection's idle deadline

    # The socket

    async def write(self) -> None:
        """Send what the link holds until it is finished. One writer keeps the frames in order."""
        try:
            while data := await self._link.next_outgoing():
                await self._transport.send_all(data)
        except PeerGone as error:
            self._end("peer too slow" if isinstance(error, PeerTooSlow) else "peer gone")

    async def read(self, nursery: trio.Nursery, initial: bytes, upgraded: h11.Request | None) -> None:
        """Read and act until the connection is over, whoever ends it."""
        self._reading.deadline = trio.current_time() + self._settings.head_timeout_s
        with self._reading:
            try:
                for stream in self._start(upgraded):
                    nursery.start_soon(self._run, stream)
                await self._read_frames(nursery, initial)
            except PeerGone:
                self._end("peer gone")
            except ProtocolError as error:
                self._end("protocol error")
                log.debug("http2-protocol-error", client=self._connection.client, error=str(error))
        if trio.current_time() >= self._reading.deadline:
            self._connection.reason = "idle"
            self._link.goaway(ErrorCodes.NO_ERROR, self._last_stream_id)

    async def _read_frames(self, nursery: trio.Nursery, data: bytes) -> None:
        data = data or await self._transport.receive_some()
        while data:
            self._take(nursery, data)
            del data  # what was read is not kept while nothing more comes
            # Past this only answers to pings, settings and resets can be waiting: read no more of those.
            while self._link.backlog >= MAX_BACKLOG:
                await self._link.drained.park()
            data = await self._transport.receive_some(self._link.read_bytes)
        self._end("peer gone")

    def _take(self, nursery: trio.Nursery, data: bytes) -> None:
        for event in self._link.feed(data):
            if stream := self._act(event):
                nursery.start_soon(self._run, stream)

    async def hang_up(self) -> bool:
        """Tell every stream that the connection is gone, send what is left. Whether all ended in time."""
        for stream in self._streams.values():
            stream.lost()
        with trio.move_on_after(self._settings.drain_timeout_s):
            while self._streams:
                await self._stream_ended.park()
        self._link.finish()
        return not self._streams

    def _end(self, reason: str) -> None:
        if not self._reading.cancel_called:  # the first reason is the true one
            self._connection.reason = reason
            self._reading.cancel(reason=reason)

    # Streams

    def _start(self, upgraded: h11.Request | None) -> list[Stream]:
        if upgraded is None:
            self._link.start()
            return []
        fields = [(name, value) for name, value in upgraded.headers if name not in _UPGRADE_HEADERS]
        self._link.start(upgrade_settings=dict(upgraded.headers).get(b"http2-settings", b""))
        stream = self._open(1, upgraded.method, upgraded.target, fields)
        stream.body_ended()
        return [stream]

    async def _run(self, stream: Stream) -> None:
        try:
            await stream.run(self._app)
        finally:
            del self._streams[stream.id]
            self._stream_ended.unpark_all()
            self._rest()

    def _open(self, stream_id: int, method: bytes, target: bytes, headers: Headers) -> Stream:
        scope = http_scope(self._connection, method=method, target=target, headers=headers, http_version="2")
        stream = self._streams[stream_id] = Stream(self._link, stream_id, scope, self._settings)
        self._last_stream_id = stream_id
        self._connection.requests += 1
        if self._connection.requests >= self._settings.keep_alive_max_requests:
            self._connection.reason = "request limit"
            self._draining = True
            self._link.goaway(ErrorCodes.NO_ERROR, stream_id)
        self._rest()
        return stream

    def _rest(self) -> None:
        """Streams came or went: without any, the connection is idle, or done."""
        if self._streams:
            self._reading.deadline = math.inf
        elif self._draining:
            self._reading.cancel(reason="drained")
        else:
            self._reading.deadline = trio.current_time() + self._settings.keep_alive_timeout_s

    # What came in

    def _act(self, event: Event) -> Stream | None:
        """Do what one event asks for; a new stream is returned, to be run."""
        match event:
            case RequestReceived():
                return self._request(event)
            case DataReceived():
                self._link.credit_connection(event.flow_controlled_length)
                if stream := self._streams.get(event.stream_id):
                    stream.body_arrived(event.data, event.flow_controlled_length - len(event.data))
            case StreamEnded():
                if stream := self._streams.get(event.stream_id):
                    stream.body_ended()
            case StreamReset():
                self._calm()
                if stream := self._streams.get(event.stream_id):
                    stream.lost()
            case WindowUpdated(stream_id=0):
                self._open_windows()
            case WindowUpdated():
                if stream := self._streams.get(event.stream_id):
                    stream.window_opened()
            case PingAckReceived():
                self._link.ping_answered(event.ping_data)
            case RemoteSettingsChanged():
                self._calm()
                self._link.settings_changed()
                self._open_windows()
            case ConnectionTerminated():
                self._connection.reason = "peer is leaving"
                self._draining = True
                self._rest()
        return None

    def _request(self, event: RequestReceived) -> Stream | None:
        fields = {name: value for name, value in event.headers if name.startswith(b":")}
        headers = [(name, value) for name, value in event.headers if not name.startswith(b":")]
        if b":authority" in fields:  # RFC 9113 §8.3.1; h2 has compared it with Host
            headers = [(name, value) for name, value in headers if name != b"host"]
            headers.insert(0, (b"host", fields[b":authority"]))
        # A stream that was reset may still have its task: those count, or resets would be free of charge.
        if self._draining or self._reading.cancel_called or len(self._streams) >= MAX_STREAMS:
            self._link.reset(event.stream_id, ErrorCodes.REFUSED_STREAM)
        elif fields[b":method"] == b"CONNECT":
            self._link.refuse(event.stream_id, 501, standard_headers())
        elif not _METHOD.fullmatch(fields[b":method"]) or not _TARGET.fullmatch(fields[b":path"]):
            self._link.refuse(event.stream_id, 400, standard_headers())
        else:
            return self._open(event.stream_id, fields[b":method"], fields[b":path"], headers)
        return None

    def _open_windows(self) -> None:
        for stream in self._streams.values():
            stream.window_opened()

    def _calm(self) -> None:
        """End the connection of a client that resets or reconfigures without end (CVE-2023-44487)."""
        now = trio.current_time()
        self._causes.append(now)
        if len(self._causes) == CALM_EVENTS and now - self._causes[0] < CALM_WITHIN_S:
            self._end("too many resets")
            self._link.goaway(ErrorCodes.ENHANCE_YOUR_CALM, self._last_stream_id)
