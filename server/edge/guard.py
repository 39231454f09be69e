"""Who may talk to us through a browser: `Host` and `Origin` checks, and CORS, in front of the application.

Any web page can post to a loopback server, and by DNS rebinding (its own name, pointed at 127.0.0.1) even
read the answers: to the browser that is the page's own origin. What such a page cannot change is the `Host`
header, which still carries its name. So `Host` is checked on every request, and `Origin` wherever something
can change.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from penstock.protocol.errors import GatewayError, InsufficientPermissions
from penstock.server.edge.answers import encoded_problem, refuse_websocket
from penstock.server.edge.asgi import ASGIApp, Headers, Message, Receive, Scope, Send
from penstock.server.settings import Settings

Origin = tuple[str, str, int]  # scheme, host, port

_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_READ_ONLY = {"GET", "HEAD", "OPTIONS"}
_OVERRIDE = b"x-http-method-override"
# A name or an address, and maybe a port (RFC 9112 §3.2). `urlsplit` alone takes "[::1]and.more" for ::1.
_HOST_VALUE = re.compile(r"(?:\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?\]|[^\s\[\]:@/?#\\]+)(?::[0-9]*)?")
# A GET there opens a session, or takes messages off a queue: not read-only.
_POLLING = ("/socket.io", "/engine.io")

_ALLOW_METHODS = b"POST, GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
_ALLOW_HEADERS = (
    b"Authorization, Content-Type, Content-Disposition, Content-Range, Upload-Length, Upload-Offset, "
    b"Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Checksum, Tus-Resumable, "
    b"X-HTTP-Method-Override, X-Requested-With, X-Request-ID, Idempotency-Key, Upload-Complete, "
    b"Upload-Incomplete, Upload-Draft-Interop-Version, Repr-Digest, Content-Digest, Want-Repr-Digest, "
    b"Prefer, Last-Event-ID, If-None-Match, If-Match, If-Range, Range"
)
_EXPOSE_HEADERS = (
    b"Location, Upload-Offset, Upload-Length, Upload-Metadata, Upload-Expires, Upload-Defer-Length, "
    b"Upload-Concat, Tus-Version, Tus-Resumable, Tus-Max-Size, Tus-Extension, Tus-Checksum-Algorithm, "
    b"Upload-Complete, Upload-Incomplete, Upload-Limit, Upload-Draft-Interop-Version, Accept-Patch, "
    b"Retry-After, Repr-Digest, ETag, Content-Range, Content-Disposition, Upload-State, Upload-Attempt, "
    b"Preference-Applied"
)
_MAX_AGE_S = b"86400"  # otherwise every PATCH costs a preflight


def guarded(app: ASGIApp, settings: Settings, bound_addresses: Iterable[str] = ()) -> ASGIApp:
    """`app` behind the checks. `bound_addresses`: further hosts this server is bound to, as in a URL."""
    return _Guard(app, settings, bound_addresses)


class _Guard:
    def __init__(self, app: ASGIApp, settings: Settings, bound_addresses: Iterable[str]) -> None:
        self._app = app
        public = _origin(settings.public_url)
        self._hosts = {_host(name) for name in (settings.host, *settings.allowed_hosts, *bound_addresses)}
        self._origins = {_origin(value) for value in settings.allowed_origins}
        self._origins |= {public} if public else set()
        self._origins.discard(None)
        self._hosts |= {public[1]} if public else set()
        self._hosts.discard("")
        self._null_allowed = "null" in settings.allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        host, origin = _header(scope, b"host"), _header(scope, b"origin")
        if not self._knows_host(scope, host):
            why = f"Host {host or '(none)'} is not served here; list it in the setting allowed_hosts"
            return await _refuse(scope, send, why, [])
        welcome = origin is not None and self._knows_origin(scope, host, origin)
        headers = _answer_headers(origin if welcome else None)
        if origin is not None and not welcome and _origin_matters(scope):
            why = f"Origin {origin} may not do this; list it in the setting allowed_origins"
            return await _refuse(scope, send, why, headers)
        if _is_preflight(scope, origin):
            return await _answer_preflight(send, headers)
        return await self._app(scope, receive, _adding(headers, send))

    def _knows_host(self, scope: Scope, value: str | None) -> bool:
        name = _host(value or "")
        if not name:
            return False
        local = _host((scope.get("server") or ("", 0))[0])
        if name in self._hosts or name == local:  # an address cannot be rebound, only a name can
            return True
        return name in _LOOPBACK_NAMES and _is_loopback(local)

    def _knows_origin(self, scope: Scope, host: str | None, value: str) -> bool:
        if value == "null":  # sandboxed frames and local files: anybody's
            return self._null_allowed
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        origin = _origin(value)
        return origin is not None and (origin == _origin(f"{scheme}://{host}") or origin in self._origins)


def _origin_matters(scope: Scope) -> bool:
    if scope["type"] == "websocket" or scope["method"] not in _READ_ONLY:
        return True
    if _header(scope, _OVERRIDE) is not None:  # the method on the wire is not the one that counts
        return True
    asks_for_more = _header(scope, b"access-control-request-method") is not None
    return scope["path"].startswith(_POLLING) or (scope["method"] == "OPTIONS" and asks_for_more)


def _is_preflight(scope: Scope, origin: str | None) -> bool:
    if scope["type"] != "http" or scope["method"] != "OPTIONS" or origin is None:
        return False
    return _header(scope, b"access-control-request-method") is not None


def _answer_headers(origin: str | None) -> Headers:
    headers: Headers = [(b"x-content-type-options", b"nosniff")]
    if origin is not None:
        headers += [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", _EXPOSE_HEADERS),
            (b"vary", b"Origin"),
        ]
    return headers


def _adding(headers: Headers, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            given = list(message.get("headers", []))
            names = {bytes(name).lower() for name, _ in given} - {b"vary"}
            added = [line for line in headers if line[0] not in names]
            message = {**message, "headers": [*given, *added]}
        await send(message)

    return sending


async def _answer_preflight(send: Send, headers: Headers) -> None:
    allowed = [
        (b"access-control-allow-methods", _ALLOW_METHODS),
        (b"access-control-allow-headers", _ALLOW_HEADERS),
        (b"access-control-max-age", _MAX_AGE_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": [*headers, *allowed]})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, why: str, headers: Headers) -> None:
    error: GatewayError = InsufficientPermissions(why)
    lines, body = encoded_problem(error)
    lines += [line for line in headers if line[0] != b"x-content-type-options"]
    if scope["type"] == "websocket":
        await refuse_websocket(scope, send, error.wire.http, lines, body)
        return
    await send({"type": "http.response.start", "status": error.wire.http, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, name: bytes) -> str | None:
    return next((bytes(value).decode("latin-1") for found, value in scope["headers"] if found == name), None)


def _host(value: str) -> str:
    """The name in a `Host` value or a bare address: no port, no brackets, an IPv4-mapped address as IPv4."""
    if value.count(":") > 1 and not value.startswith("["):
        value = f"[{value}]"
    if not _HOST_VALUE.fullmatch(value):
        return ""
    try:
        name = urlsplit(f"//{value}").hostname or ""
    except ValueError:
        return ""
    return name.removeprefix("::ffff:").rstrip(".")


def _origin(value: str) -> Origin | None:
    if not value.isprintable():  # `urlsplit` drops control characters, and what is welcome is echoed
        return None
    try:
        parts = urlsplit(value)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.scheme and parts.hostname else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
