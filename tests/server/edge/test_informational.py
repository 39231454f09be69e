"""104 and its relatives on the wire: several of them, while a body is taken, and beside 100 Continue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from penstock.server.edge.asgi import INFORMATIONAL, ASGIApp, Receive, Scope, Send
from penstock.server.http.body import AsgiBody
from penstock.server.peer import Body
from penstock.server.settings import Settings
from tests.server.edge.h2_apps import answer, drain
from tests.server.edge.h2_client import talking
from tests.server.edge.harness import connected, echo, read_body, reply, serving
from tests.server.edge.test_bodies import direct, ordinary, patch, take

EXPECT = b"PATCH / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

Path = Callable[[Callable[[Body, Send], Awaitable[None]]], ASGIApp]
both = pytest.mark.parametrize("path", [direct, ordinary])


async def tell(send: Send, offset: int) -> None:
    await send({"type": INFORMATIONAL, "status": 104, "headers": [(b"upload-offset", b"%d" % offset)]})


def told(offset: int) -> bytes:
    return b"HTTP/1.1 104 Upload Resumption Supported\r\nupload-offset: %d\r\n\r\n" % offset


async def take_and_tell(body: Body, send: Send) -> None:
    """Tells of every byte, as soon as it is here."""
    await tell(send, 0)
    taken, byte = 0, bytearray(1)
    while taken != body.length:
        await body.wait_readable()
        taken += body.receive_nowait(memoryview(byte))
        await tell(send, taken)
    await reply(send, body=b"%d" % taken)


@both
async def test_while_a_body_is_taken(path: Path) -> None:
    async with serving(path(take_and_tell)) as edge, connected(edge) as client:
        await client.send(patch(b"", 3))
        for offset in range(3):
            assert await client.until(b"\r\n\r\n") == told(offset)
            await client.send(b"x")
        assert await client.until(b"\r\n\r\n") == told(3)
        assert (await client.answer())[::2] == (200, b"3")
        await client.send(patch(b"x"))  # and the connection goes on
        assert await client.until(b"\r\n\r\n") == told(0)
        assert (await client.answer())[::2] == (200, b"1")


@both
async def test_rufh_I4_a_104_does_not_stand_for_100_continue(path: Path) -> None:
    async def app(body: Body, send: Send) -> None:
        await tell(send, 0)
        content = await take(body)
        await tell(send, len(content))
        await reply(send, body=content)

    async with serving(path(app)) as edge, connected(edge) as client:
        await client.send(EXPECT)
        assert await client.until(b"\r\n\r\n") == told(0)
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert await client.until(b"\r\n\r\n") == told(3)
        assert (await client.answer())[::2] == (200, b"abc")


async def test_one_100_continue_only() -> None:
    async with serving(echo) as edge, connected(edge) as client:
        await client.send(EXPECT)
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for byte in (b"a", b"b", b"c"):
            await client.send(byte)
        assert (await client.until(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"


async def test_no_100_continue_once_the_answer_has_begun() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": await read_body(receive)})

    async with serving(app) as edge, connected(edge) as client:
        await client.send(EXPECT)
        assert (await client.until(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"
        await client.send(b"abc")
        assert (await client.until(b"abc")).endswith(b"\r\n\r\nabc")


@both
async def test_rufh_I6_never_to_http_1_0(path: Path) -> None:
    async with serving(path(take_and_tell)) as edge, connected(edge) as client:
        await client.send(patch(b"abc").replace(b"HTTP/1.1", b"HTTP/1.0"))
        sent = await client.rest()
    assert sent.startswith(b"HTTP/1.1 200 ")
    assert b"104" not in sent


async def test_one_that_is_cancelled_before_it_leaves_spoils_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            await tell(send, 0)
        await echo(scope, receive, send)

    async with serving(app) as edge, connected(edge) as client:
        await client.send(patch(b"abc"))
        assert (await client.until(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"


async def test_over_http_2_while_a_body_is_taken() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await take_and_tell(AsgiBody(receive, 3), send)

    async with talking(app) as (client, _):
        stream_id = client.request("PATCH", "/", [(b"content-length", b"3")], end=False)
        got = client.answers[stream_id]
        known = 0

        def heard() -> bool:
            return len(got.informational) > known

        while known < 3:
            await client.until(heard)
            known += 1
            await client.send_body(stream_id, b"x", end=known == 3)
        await client.answer(stream_id)
    assert (got.status, got.informational, got.body) == (200, [104] * 4, b"3")


async def test_rufh_I4_over_http_2() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await tell(send, 0)
        taken = await drain(receive)
        await tell(send, taken)
        await answer(send, 200, b"%d" % taken)

    async with talking(app, Settings()) as (client, _):
        expect = [(b"expect", b"100-continue"), (b"content-length", b"3")]
        stream_id = client.request("PATCH", "/", expect, end=False)
        got = client.answers[stream_id]
        await client.until(lambda: len(got.informational) == 2)
        assert got.informational == [104, 100]
        await client.send_body(stream_id, b"abc")
        await client.answer(stream_id)
    assert (got.status, got.informational, got.body) == (200, [104, 100, 104], b"3")
