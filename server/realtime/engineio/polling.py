"""Long polling: a GET takes what waits for the peer, a POST brings what it sends."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import trio
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from penstock.protocol.engineio.handshake import Query, Refusal, Refused, Transport, read_query
from penstock.protocol.engineio.packets import EngineError, Frame, decode_payload, encode_payload
from penstock.protocol.engineio.session import CloseReason
from penstock.server.edge.asgi import Headers, Receive, Scope, Send
from penstock.server.realtime.engineio.session import EngineSession

if TYPE_CHECKING:
    from penstock.server.realtime.engineio.server import EngineServer

COMPRESS_FROM_BYTES = 1024  # below it compression costs more than it saves
_TURN_PACKETS = 50  # then it is the turn of others: a megabyte is up to half a million packets
_LEVEL = 1  # answers are small and many: speed counts

_TEXT = b"text/plain; charset=UTF-8"


class _TooLarge(Exception):
    """The body has more bytes than may come."""


class _Gone(Exception):
    """The peer left in mid-body."""


async def serve(server: EngineServer, scope: Scope, receive: Receive, send: Send) -> None:
    """One request of a polling client."""
    if scope["method"] == "OPTIONS":  # not a preflight: that is answered before it comes here
        await _answer(send, 204, b"", b"")
        return
    try:
        query = read_query(scope["query_string"])
        if query.sid is None:
            await _open(server, query, scope, receive, send)
        else:
            await _continue(server.find(query.sid), query, scope, receive, send)
    except Refused as refused:
        await _refuse(send, refused.refusal)


async def _open(server: EngineServer, query: Query, scope: Scope, receive: Receive, send: Send) -> None:
    query.check_handshake(scope["method"], upgrades=False)
    session = await server.open(query, scope)
    session.begin_poll()
    await _answer_poll(session, scope, receive, send)


async def _continue(session: EngineSession, query: Query, scope: Scope, receive: Receive, send: Send) -> None:
    if query.transport is not Transport.POLLING:  # without Upgrade it takes nothing that waits
        raise Refused(Refusal.BAD_REQUEST)
    match scope["method"]:
        case "GET":
            session.begin_poll()
            await _answer_poll(session, scope, receive, send)
        case "POST":
            await _take_post(session, scope, receive, send)
        case _:
            raise Refused(Refusal.BAD_REQUEST)


# GET


async def _answer_poll(session: EngineSession, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what waits. If the answer does not arrive, nor would what comes after it be in order."""
    arrived = False
    try:
        frames = await _poll(session, receive)
        if frames == []:
            arrived = True
            raise Refused(Refusal.BAD_REQUEST)  # it is a WebSocket's by now
        if frames is not None:
            body, headers = _compressed(encode_payload(frames).encode(), scope)
            await _answer(send, 200, _TEXT, body, headers)
            arrived = True
    finally:
        if not arrived:
            session.close(CloseReason.TRANSPORT_CLOSE)


async def _poll(session: EngineSession, receive: Receive) -> list[Frame] | None:
    """What there is to say, once there is something; None if the peer leaves before."""
    frames = None
    async with trio.open_nursery() as nursery:
        # Not while the answer is sent: hypercorn says that the peer has gone as soon as it has all of it.
        nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
        frames = await session.poll()
        nursery.cancel_scope.cancel(reason="there is something to say")
    return frames


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] == "http.request":
        pass
    scope.cancel(reason="the peer has gone")


def _compressed(body: bytes, scope: Scope) -> tuple[bytes, Headers]:
    if len(body) < COMPRESS_FROM_BYTES:
        return body, []
    accepted = parse_accept_header(_header(scope, b"accept-encoding"), Accept)
    if accepted.quality("gzip"):
        return gzip.compress(body, _LEVEL, mtime=0), [(b"content-encoding", b"gzip"), _VARY]
    if accepted.quality("deflate"):
        return zlib.compress(body, _LEVEL), [(b"content-encoding", b"deflate"), _VARY]
    return body, [_VARY]


_VARY = (b"vary", b"Accept-Encoding")


# POST


async def _take_post(session: EngineSession, scope: Scope, receive: Receive, send: Send) -> None:
    kind = _header(scope, b"content-type").partition(";")[0].strip().lower()
    if kind == "application/octet-stream":  # it was binary in version 3
        session.close(CloseReason.TRANSPORT_ERROR)
        raise Refused(Refusal.BAD_REQUEST)
    session.begin_post()
    settled = False
    try:
        await _take_packets(session, await _read(receive, session.max_message_bytes))
        settled = True
    except _TooLarge:
        settled = True  # nothing of it was taken
        await _answer(send, 413, b"", b"")
    except _Gone:
        session.close(CloseReason.TRANSPORT_CLOSE)
    except (EngineError, UnicodeDecodeError):
        session.close(CloseReason.PARSE_ERROR)
        raise Refused(Refusal.BAD_REQUEST) from None
    else:
        await _answer(send, 200, b"text/html", b"ok")
    finally:
        if not settled:  # cancelled, or the application failed: the rest of the body is lost
            session.close(CloseReason.TRANSPORT_ERROR)
        session.core.end_post()


async def _take_packets(session: EngineSession, body: bytes) -> None:
    for number, packet in enumerate(decode_payload(body.decode()), 1):
        await session.take(packet)
        if number % _TURN_PACKETS == 0:
            await trio.lowlevel.checkpoint()
        if session.core.closed is not None:
            return


async def _read(receive: Receive, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise _TooLarge
        if not message.get("more_body", False):
            return bytes(body)


def _header(scope: Scope, name: bytes) -> str:
    """The value of a field, all its lines together (RFC 9110 section 5.3)."""
    return ", ".join(value.decode("latin-1") for found, value in scope["headers"] if found == name)


# Answers


async def _refuse(send: Send, refusal: Refusal) -> None:
    await _answer(send, refusal.status, b"application/json", refusal.body, refusal.headers)


async def _answer(send: Send, status: int, kind: bytes, body: bytes, more: Headers | None = None) -> None:
    headers = [(b"cache-control", b"no-store"), *(more or [])]
    if kind:
        headers.append((b"content-type", kind))
    headers.append((b"content-length", str(len(body)).encode("ascii")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
