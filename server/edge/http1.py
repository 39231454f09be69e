"""The HTTP/1.1 driver: heads off the wire by h11, one request at a time, and who takes over from here.

Nothing is read that nobody asked for; every wait for the peer has its deadline: the first byte of a request
(`head_timeout_s` on a new connection, `keep_alive_timeout_s` later), then the whole head (`head_timeout_s`).
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

import h11
import trio

from penstock.server.edge.answers import Refused, problem_answer, standard_headers
from penstock.server.edge.asgi import ASGIApp, ConnectionInfo, Headers
from penstock.server.edge.exchange import Exchange
from penstock.server.edge.handshake import Handshake, upgrades_to, wants_websocket
from penstock.server.edge.http2 import serve_http2
from penstock.server.edge.transport import Transport
from penstock.server.edge.websocket import WebSocket
from penstock.server.peer import PeerGone
from penstock.server.settings import KIB, Settings

MAX_HEAD_BYTES = 64 * KIB  # the largest head in use is tus's `Upload-Concat: final` with hundreds of URLs
_PREFACE_HEAD = b"PRI * HTTP/2.0\r\n\r\n"


async def serve_http1(
    connection: ConnectionInfo, transport: Transport, app: ASGIApp, settings: Settings
) -> None:
    """Serve one accepted connection to its end; the transport is closed when this returns.

    Raises nothing a peer or an application could cause, except through the drivers it hands over to.
    """
    successor = await _requests(connection, transport, app, settings)
    match successor:
        case Handshake():
            await WebSocket(connection, transport, settings, successor).run(app)
        case Http2Start(go_on, initial, upgraded):
            connection.kind = "http/2"
            try:
                await transport.send_all(go_on)
            except PeerGone:
                connection.reason = "peer gone"
                return
            await serve_http2(connection, transport, app, settings, initial=initial, upgraded=upgraded)


class Http2Start(NamedTuple):
    """What HTTP/2 begins with: our 101 and the request that asked for it, if one did; bytes already read."""

    go_on: bytes
    initial: bytes
    upgraded: h11.Request | None


async def _requests(
    connection: ConnectionInfo, transport: Transport, app: ASGIApp, settings: Settings
) -> Handshake | Http2Start | None:
    """Serve requests until the connection ends (None: it is closed) or another protocol takes over.

    A function of its own so that a long-lived WebSocket keeps nothing of this alive.
    """
    ahead = b""
    while ahead := await _first_bytes(connection, transport, settings, ahead):
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        parser.receive_data(ahead)
        found = await _head(connection, transport, settings, parser)
        if not isinstance(found, h11.Request):
            return found
        last = connection.requests >= settings.keep_alive_max_requests
        exchange = Exchange(connection, transport, settings, parser, found, last=last)
        if not await exchange.run(app):
            return None
        ahead = exchange.ahead
    await transport.aclose()
    return None


async def _first_bytes(
    connection: ConnectionInfo, transport: Transport, settings: Settings, ahead: bytes
) -> bytes:
    """The start of the next request; b"" if the peer closes or stays silent: then nobody needs an answer."""
    wait = settings.keep_alive_timeout_s if connection.requests else settings.head_timeout_s
    data = ahead.lstrip(b"\r\n")  # stray line ends before a request are ignored, RFC 9112 §2.2
    with trio.move_on_after(wait) as deadline:
        try:
            while not data:
                received = await transport.receive_some()
                if not received:
                    return b""
                data = received.lstrip(b"\r\n")
        except PeerGone:
            return b""
    if deadline.cancelled_caught:
        connection.reason = "idle" if connection.requests else "head timeout"
    return data


async def _head(
    connection: ConnectionInfo, transport: Transport, settings: Settings, parser: h11.Connection
) -> h11.Request | Handshake | Http2Start | None:
    """One whole head that we will serve; None if there is none: then it is answered and the stream closed."""
    request: h11.Request | None = None
    try:
        with trio.fail_after(settings.head_timeout_s):
            request = await _next_request(transport, parser)
        connection.requests += 1
        return _accepted(request, parser, settings)
    except PeerGone:
        connection.reason = "peer gone"
        await transport.aclose()
    except trio.TooSlowError:
        connection.reason = "head timeout"
        await _refuse(transport, parser, Refused(408, "the request's head took too long"))
    except h11.RemoteProtocolError as error:
        connection.reason = "bad request"
        await _refuse(transport, parser, Refused(error.error_status_hint, str(error)))
    except Refused as refusal:
        connection.reason = "refused"
        await _refuse(transport, parser, refusal, request)
    return None


async def _next_request(transport: Transport, parser: h11.Connection) -> h11.Request:
    while True:
        event = parser.next_event()
        if isinstance(event, h11.Request):
            return event
        data = await transport.receive_some()
        if not data:
            raise PeerGone("closed in mid-head")
        parser.receive_data(data)


def _accepted(
    request: h11.Request, parser: h11.Connection, settings: Settings
) -> h11.Request | Handshake | Http2Start:
    """Decide what a head starts. Raises: `Refused`."""
    names = {name for name, _ in request.headers}
    if _size_bytes(request) > MAX_HEAD_BYTES:  # the parser looks only at what came in several pieces
        raise Refused(431, f"a head has at most {MAX_HEAD_BYTES} bytes")
    trailing, _ = parser.trailing_data
    if settings.h2c and request.method == b"PRI" and request.http_version == b"2.0":
        return Http2Start(b"", _PREFACE_HEAD + trailing, None)
    if request.http_version not in (b"1.0", b"1.1"):
        raise Refused(505, "this port speaks HTTP/1.1")
    if request.method == b"CONNECT":
        raise Refused(501, "this is not a proxy")
    if {b"transfer-encoding", b"content-length"} <= names:
        # Two framings: what one hop takes for a body, the next takes for a request (RFC 9112 §11.2).
        raise Refused(400, "Transfer-Encoding and Content-Length exclude each other")
    request = _in_origin_form(request)
    if wants_websocket(request):
        return Handshake(parser, request)
    bodiless = not names & {b"transfer-encoding", b"content-length"}
    if settings.h2c and bodiless and upgrades_to(request, b"h2c"):  # with a body it may stay HTTP/1.1
        return Http2Start(_switch_to_h2c(parser), trailing, request)
    return request


def _size_bytes(request: h11.Request) -> int:
    return len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)


def _switch_to_h2c(parser: h11.Connection) -> bytes:
    parser.next_event()  # the request's EndOfMessage: h11 switches only after it
    lines = [(b"connection", b"upgrade"), (b"upgrade", b"h2c")]
    return parser.send(h11.InformationalResponse(status_code=101, headers=lines))


async def _refuse(
    transport: Transport, parser: h11.Connection, refusal: Refused, request: h11.Request | None = None
) -> None:
    headers, body = problem_answer(refusal.status, str(refusal))
    lines = [*standard_headers(), *headers, *refusal.headers, (b"connection", b"close")]
    head = h11.Response(status_code=refusal.status, headers=lines)
    if request is not None and request.method == b"HEAD":
        body = b""  # RFC 9110 §9.3.2
    try:
        out = parser.send(head) + parser.send(h11.Data(data=body)) + parser.send(h11.EndOfMessage())
        await transport.send_all(out)
    except PeerGone:
        return
    await transport.linger_close()


def _in_origin_form(request: h11.Request) -> h11.Request:
    """An absolute-form target (RFC 9112 §3.2.2) as the origin form; its authority replaces `Host`.

    Raises: `Refused`.
    """
    if not request.target.lower().startswith((b"http://", b"https://")):
        return request
    try:
        parts = urlsplit(request.target)
    except ValueError as error:  # "http://]"
        raise Refused(400, f"the request's target is no URL: {error}") from None
    target = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
    headers: Headers = [(b"host", parts.netloc)]
    headers += [(name, value) for name, value in request.headers if name != b"host"]
    return h11.Request(
        method=request.method, target=target, headers=headers, http_version=request.http_version
    )
