"""The answers the edge gives by itself: problem+json, refused WebSockets, and the lines of every answer."""

from __future__ import annotations

from email.utils import formatdate

import msgspec

from penstock.protocol.errors import (
    ConnectionTimeout,
    GatewayError,
    InvalidMessage,
    MessageTooLarge,
    ServerBusy,
    ServerError,
    UnsupportedProtocol,
    problem,
)
from penstock.server.edge.asgi import Headers, Scope, Send

_POLICY_VIOLATION = 1008  # before the handshake is accepted any code means 403; this one says so best
_ERRORS: dict[int, type[GatewayError]] = {
    400: InvalidMessage,
    408: ConnectionTimeout,
    426: UnsupportedProtocol,
    431: MessageTooLarge,
    500: ServerError,
    501: UnsupportedProtocol,
    503: ServerBusy,
    505: UnsupportedProtocol,
}


class Refused(Exception):
    """A request's head that the edge answers by itself, with `Connection: close`."""

    def __init__(self, status: int, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or []


def standard_headers() -> Headers:
    """`Date` (RFC 9110 §6.6.1) and `Server`; the latter tells no versions."""
    return [(b"date", formatdate(usegmt=True).encode("ascii")), (b"server", b"penstock")]


def problem_answer(status: int, message: str) -> tuple[Headers, bytes]:
    """Headers and body of an RFC 9457 answer with exactly this status."""
    error = _ERRORS.get(status, InvalidMessage)(message)
    return encoded_problem(error, status)


def encoded_problem(error: GatewayError, status: int | None = None) -> tuple[Headers, bytes]:
    """Headers and body of an error's answer, with the table's status where none is given."""
    described = problem(error)
    if status is not None:
        described["status"] = status
    body = msgspec.json.encode(described)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
    ]
    return headers, body


async def refuse_websocket(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Answer a WebSocket's handshake with this, or with a 403 without words where a server can do no more."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def leaves(error: BaseException) -> list[BaseException]:
    """The single exceptions in a group of groups, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]
