"""WebSockets: one that a session begins on, or one that a polling session changes over to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from penstock.protocol.engineio.handshake import Query, Refusal, Refused, Transport, read_query
from penstock.protocol.engineio.packets import EngineError, Frame, Packet, PacketType, decode
from penstock.protocol.engineio.session import CloseReason
from penstock.server.edge.answers import refuse_websocket
from penstock.server.edge.asgi import CONNECTION, Message, Receive, Scope, Send
from penstock.server.realtime.engineio.session import EngineSession

if TYPE_CHECKING:
    from penstock.server.realtime.engineio.server import EngineServer

_PROBE = Packet(PacketType.PING, "probe")
_PROBED = {"type": "websocket.send", "text": PacketType.PONG + "probe"}


async def serve(server: EngineServer, scope: Scope, receive: Receive, send: Send) -> None:
    """One WebSocket, from its handshake to its end."""
    await receive()  # websocket.connect
    try:
        query = read_query(scope["query_string"])
        if query.transport is not Transport.WEBSOCKET:
            raise Refused(Refusal.BAD_REQUEST)
        if query.sid is None:
            query.check_handshake("GET", upgrades=True)
            await _begin(server, query, scope, receive, send)
        else:
            await _change_over(server.find(query.sid), scope, receive, send)
    except Refused as refused:
        await _refuse(scope, send, refused.refusal)


async def _begin(server: EngineServer, query: Query, scope: Scope, receive: Receive, send: Send) -> None:
    session = await server.open(query, scope)
    accepted = False
    try:
        await send({"type": "websocket.accept"})
        accepted = True
    finally:
        if not accepted:
            session.close(CloseReason.TRANSPORT_CLOSE)
    await _carry(session, scope, receive, send)


async def _carry(session: EngineSession, scope: Scope, receive: Receive, send: Send) -> None:
    """Read for the session until either is at its end; it writes by itself."""
    session.attach(send, scope.get("state", {}).get(CONNECTION))
    try:
        with session.reading():
            while (frame := _frame(await receive())) is not None:
                await session.take(decode(frame))
    except EngineError:
        session.close(CloseReason.PARSE_ERROR)
    finally:
        session.close(CloseReason.TRANSPORT_CLOSE)  # unless it has ended by itself


async def _change_over(session: EngineSession, scope: Scope, receive: Receive, send: Send) -> None:
    # Accepted and closed, not refused: `ws` takes an HTTP error here for one that nobody handles.
    await send({"type": "websocket.accept"})
    if not session.core.begin_upgrade():
        return
    with session.reading():  # ends with the session
        if await _is_probed(session, receive, send):
            await _carry(session, scope, receive, send)


async def _is_probed(session: EngineSession, receive: Receive, send: Send) -> bool:
    """Let the peer try the WebSocket; whether it carries the session now. Otherwise polling goes on."""
    with trio.move_on_after(session.upgrade_timeout_s):
        try:
            if _packet(await receive()) == _PROBE:
                await send(_PROBED)
                session.release_polls()
                if _packet(await receive()) == Packet(PacketType.UPGRADE):
                    return session.core.upgrade()
        finally:
            session.core.give_up_upgrade()
    return False


def _packet(message: Message) -> Packet | None:
    frame = _frame(message)
    try:
        return None if frame is None else decode(frame)
    except EngineError:
        return None


def _frame(message: Message) -> Frame | None:
    """None: the peer has left."""
    if message["type"] != "websocket.receive":
        return None
    text: str | None = message.get("text")
    data: bytes | None = message.get("bytes")
    return data if text is None else text


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    headers = [
        *refusal.headers,
        (b"content-type", b"application/json"),
        (b"content-length", str(len(refusal.body)).encode("ascii")),
    ]
    await refuse_websocket(scope, send, refusal.status, headers, refusal.body)
