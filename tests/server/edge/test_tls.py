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
import trio.testing

from penstock.server.edge.asgi import CONNECTION, Receive, Scope, Send
from penstock.server.edge.host import Edge
from penstock.server.edge.transport import Traffic, Transport
from penstock.server.peer import PeerGone
from penstock.server.settings import Settings
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


class Holding(trio.abc.HalfCloseableStream):
    """Below TLS: keeps what is sent while it is to, so that records arrive together."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.held: bytearray | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.held is None:
            await self.stream.send_all(data)
        else:
            self.held += data
            await trio.lowlevel.checkpoint()

    async def release(self) -> None:
        held, self.held = self.held, None
        await self.stream.send_all(held or b"")

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        """TLS asks for it before the last record is out."""
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def secured(
    files: dict[str, Path],
) -> AsyncIterator[tuple[Transport, trio.SSLStream[Holding], Holding, Traffic]]:
    """A server's transport and the client at its other end, past the handshake."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["tls_certificate"], files["tls_key"])
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        below = Holding(await trio.testing.open_stream_to_socket_listener(listener))
        accepted = trio.SSLStream(await listener.accept(), context, server_side=True, https_compatible=True)
    trusting = ssl.create_default_context(cafile=str(files["tls_certificate"]))
    client = trio.SSLStream(below, trusting, server_hostname="localhost")
    traffic = Traffic()
    transport = Transport(accepted, Settings(), traffic)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepted.do_handshake)
        await client.do_handshake()
    below.held = bytearray()
    async with below.stream:
        try:
            with trio.fail_after(10):
                yield transport, client, below, traffic
        finally:
            transport.abort()


async def test_records_that_came_together_are_one_read(certificate: dict[str, Path]) -> None:
    async with secured(certificate) as (transport, client, below, traffic):
        for number in range(4):
            await client.send_all(b"%d" % number * 1000)
        await below.release()
        assert await transport.receive_some(1500) == b"0" * 1000 + b"1" * 500
        assert await transport.receive_some() == b"1" * 500 + b"2" * 1000 + b"3" * 1000
        assert traffic.bytes_read == 4000


async def test_the_end_is_found_after_the_last_record(certificate: dict[str, Path]) -> None:
    async with secured(certificate) as (transport, client, below, _):
        await client.send_all(b"last")
        await client.aclose()  # the word for it comes with the record
        await below.release()
        assert await transport.receive_some() == b"last"
        assert await transport.receive_some() == b""


async def test_a_broken_record_costs_none_before_it(certificate: dict[str, Path]) -> None:
    async with secured(certificate) as (transport, client, below, _):
        await client.send_all(b"whole")
        await client.send_all(b"broken")
        assert below.held
        below.held[-1] ^= 1
        await below.release()
        assert await transport.receive_some() == b"whole"
        with pytest.raises(PeerGone):
            await transport.receive_some()


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
