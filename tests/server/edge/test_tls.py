"""TLS: the same drivers over an SSLStream, the handshake's deadline, and the choice of protocol."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from penstock.server.edge.asgi import CONNECTION, Receive, Scope, Send
from penstock.server.edge.host import Edge
from tests.server.edge.harness import Raw, connected, echo, reply, serving, until

Secure = trio.SSLStream[trio.SocketStream]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    paths = {"tls_certificate": folder / "cert.pem", "tls_key": folder / "key.pem"}
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=localhost -addext subjectAltName=DNS:localhost -out cert.pem -keyout key.pem"
    subprocess.run(command.split(), check=True, capture_output=True, cwd=folder)
    return paths


@asynccontextmanager
async def tls(edge: Edge, files: dict[str, Path], *protocols: str) -> AsyncIterator[Secure]:
    context = ssl.create_default_context(cafile=str(files["tls_certificate"]))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    stream = await trio.open_tcp_stream(*edge.addresses[0])
    secure = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
    async with secure:
        await secure.do_handshake()
        yield secure


async def test_https(certificate: dict[str, Path]) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        assert scope["state"][CONNECTION].take_body() is None
        await echo(scope, receive, send)

    body = bytes(range(256)) * 4096
    async with serving(app, **certificate) as edge, tls(edge, certificate, "http/1.1") as stream:
        client = Raw(stream)
        async with trio.open_nursery() as nursery:
            head = b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
            nursery.start_soon(client.send, head + body + GET)
            assert (await client.answer())[::2] == (200, body)
            assert (await client.answer())[0] == 200
    assert seen[0]["scheme"] == "https"


async def test_alpn_chooses_http2(certificate: dict[str, Path]) -> None:
    async with serving(echo, **certificate) as edge, tls(edge, certificate, "h2", "http/1.1") as stream:
        assert stream.selected_alpn_protocol() == "h2"
        await until(lambda: edge.statistics()["by_kind"] == {"http/2": 1})


async def test_an_early_answer_survives_the_unread_body(certificate: dict[str, Path]) -> None:
    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, 413)

    async with serving(early, **certificate) as edge, tls(edge, certificate) as stream:
        client = Raw(stream)
        await client.send(b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n")
        await client.send(bytes(4_000_000))
        status, headers, _ = await client.answer()
        assert (status, headers[b"connection"]) == (413, b"close")


async def test_a_peer_that_stops_reading_is_cut_off(certificate: dict[str, Path]) -> None:
    async def push(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})

    async with serving(push, **certificate, send_timeout_s=0.2) as edge, tls(edge, certificate) as stream:
        await stream.send_all(GET)
        await until(lambda: edge.statistics()["ended"] == {"peer too slow": 1})


async def test_a_silent_peer_does_not_hold_the_handshake(certificate: dict[str, Path]) -> None:
    async with serving(echo, **certificate, head_timeout_s=0.05) as edge, connected(edge) as client:
        assert await client.rest() == b""
        await until(lambda: edge.statistics()["ended"] == {"TLS handshake": 1})


async def test_plain_text_on_the_tls_port_ends_that_connection(certificate: dict[str, Path]) -> None:
    async with serving(echo, **certificate) as edge, tls(edge, certificate) as control:
        async with connected(edge) as client:
            await client.send(GET)
            assert b"HTTP/1.1" not in await client.rest()
        await control.send_all(GET)
        assert (await Raw(control).answer())[0] == 200
