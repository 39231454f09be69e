"""What passes between the edge and an application: ASGI 3 types, one connection's facts, scopes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from penstock.server.peer import Body

# ASGI messages and scopes are open dictionaries by specification: `Any` is what they hold.
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Address = tuple[str, int]

INFORMATIONAL = "penstock.response.informational"
"""Extension and message type: `{type, status, headers}` sends a 1xx answer before the final one."""

CONNECTION = "penstock.connection"
"""Where in a scope's `state` the handle to the connection lies (`HttpHandle` or `WebSocketHandle`)."""

_ASGI = {"version": "3.0", "spec_version": "2.4"}


class HttpHandle(Protocol):
    """What an HTTP application may ask of its connection beyond ASGI."""

    def take_body(self) -> Body | None:
        """The request's body straight from the socket; None where only `receive()` can give it.

        After it has been taken, `receive()` reports nothing but the disconnect.
        """


class WebSocketHandle(Protocol):
    """What a WebSocket application may ask of its connection beyond ASGI."""

    last_heard: float
    """`trio.current_time()` of the last frame from the peer, pongs included."""

    async def ping(self, payload: bytes = b"") -> None:
        """Send a ping (at most 125 bytes). Raises: `PeerGone`."""

    def send_nowait(self, frames: bytes) -> bool:
        """Write whole, ready-made frames if nothing else is being written and the kernel takes them; else
        False, and nothing of them is written. If `is_behind` afterwards, `catch_up` must be called."""

    @property
    def is_behind(self) -> bool:
        """Whether the kernel took only the beginning of what `send_nowait` was given."""

    async def catch_up(self) -> None:
        """Write the rest of it; any other write does that first, too. Raises: `PeerGone`."""


@dataclass(slots=True, eq=False)
class ConnectionInfo:
    """One accepted connection, as its drivers share it.

    `kind` and `reason` are kept up to date by the driver that has the connection: they are what the
    statistics and the one log line at its end say.
    """

    scheme: str  # http or https
    client: Address
    server: Address
    state: dict[str, Any] = field(default_factory=dict)
    kind: str = "http/1.1"  # or http/2, websocket
    reason: str = "closed"  # why it ended
    requests: int = 0


def http_scope(
    connection: ConnectionInfo,
    *,
    method: bytes,
    target: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    http_version: str,
    handle: HttpHandle | None = None,
) -> Scope:
    """The ASGI scope of one request; `target` is in origin form (RFC 9112 §3.2.1), as HTTP/2's `:path`."""
    scope = _scope(connection, target, headers, http_version, handle)
    scope.update(type="http", method=method.decode("ascii"), scheme=connection.scheme)
    scope["extensions"] = {INFORMATIONAL: {}}
    return scope


def websocket_scope(
    connection: ConnectionInfo,
    *,
    target: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    subprotocols: list[str],
    handle: WebSocketHandle | None = None,
) -> Scope:
    """The ASGI scope of one WebSocket (HTTP/1.1 only)."""
    scope = _scope(connection, target, headers, "1.1", handle)
    scope.update(type="websocket", scheme={"http": "ws", "https": "wss"}[connection.scheme])
    scope.update(subprotocols=subprotocols, extensions={"websocket.http.response": {}})
    return scope


def _scope(
    connection: ConnectionInfo,
    target: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    http_version: str,
    handle: object | None,
) -> Scope:
    raw_path, _, query = target.partition(b"?")
    state = dict(connection.state)
    if handle is not None:
        state[CONNECTION] = handle
    return {
        "asgi": _ASGI,
        "http_version": http_version,
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(bytes(name), bytes(value)) for name, value in headers],
        "client": connection.client,
        "server": connection.server,
        "state": state,
    }
