"""The opening handshake of a WebSocket over HTTP/1.1 (RFC 6455 §4.2): checked, accepted or refused."""

from __future__ import annotations

import base64
import binascii

import h11
from wsproto.utilities import generate_accept_token

from penstock.server.edge.answers import Refused, standard_headers
from penstock.server.edge.asgi import Headers, Message


def wants_websocket(request: h11.Request) -> bool:
    """Whether a request asks for an upgrade to WebSocket; whether it does so correctly, `Handshake` says."""
    return upgrades_to(request, b"websocket")


def upgrades_to(request: h11.Request, protocol: bytes) -> bool:
    """Whether a request asks to leave HTTP/1.1 for this protocol (RFC 9110 §7.8)."""
    named = b"upgrade" in tokens(request, b"connection")
    return request.http_version == b"1.1" and named and protocol in tokens(request, b"upgrade")


def tokens(request: h11.Request, name: bytes) -> list[bytes]:
    """The comma-separated values of a header, over all its lines, in lower case."""
    lines = (value for found, value in request.headers if found == name)
    return [token.strip().lower() for line in lines for token in line.split(b",")]


class Handshake:
    """One upgrade request and the answer to it. After `accept` it holds on to nothing."""

    def __init__(self, parser: h11.Connection, request: h11.Request) -> None:
        """Raises: `Refused`."""
        headers = dict(request.headers)
        _check(request, headers)
        self.target = request.target
        self.headers: Headers = list(request.headers)
        offered = b",".join(value for name, value in self.headers if name == b"sec-websocket-protocol")
        self.subprotocols = [name.strip() for name in offered.decode("latin-1").split(",") if name.strip()]
        self._key = headers[b"sec-websocket-key"]
        self._parser = parser
        self._rejection: Message | None = None
        self.answering = False  # a part of a refusal is out

    def accept(self, message: Message) -> tuple[bytes, bytes]:
        """The 101 answer for a `websocket.accept`, and what the peer has already sent after its head."""
        lines = [
            *standard_headers(),
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
            (b"sec-websocket-accept", generate_accept_token(self._key)),
            *((bytes(name), bytes(value)) for name, value in message.get("headers", [])),
        ]
        if subprotocol := message.get("subprotocol"):
            lines.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
        self._parser.next_event()  # the request's EndOfMessage: h11 switches only after it
        switch = h11.InformationalResponse(status_code=101, headers=lines, reason=b"Switching Protocols")
        answer = self._parser.send(switch)
        trailing, _ = self._parser.trailing_data
        self.headers = []
        del self._parser
        return answer, trailing

    def reject(self, message: Message) -> bytes:
        """The bytes of a `websocket.http.response.start` or `.body`: the head goes with the first body."""
        if message["type"] == "websocket.http.response.start":
            self._rejection = message
            return b""
        if self._rejection is None:
            raise RuntimeError("a body without its start")
        out = b"" if self.answering else self._parser.send(_rejection_head(self._rejection))
        self.answering = True
        if body := message.get("body", b""):
            out += self._parser.send(h11.Data(data=body))
        if not message.get("more_body", False):
            out += self._parser.send(h11.EndOfMessage())
        return out


def _rejection_head(start: Message) -> h11.Response:
    lines = [*standard_headers(), *((bytes(name), bytes(value)) for name, value in start.get("headers", []))]
    return h11.Response(status_code=start["status"], headers=[*lines, (b"connection", b"close")])


def _check(request: h11.Request, headers: dict[bytes, bytes]) -> None:
    if request.method != b"GET":
        raise Refused(400, "a WebSocket is opened with GET")
    if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
        raise Refused(400, "a WebSocket is opened without a body")
    if headers.get(b"sec-websocket-version") != b"13":
        raise Refused(426, "this port speaks WebSocket version 13", [(b"sec-websocket-version", b"13")])
    if not _is_key(headers.get(b"sec-websocket-key", b"")):
        raise Refused(400, "Sec-WebSocket-Key must be 16 bytes in base64")


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False
