"""The WebSocket driver over real sockets, spoken to frame by frame."""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from penstock.server.edge.asgi import CONNECTION, Message, Receive, Scope, Send
from penstock.server.edge.host import Edge
from penstock.server.peer import PeerGone
from tests.server.edge.harness import Raw, connected, serving, until

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, length: int | None = None) -> bytes:
    """A masked client frame; `length` lies about the payload."""
    size = len(payload) if length is None else length
    head = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", size)
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


async def read_frame(client: Raw) -> tuple[int, bytes]:
    opcode, size = await client.exactly(2)
    assert opcode & 0x80, "the server does not fragment"
    if size == 126:
        (size,) = struct.unpack("!H", await client.exactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await client.exactly(8))
    return opcode & 0x0F, await client.exactly(size)


async def close_code(client: Raw) -> int:
    opcode, payload = await read_frame(client)
    assert opcode == CLOSE
    return int.from_bytes(payload[:2], "big")


@asynccontextmanager
async def opened(edge: Edge, extra: bytes = b"", then: bytes = b"") -> AsyncIterator[Raw]:
    async with connected(edge) as client:
        await client.send(UPGRADE + extra + b"\r\n" + then)
        head = await client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        yield client


class Recorder:
    """An echoing application that remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.messages.append(message)
            if message["type"] == "websocket.disconnect":
                return
            await send({**message, "type": "websocket.send"})


async def test_messages_both_ways() -> None:
    app = Recorder()
    async with serving(app) as edge, opened(edge, then=frame(TEXT, b"at once")) as client:
        assert await read_frame(client) == (TEXT, b"at once")
        await client.send(frame(TEXT, "grüß".encode()) + frame(BINARY, b"\0\xff") + frame(BINARY))
        assert await read_frame(client) == (TEXT, "grüß".encode())
        assert await read_frame(client) == (BINARY, b"\0\xff")
        assert await read_frame(client) == (BINARY, b"")
    assert app.messages[3] == {"type": "websocket.receive", "bytes": b"", "text": None}


async def test_a_fragmented_message_with_a_ping_inside_byte_by_byte() -> None:
    app = Recorder()
    whole = "ü".encode()
    data = frame(TEXT, b"one" + whole[:1], fin=False) + frame(PING, b"p")
    data += frame(CONTINUATION, whole[1:], fin=False) + frame(CONTINUATION, b"!")
    async with serving(app) as edge, opened(edge) as client:
        for byte in data:
            await client.send(bytes([byte]))
        assert await read_frame(client) == (PONG, b"p")
        assert await read_frame(client) == (TEXT, "oneü!".encode())


async def test_scope_and_subprotocol() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-a", b"1")]})

    async with serving(app) as edge, connected(edge) as client:
        await client.send(
            UPGRADE + b"Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        )
        head = await client.until(b"\r\n\r\n")
        assert b"sec-websocket-protocol: b" in head
        assert b"x-a: 1" in head
        assert b"extensions" not in head.lower()
    assert (seen[0]["type"], seen[0]["scheme"], seen[0]["path"]) == ("websocket", "ws", "/ws")
    assert seen[0]["subprotocols"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"GET", b"POST", 400),
        (b"Version: 13", b"Version: 8", 426),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Key: short", 400),
        (b"Sec-WebSocket-Key", b"X-Key", 400),
        (b"Host", b"Content-Length: 5\r\nHost", 400),
    ],
)
async def test_bad_handshakes(old: bytes, new: bytes, status: int) -> None:
    async with serving(Recorder()) as edge, connected(edge) as client:
        await client.send(UPGRADE.replace(old, new, 1) + b"\r\n")
        got, headers, _ = await client.answer()
        assert got == status
        assert headers[b"connection"] == b"close"
        assert (headers.get(b"sec-websocket-version") == b"13") == (status == 426)


# Ends


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4321])
async def test_the_peers_close_code_is_told_and_echoed(code: int) -> None:
    app = Recorder()
    async with serving(app) as edge, opened(edge) as client:
        await client.send(close(code, b"why"))
        assert await close_code(client) == code
        assert await client.rest() == b""
        assert app.messages == [{"type": "websocket.disconnect", "code": code, "reason": "why"}]
        await client.stream.aclose()
        await until(lambda: edge.statistics()["ended"] == {"closed by peer": 1})


async def test_a_close_without_code_is_1005() -> None:
    app = Recorder()
    async with serving(app) as edge, opened(edge) as client:
        await client.send(frame(CLOSE))
        assert await read_frame(client) == (CLOSE, b"")
        await until(lambda: app.messages)
        assert app.messages[0]["code"] == 1005


async def test_no_close_frame_is_1006() -> None:
    app = Recorder()
    async with serving(app) as edge:
        async with opened(edge):
            pass
        await until(lambda: app.messages)
        assert app.messages[0]["code"] == 1006
        await until(lambda: edge.statistics()["ended"] == {"peer gone": 1})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff", None),  # a stray byte, the rest never comes
        (b"\xff\xff", 1002),
        (b"\x81\x01a", 1002),  # not masked
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(CONTINUATION, b"a"), 1002),
        (frame(PING, b"a", fin=False), 1002),
        (close(1006), 1002),
        (close(999), 1002),
        (frame(CLOSE, b"\x03"), 1002),
    ],
)
async def test_broken_frames_end_this_connection_only(data: bytes, code: int | None) -> None:
    async with serving(Recorder()) as edge, opened(edge) as control:
        async with opened(edge, then=data) as client:
            if code is not None:
                assert await close_code(client) == code
                assert await client.rest() == b""
        await control.send(frame(TEXT, b"still here"))
        assert await read_frame(control) == (TEXT, b"still here")


async def test_a_message_over_the_limit() -> None:
    app = Recorder()
    async with serving(app, max_message_bytes=1000) as edge, opened(edge) as client:
        await client.send(frame(BINARY, bytes(1000)))
        assert (await read_frame(client))[1] == bytes(1000)
        await client.send(frame(TEXT, "ü".encode() * 500, fin=False) + frame(CONTINUATION, b"!"))
        assert await close_code(client) == 1009
        assert await client.rest() == b""
    assert app.messages[-1]["code"] == 1009
    assert len(app.messages) == 2


async def test_a_flood_over_the_limit_is_cut_off() -> None:
    async with serving(Recorder(), max_message_bytes=1000, linger_bytes=100_000) as edge:
        async with opened(edge) as client:
            await client.send(frame(BINARY, bytes(64), length=210_000_000))
            await client.push()
        await until(lambda: edge.statistics()["ended"] == {"message too big": 1})
        assert edge.statistics()["bytes_read"] < 400_000


@pytest.mark.parametrize(
    ("said", "sent"), [(1000, 1000), (4001, 4001), (1012, 1012), (1005, 1011), (1006, 1011), (999, 1011)]
)
async def test_the_applications_close_code(said: int, sent: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": said, "reason": "r"})
        with pytest.raises(PeerGone):
            await send({"type": "websocket.send", "text": "late"})

    async with serving(app) as edge, opened(edge) as client:
        assert await close_code(client) == sent
        assert await client.rest() == b""


async def test_after_its_own_close_the_application_hears_the_answer() -> None:
    got: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001})
        got.extend([await receive(), await receive()])

    async with serving(app) as edge, opened(edge) as client:
        assert await close_code(client) == 4001
        await client.send(frame(PING, b"late") + close(4001))
        assert await client.rest() == b""
    assert [message["code"] for message in got] == [4001, 4001]


@pytest.mark.parametrize("error", [ValueError("x"), ExceptionGroup("g", [ValueError("x"), PeerGone()])])
async def test_a_failing_application_is_1011(error: Exception) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        raise error

    async with serving(app) as edge, opened(edge) as client:
        assert await close_code(client) == 1011
        await client.stream.aclose()
        await until(lambda: edge.statistics()["ended"] == {"handler error": 1})


async def test_returning_is_1000() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    async with serving(app) as edge, opened(edge) as client:
        assert await close_code(client) == 1000


# Refusals


async def test_refusing_is_403() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})
        assert (await receive())["type"] == "websocket.disconnect"

    async with serving(app) as edge, connected(edge) as client:
        await client.send(UPGRADE + b"\r\n")
        status, headers, body = await client.answer()
        assert (status, headers[b"connection"]) == (403, b"close")
        assert b"INSUFFICIENT_PERMISSIONS" in body


async def test_refusing_with_an_answer_of_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "websocket.http.response" in scope["extensions"]
        start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"1")]}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you?"})

    async with serving(app) as edge, connected(edge) as client:
        await client.send(UPGRADE + b"\r\n")
        status, headers, body = await client.answer()
        assert (status, headers[b"x-a"], body) == (401, b"1", b"who are you?")
        assert await client.rest() == b""


@pytest.mark.parametrize("fails", [True, False])
async def test_neither_accepted_nor_refused_is_500(fails: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if fails:
            raise ValueError

    async with serving(app) as edge, connected(edge) as client:
        await client.send(UPGRADE + b"\r\n")
        assert (await client.answer())[0] == 500


async def test_receive_waits_for_the_decision() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def read() -> None:
            assert (await receive())["type"] == "websocket.connect"
            assert (await receive())["text"] == "early"
            await send({"type": "websocket.send", "text": "got it"})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await send({"type": "websocket.accept"})

    async with serving(app) as edge, opened(edge, then=frame(TEXT, b"early")) as client:
        assert await read_frame(client) == (TEXT, b"got it")


# Heartbeat, slow peers


async def test_ping_and_signs_of_life() -> None:
    heard: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        handle = scope["state"][CONNECTION]
        await receive()
        await send({"type": "websocket.accept"})
        before = handle.last_heard
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await handle.ping(b"alive?")
            await until(lambda: handle.last_heard > before)
            heard.append(handle.last_heard)
            nursery.cancel_scope.cancel()

    async with serving(app) as edge, opened(edge) as client:
        assert await read_frame(client) == (PING, b"alive?")
        assert not heard
        await client.send(frame(PONG, b"alive?"))
        assert await close_code(client) == 1000
    assert heard


async def test_a_watcher_that_stops_reading_is_cut_off() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": bytes(65536)})

    async with serving(app, send_timeout_s=0.2) as edge, opened(edge):
        await until(lambda: edge.statistics()["ended"] == {"peer too slow": 1})


async def test_a_cancelled_send_that_wrote_nothing_leaves_the_socket_usable() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with trio.CancelScope() as scope_:
            scope_.cancel()
            await send({"type": "websocket.send", "text": "never"})
        await send({"type": "websocket.close", "code": 4001})

    async with serving(app) as edge, opened(edge) as client:
        assert await close_code(client) == 4001


async def test_a_cut_frame_closes_hard() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with trio.move_on_after(0.2):
            await send({"type": "websocket.send", "bytes": bytes(32 << 20)})
        with pytest.raises(PeerGone):
            await send({"type": "websocket.send", "text": "in mid-frame"})

    async with serving(app) as edge, opened(edge) as client:
        await until(lambda: edge.statistics()["connections"] == 0)
        assert b"in mid-frame" not in await client.rest()
        assert "handler error" not in edge.statistics()["ended"]
