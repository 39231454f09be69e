"""The plain WebSocket through a real edge, with somebody else's client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from wsproto import ConnectionType, WSConnection
from wsproto.events import CloseConnection, Event, Ping, Request

from tests.server.edge.harness import PATIENCE_S, until
from tests.server.realtime.running import Running, running
from tests.server.uploads.rig import FedBody, whole_body


@asynccontextmanager
async def connected(
    server: Running, query: str = "", subprotocols: list[str] | None = None
) -> AsyncIterator[WebSocketConnection]:
    # With a stream of our own: the library does not close its own when the server is the first to close.
    host, port = server.edge.addresses[0]
    async with await trio.open_tcp_stream(host, port) as stream, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(
            nursery, stream, f"{host}:{port}", f"/api/v1/ws{query}", subprotocols=subprotocols
        )
        yield socket
        await socket.aclose()
        nursery.cancel_scope.cancel()


async def say(socket: WebSocketConnection, kind: str, data: object, message_id: str = "m1") -> None:
    message = {"type": kind, "data": data, "timestamp": 0, "messageId": message_id}
    await socket.send_message(msgspec.json.encode(message).decode())


async def following(socket: WebSocketConnection, kind: str) -> dict[str, Any]:
    """The next message of that type."""
    with trio.fail_after(PATIENCE_S):
        while True:
            said = msgspec.json.decode(await socket.get_message())
            if said["type"] == kind:
                found: dict[str, Any] = said
                return found


async def close_code(socket: WebSocketConnection) -> int:
    with trio.fail_after(PATIENCE_S), suppress(ConnectionClosed):
        await read_all(socket)
    assert socket.closed is not None
    return int(socket.closed.code)


async def test_connect_subscribe_watch_pause() -> None:
    async with running() as server:
        session_id = await server.rig.one_file(8)
        body = FedBody(length=8)
        async with (
            connected(server, "?clientId=me&protocol=1.0") as socket,
            trio.open_nursery() as nursery,
        ):
            assert (await following(socket, "connect"))["data"]["clientId"] == "me"
            await say(socket, "subscribe", {"topic": f"session:{session_id}"})
            assert (await following(socket, "ack"))["data"]["snapshot"]["sessionId"] == session_id
            nursery.start_soon(server.rig.put, session_id, body)
            body.feed(b"abcd")
            assert (await following(socket, "data"))["data"]["payload"]["uploadedBytes"] == 4
            await say(socket, "upload-pause", {"sessionId": session_id})
            assert (await following(socket, "ack"))["data"]["uploadedBytes"] == 4
            assert (await following(socket, "status"))["data"]["status"] == "paused"
            await say(socket, "upload-resume", {"sessionId": session_id})
            body.feed(b"efgh")
            body.end()
            assert (await following(socket, "notification"))["data"]["event"] == "upload-completed"
            assert (await following(socket, "notification"))["data"]["event"] == "session-completed"
            last = await following(socket, "data")
            assert last["data"]["payload"]["overallStatus"] == "completed"
        await until(lambda: server.endpoint.connections == 0)
        assert server.rig.gateway.statistics().watches == 0


@pytest.mark.parametrize(
    ("offered", "selected"),
    [(["bearer.secret", "penstock"], "penstock"), (["bearer.secret"], None), (None, None)],
)
async def test_subprotocols(offered: list[str] | None, selected: str | None) -> None:
    async with running() as server, connected(server, subprotocols=offered) as socket:
        await following(socket, "connect")
        assert socket.subprotocol == selected


async def test_close_codes_arrive() -> None:
    async with running() as server:
        async with connected(server, "?protocol=3") as socket:
            assert (await following(socket, "error"))["data"]["code"] == 1002
            assert await close_code(socket) == 4501
        async with connected(server) as socket:
            for _ in range(10):
                await socket.send_message(b"\0")
            assert await close_code(socket) == 4502
        async with connected(server) as socket:
            await following(socket, "connect")
            await server.rig.gateway.drain()
            assert await close_code(socket) == 4001


async def test_a_message_that_is_too_large_is_the_edges_matter() -> None:
    async with running(max_message_bytes=1000) as server, connected(server) as socket:
        await following(socket, "connect")
        await socket.send_message("x" * 1001)
        assert await close_code(socket) == 1009


async def test_pongs_keep_it_alive_and_silence_ends_it() -> None:
    beats = {"heartbeat_interval_s": 0.02, "heartbeat_timeout_s": 0.5}
    async with running(**beats) as server, await trio.open_tcp_stream(*server.edge.addresses[0]) as stream:
        client = WSConnection(ConnectionType.CLIENT)
        await stream.send_all(client.send(Request(host="localhost", target="/api/v1/ws")))
        pings, code = 0, None
        while code is None:
            for event in await received(client, stream):
                if isinstance(event, CloseConnection):
                    code = event.code
                elif isinstance(event, Ping):
                    pings += 1
                    if pings == 1:
                        await stream.send_all(client.send(event.response()))
        assert code == 4003
        assert pings == 2
        await until(lambda: server.endpoint.ended == {"heartbeat": 1})


async def received(client: WSConnection, stream: trio.SocketStream) -> list[Event]:
    with trio.fail_after(PATIENCE_S):
        data = await stream.receive_some()
    assert data, "closed without a close frame"
    client.receive_data(data)
    return list(client.events())


async def test_a_peer_that_stops_reading_is_gone_and_nobody_waits_for_it() -> None:
    small = {"send_timeout_s": 0.3, "ring_facts": 10_000, "ring_bytes": 100_000_000}
    async with running(**small) as server:
        session_id = await server.rig.one_file(8)
        host, port = server.edge.addresses[0]
        async with connected(server) as control:
            await say(control, "subscribe", {"topic": f"session:{session_id}"})
            await following(control, "ack")
            stream = await trio.open_tcp_stream(host, port)
            async with stream, trio.open_nursery() as nursery:
                stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
                await stream.send_all(upgrade(f"http://{host}:{port}", session_id))
                await until(lambda: server.rig.gateway.statistics().watches == 2)
                nursery.start_soon(read_all, control)
                with trio.fail_after(PATIENCE_S):
                    while server.endpoint.connections == 2:
                        await server.rig.command("upload-pause", session_id)
                        await server.rig.command("upload-resume", session_id)
                assert server.endpoint.ended == {"slow_consumer": 1}
                assert server.rig.gateway.statistics().watches == 1
                nursery.cancel_scope.cancel()


async def read_all(socket: WebSocketConnection) -> None:
    while True:
        await socket.get_message()


def upgrade(origin: str, session_id: str) -> bytes:
    """A handshake and a subscription from a client that will not read an answer."""
    text = f'{{"type":"join-session","data":"{session_id}"}}'.encode()
    head = (
        f"GET /api/v1/ws HTTP/1.1\r\nHost: {origin.removeprefix('http://')}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    assert len(text) < 126
    return head + bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text  # masked with zeros


async def test_a_vanished_peer_leaves_nothing() -> None:
    async with running() as server:
        session_id = await server.rig.one_file(8)
        host, port = server.edge.addresses[0]
        stream = await trio.open_tcp_stream(host, port)
        async with stream:
            await stream.send_all(upgrade(f"http://{host}:{port}", session_id))
            await until(lambda: server.rig.gateway.statistics().watches == 1)
        await until(lambda: server.rig.gateway.statistics().watches == 0)
        await until(lambda: server.endpoint.connections == 0)
        await server.rig.put(session_id, whole_body(bytes(8)))
