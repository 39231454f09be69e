"""Host and Origin checks and CORS, as tables over plain ASGI calls."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock.server.edge.asgi import Message, Receive, Scope, Send
from penstock.server.edge.guard import guarded
from penstock.server.settings import Settings

Answer = tuple[int, dict[bytes, bytes], bytes]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        return await send({"type": "websocket.accept", "headers": []})
    status = 500 if scope["path"] == "/broken" else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"vary", b"Accept")]})
    await send({"type": "http.response.body", "body": b""})
    return None


async def ask(
    *,
    kind: str = "http",
    method: str = "GET",
    path: str = "/",
    server: str = "127.0.0.1",
    scheme: str | None = None,
    settings: dict[str, Any] | None = None,
    bound: tuple[str, ...] = (),
    extensions: dict[str, Any] | None = None,
    **headers: str | None,
) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the guard reads no body")

    async def send(message: Message) -> None:
        sent.append(message)

    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items() if value]
    scope: Scope = {"type": kind, "path": path, "headers": lines, "server": (server, 8005)}
    scope["scheme"] = scheme or {"http": "http", "websocket": "ws"}[kind]
    scope["extensions"] = {"websocket.http.response": {}} if extensions is None else extensions
    if kind == "http":
        scope["method"] = method
    effective = msgspec.structs.replace(Settings(), **(settings or {}))
    await guarded(app, effective, bound)(scope, receive, send)
    return sent


async def status(**question: Any) -> int:
    first = (await ask(**question))[0]
    return 101 if first["type"] == "websocket.accept" else int(first["status"])


def headers(messages: list[Message]) -> list[tuple[bytes, bytes]]:
    return list(messages[0]["headers"])


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "server", "settings", "allowed"),
    [
        ("localhost:8005", "127.0.0.1", {}, True),
        ("LOCALHOST", "127.0.0.1", {}, True),
        ("localhost.:8005", "127.0.0.1", {}, True),
        ("127.0.0.1:1", "127.0.0.1", {}, True),  # a forwarded port
        ("[::1]:8005", "::1", {}, True),
        ("[::1]:8005", "127.0.0.1", {}, True),
        ("localhost", "::ffff:127.0.0.1", {}, True),
        ("evil.example:8005", "127.0.0.1", {}, False),  # DNS rebinding
        ("localhost.evil.example", "127.0.0.1", {}, False),
        ("127.0.0.1.evil.example", "127.0.0.1", {}, False),
        ("evil.example@localhost", "127.0.0.1", {}, False),  # RFC 9112 §3.2: a Host has no user
        ("[::1]evil.example", "127.0.0.1", {}, False),
        ("::1]", "127.0.0.1", {}, False),
        ("localhost/evil.example", "127.0.0.1", {}, False),
        ("[fe80::1%eth0]:8005", "fe80::1%eth0", {}, True),
        ("", "127.0.0.1", {}, False),
        ("[", "127.0.0.1", {}, False),
        ("[", "", {}, False),  # what is no host is not the host of a server that has none
        ("192.0.2.7:8005", "192.0.2.7", {}, True),  # the address it came in by
        ("localhost", "192.0.2.7", {}, False),
        ("192.0.2.8", "192.0.2.7", {}, False),
        ("up.example", "192.0.2.7", {"allowed_hosts": ("up.example",)}, True),
        ("UP.example:443", "192.0.2.7", {"allowed_hosts": ("up.example:8005",)}, True),
        ("up.example", "192.0.2.7", {"public_url": "https://up.example/base"}, True),
        ("box.lan:8005", "192.0.2.7", {"host": "box.lan"}, True),
    ],
)
async def test_hosts(kind: str, host: str, server: str, settings: dict[str, Any], allowed: bool) -> None:
    got = await status(kind=kind, host=host, server=server, settings=settings)
    assert (got != 403) is allowed


async def test_no_host_at_all() -> None:
    assert await status() == 403


async def test_further_bound_addresses() -> None:
    assert await status(host="box.lan", server="192.0.2.7", bound=("box.lan:8005",)) == 200


@pytest.mark.parametrize(
    ("question", "allowed"),
    [
        ({}, False),
        ({"method": "PATCH"}, False),
        ({"method": "DELETE"}, False),
        ({"method": "GET"}, True),  # cannot be read without CORS headers, and changes nothing
        ({"method": "HEAD"}, True),
        ({"method": "OPTIONS"}, True),
        ({"method": "GET", "x_http_method_override": "DELETE"}, False),
        ({"method": "HEAD", "x_http_method_override": ""}, True),  # dropped by this helper: absent
        ({"method": "OPTIONS", "x_http_method_override": "PATCH"}, False),
        ({"method": "OPTIONS", "access_control_request_method": "POST"}, False),
        ({"method": "GET", "path": "/socket.io/"}, False),
        ({"method": "GET", "path": "/socket.io"}, False),
        ({"method": "OPTIONS", "path": "/socket.io/"}, False),
        ({"kind": "websocket"}, False),
        ({"kind": "websocket", "path": "/socket.io/"}, False),
    ],
)
async def test_where_a_foreign_origin_matters(question: dict[str, Any], allowed: bool) -> None:
    question = {"method": "POST", **question}
    assert (await status(host="localhost:8005", origin="http://evil.example", **question) != 403) is allowed


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("origin", "settings", "allowed"),
    [
        (None, {}, True),  # no browser
        ("http://localhost:8005", {}, True),
        ("http://LOCALHOST:8005", {}, True),
        ("https://localhost:8005", {}, False),
        ("http://localhost:3000", {}, False),
        ("http://localhost", {}, False),
        ("http://127.0.0.1:8005", {}, False),  # another origin than the Host's
        ("null", {}, False),
        ("null", {"allowed_origins": ("null",)}, True),
        ("", {}, True),  # dropped by this helper: absent
        ("garbage", {}, False),
        ("http://localhost:8005.evil.example", {}, False),
        ("http://localhost:99999999", {}, False),
        ("https://app.example", {"allowed_origins": ("https://app.example",)}, True),
        ("https://app.example:443", {"allowed_origins": ("https://app.example",)}, True),
        ("http://app.example", {"allowed_origins": ("https://app.example",)}, False),
        ("https://up.example", {"public_url": "https://up.example/x"}, True),
        ("\x06https://up.example", {"public_url": "https://up.example/x"}, False),  # it would be echoed
    ],
)
async def test_origins(kind: str, origin: str | None, settings: dict[str, Any], allowed: bool) -> None:
    got = await status(kind=kind, method="POST", host="localhost:8005", origin=origin, settings=settings)
    assert (got != 403) is allowed


async def test_default_ports_are_the_same_origin() -> None:
    question = {"method": "POST", "server": "192.0.2.7", "settings": {"allowed_hosts": ("up.example",)}}
    assert await status(host="up.example", origin="http://up.example:80", **question) == 200
    assert await status(host="up.example:443", origin="https://up.example", scheme="https", **question) == 200


async def test_refusals_name_the_setting() -> None:
    body = (await ask(host="evil.example"))[1]["body"]
    assert msgspec.json.decode(body)["code"] == "INSUFFICIENT_PERMISSIONS"
    assert b"allowed_hosts" in body
    body = (await ask(method="POST", host="localhost", origin="http://evil.example"))[1]["body"]
    assert b"allowed_origins" in body


async def test_a_websocket_is_refused_before_it_is_accepted() -> None:
    sent = await ask(kind="websocket", host="evil.example")
    assert [message["type"] for message in sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert sent[0]["status"] == 403
    assert await ask(kind="websocket", host="evil.example", extensions={}) == [
        {"type": "websocket.close", "code": 1008}
    ]


CROSS: dict[str, Any] = {
    "settings": {"allowed_origins": ("https://app.example",)},
    "origin": "https://app.example",
}


async def test_preflight() -> None:
    sent = await ask(method="OPTIONS", host="localhost", access_control_request_method="PATCH", **CROSS)
    got = dict(headers(sent))
    assert sent[0]["status"] == 204
    assert got[b"access-control-allow-origin"] == b"https://app.example"
    assert got[b"access-control-max-age"] == b"86400"
    assert got[b"vary"] == b"Origin"
    methods = got[b"access-control-allow-methods"].split(b", ")
    assert {b"POST", b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"} <= set(methods)
    allowed = got[b"access-control-allow-headers"].lower().split(b", ")
    assert {b"authorization", b"tus-resumable", b"upload-offset", b"upload-complete"} <= set(allowed)


@pytest.mark.parametrize("path", ["/", "/broken"])
async def test_cors_headers_on_every_answer(path: str) -> None:
    got = headers(await ask(path=path, host="localhost", **CROSS))
    assert (b"access-control-allow-origin", b"https://app.example") in got
    assert (b"vary", b"Origin") in got
    assert (b"vary", b"Accept") in got
    exposed = dict(got)[b"access-control-expose-headers"].lower().split(b", ")
    assert {b"location", b"upload-offset", b"retry-after", b"upload-expires"} <= set(exposed)


async def test_no_cors_headers_for_strangers() -> None:
    got = dict(headers(await ask(host="localhost", origin="http://evil.example")))
    assert b"access-control-allow-origin" not in got
    assert got[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize("question", [{"host": "localhost"}, {"host": "evil.example"}])
async def test_nosniff_everywhere_and_once(question: dict[str, Any]) -> None:
    names = [name for name, _ in headers(await ask(**question))]
    assert names.count(b"x-content-type-options") == 1
