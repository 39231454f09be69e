"""The WebSocket driver (RFC 6455): wsproto's frames as ASGI messages.

It runs no task of its own: frames are read when the application calls `receive()`, and pings are answered
there; the application promises to always have a reader. permessage-deflate is not negotiated: an idle socket
with it costs four times the memory, and a 62 KB frame can inflate to 188 MB.
"""

from __future__ import annotations

from contextlib import suppress

import h11
import structlog
import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import LOCAL_ONLY_CLOSE_REASONS, MAX_PROTOCOL_CLOSE_REASON, CloseReason

from penstock.protocol.errors import InsufficientPermissions, ServerError
from penstock.server.edge.answers import encoded_problem, leaves
from penstock.server.edge.asgi import ASGIApp, ConnectionInfo, Message, websocket_scope
from penstock.server.edge.handshake import Handshake
from penstock.server.edge.transport import Transport
from penstock.server.peer import PeerGone, PeerTooSlow
from penstock.server.settings import Settings

NORMAL = int(CloseReason.NORMAL_CLOSURE)
GOING_AWAY = int(CloseReason.GOING_AWAY)
ABNORMAL = int(CloseReason.ABNORMAL_CLOSURE)
TOO_BIG = int(CloseReason.MESSAGE_TOO_BIG)
INTERNAL_ERROR = int(CloseReason.INTERNAL_ERROR)

log = structlog.get_logger()


class WebSocket:
    """One WebSocket, from its handshake on. It is also the application's handle: `ping`, `last_heard`."""

    def __init__(
        self, connection: ConnectionInfo, transport: Transport, settings: Settings, handshake: Handshake
    ) -> None:
        self.last_heard = trio.current_time()
        self._connection = connection
        self._transport = transport
        self._settings = settings
        self._handshake = handshake
        self._decided = trio.Event()  # accepted or rejected
        self._announced = False  # the application has had its websocket.connect
        self._frames: Connection | None = None  # once accepted
        self._partial = bytearray()  # a message that is not whole yet
        self._disconnect: Message | None = None  # what receive() has to say from now on

    async def run(self, app: ASGIApp) -> None:
        """Run the application to its end; the transport is closed when this returns.

        Cancelled (drain), it tells the peer 1001 and is done within twice `linger_s`.
        """
        self._connection.kind = "websocket"
        scope = websocket_scope(
            self._connection,
            target=self._handshake.target,
            headers=self._handshake.headers,
            subprotocols=self._handshake.subprotocols,
            handle=self,
        )
        code = GOING_AWAY
        try:
            await app(scope, self.receive, self.send)
            code = NORMAL
        except Exception as error:
            code = INTERNAL_ERROR
            self._failed(error)
        finally:
            with trio.move_on_after(2 * self._settings.linger_s, shield=True):
                await self._shut(code)

    # What the application reads

    async def receive(self) -> Message:
        """The next message, then, for ever, the disconnect. Cancelling it loses no message."""
        if not self._announced:
            self._announced = True
            return {"type": "websocket.connect"}
        await self._decided.wait()
        message = None
        while message is None and self._disconnect is None:
            message = await self._step()
        return message or self._disconnect or {}

    async def _step(self) -> Message | None:
        """Take one frame (or a part of it) that has been read, or read on. Returns a message made whole."""
        assert self._frames
        event = next(self._frames.events(), None)
        match event:
            case None:
                await self._read()
            case BytesMessage() | TextMessage():
                return await self._collect(event)
            case Ping():
                await self._answer_ping(event)
            case CloseConnection():
                await self._closed_by_peer(event)
        return None

    async def _read(self) -> None:
        assert self._frames
        try:
            data = await self._transport.receive_some()
        except PeerGone:
            data = b""
        if data:
            self.last_heard = trio.current_time()
            self._frames.receive_data(data)
        else:
            self._over(ABNORMAL, "peer gone")

    async def _collect(self, event: BytesMessage | TextMessage) -> Message | None:
        # Counted in bytes as they arrive: a limit on the whole message would buffer it all first.
        self._partial += event.data.encode() if isinstance(event, TextMessage) else event.data
        if len(self._partial) > self._settings.max_message_bytes:
            self._partial = bytearray()
            limit = self._settings.max_message_bytes
            await self._leave(TOO_BIG, f"more than {limit} bytes", "message too big")
            return None
        if not event.message_finished:
            return None
        whole, self._partial = self._partial, bytearray()
        if isinstance(event, TextMessage):
            return {"type": "websocket.receive", "text": whole.decode(), "bytes": None}
        return {"type": "websocket.receive", "bytes": bytes(whole), "text": None}

    async def _answer_ping(self, event: Ping) -> None:
        if self._frames and self._frames.state is ConnectionState.OPEN:
            try:
                await self._write(event.response())
            except PeerGone as error:
                self._over(ABNORMAL, _lost(error))

    async def _closed_by_peer(self, event: CloseConnection) -> None:
        assert self._frames
        if self._frames.state is ConnectionState.OPEN:  # no close frame: wsproto's word for a broken one
            await self._leave(event.code, event.reason or "", "protocol error")
            return
        self._over(event.code, "closed by peer", event.reason or "")
        if self._frames.state is ConnectionState.REMOTE_CLOSING:
            with suppress(PeerGone):
                await self._transport.send_all(self._frames.send(event.response()))

    async def _leave(self, code: int, why: str, reason: str) -> None:
        """Say why and close, without waiting for the peer to agree."""
        self._over(code, reason, why)
        await self._say_close(code, why)
        await self._transport.linger_close()

    def _over(self, code: int, reason: str, why: str = "") -> None:
        self._disconnect = {"type": "websocket.disconnect", "code": int(code), "reason": why}
        self._connection.reason = reason

    # What the application writes

    async def send(self, message: Message) -> None:
        """ASGI's send. Raises: `PeerGone` (an `OSError`); `RuntimeError` for messages out of order."""
        kind = message["type"]
        if self._frames:
            await self._send_open(kind, message)
        elif self._decided.is_set():
            raise PeerGone("the handshake was refused")
        elif kind == "websocket.accept":
            await self._accept(message)
        elif kind == "websocket.close":
            await self._refuse(403, "the application refused the WebSocket")
        elif kind in ("websocket.http.response.start", "websocket.http.response.body"):
            await self._reject(message)
        else:
            raise RuntimeError(f"{kind} before the WebSocket was accepted")

    async def ping(self, payload: bytes = b"") -> None:
        """See `WebSocketHandle`."""
        await self._write(Ping(payload=payload))

    def send_nowait(self, frames: bytes) -> bool:
        """See `WebSocketHandle`."""
        if self._frames is None or self._frames.state is not ConnectionState.OPEN:
            return False
        return self._transport.send_nowait(frames)

    @property
    def is_behind(self) -> bool:
        """See `WebSocketHandle`."""
        return self._transport.is_behind

    async def catch_up(self) -> None:
        """See `WebSocketHandle`."""
        await self._transport.send_all(b"")

    async def _accept(self, message: Message) -> None:
        answer, trailing = self._handshake.accept(message)
        self._frames = Connection(ConnectionType.SERVER, trailing_data=trailing)
        self._decided.set()
        await self._transport.send_all(answer)

    async def _send_open(self, kind: str, message: Message) -> None:
        if kind == "websocket.close":
            await self._say_close(message.get("code", NORMAL), message.get("reason") or "")
        elif kind != "websocket.send":
            raise RuntimeError(f"{kind} is not possible on an open WebSocket")
        elif message.get("bytes") is not None:
            await self._write(BytesMessage(data=message["bytes"]))
        else:
            await self._write(TextMessage(data=message["text"]))

    async def _write(self, event: Event) -> None:
        if self._frames is None or self._frames.state is not ConnectionState.OPEN:
            raise PeerGone("the WebSocket is closed")
        await self._transport.send_all(self._frames.send(event))

    async def _say_close(self, code: int, why: str) -> None:
        if self._frames and self._frames.state is ConnectionState.OPEN:
            close = CloseConnection(code=_allowed(code), reason=why or None)
            with suppress(PeerGone):
                await self._transport.send_all(self._frames.send(close))

    async def _refuse(self, status: int, why: str) -> None:
        error = InsufficientPermissions(why) if status == 403 else ServerError(why)
        headers, body = encoded_problem(error)
        start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
        await self._reject(start)
        await self._reject({"type": "websocket.http.response.body", "body": body})

    async def _reject(self, message: Message) -> None:
        self._connection.reason = "refused"
        out = self._handshake.reject(message)
        if out:
            await self._transport.send_all(out)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self._over(ABNORMAL, "refused")
            self._decided.set()

    # How it ends

    def _failed(self, error: Exception) -> None:
        lost = [leaf for leaf in leaves(error) if isinstance(leaf, PeerGone)]
        if lost and not self._disconnect:
            self._connection.reason = _lost(*lost)
        if len(lost) < len(leaves(error)):
            self._connection.reason = "handler error"
            path = self._handshake.target.partition(b"?")[0].decode("latin-1")
            log.error("handler-failed", path=path, exc_info=error)

    async def _shut(self, code: int) -> None:
        # The peer deserves its close frame, unless a cut frame has closed the transport.
        with trio.move_on_after(self._settings.linger_s):
            with suppress(PeerGone, h11.LocalProtocolError):
                if self._frames:
                    await self._say_close(code, "")
                elif not self._decided.is_set() and not self._handshake.answering:
                    await self._refuse(500, "the application neither accepted nor refused")
        await self._transport.linger_close()


def _lost(*errors: PeerGone) -> str:
    return "peer too slow" if any(isinstance(error, PeerTooSlow) for error in errors) else "peer gone"


def _allowed(code: int) -> int:
    """A close code that may be on the wire (RFC 6455 §7.4); an application's mistake becomes 1011.

    wsproto would turn the forbidden ones into 1000, which says that all went well.
    """
    known = code in CloseReason.__members__.values()
    if code in LOCAL_ONLY_CLOSE_REASONS or not 1000 <= code <= 4999:
        return INTERNAL_ERROR
    return code if known or code > MAX_PROTOCOL_CLOSE_REASON else INTERNAL_ERROR
