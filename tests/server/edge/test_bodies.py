"""Pulled bodies, on the ordinary and on the direct path: back-pressure, exact ends, hand-over."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from penstock.server.edge.asgi import CONNECTION, ASGIApp, Message, Receive, Scope, Send
from penstock.server.edge.direct import DirectBody
from penstock.server.http.body import AsgiBody
from penstock.server.peer import Body, BodyBroken, Take, ThreadedBody
from tests.server.edge.harness import PATIENCE_S, connected, reply, serving, until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Handler = Callable[[Body, Send], Awaitable[None]]


def patch(body: bytes, length: int | None = None, extra: bytes = b"") -> bytes:
    head = b"PATCH / HTTP/1.1\r\nHost: x\r\n" + extra
    return head + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


class InThreads(DirectBody):
    """Marks a body that is taken in threads."""


async def take(body: Body, step: int = 7000) -> bytes:
    """Everything, in the way an append takes it."""
    taken, buffer = bytearray(), bytearray(step)
    with trio.fail_after(PATIENCE_S):
        while True:
            await trio.lowlevel.checkpoint()
            if isinstance(body, InThreads):
                taken += await take_in_thread(body)
            try:
                count = body.receive_nowait(memoryview(buffer))
            except trio.WouldBlock:
                await body.wait_readable()
                continue
            if not count:
                return bytes(taken)
            taken += buffer[:count]


async def take_in_thread(body: ThreadedBody) -> bytes:
    """As much as comes in one turn."""
    taken, buffer = bytearray(), memoryview(bytearray(7000))

    def turn(receive: Take) -> None:
        while count := receive(buffer, 0.001):
            taken.extend(buffer[:count])

    with body.in_thread() as receive:
        await trio.to_thread.run_sync(turn, receive)
    return bytes(taken)


def length_of(scope: Scope) -> int | None:
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), None)


def direct(handler: Handler) -> ASGIApp:
    """An application that takes its bodies straight from the socket."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = scope["state"][CONNECTION].take_body()
        if body is None:
            return await reply(send, 299)
        await handler(body, send)
        return None

    return app


def ordinary(handler: Handler) -> ASGIApp:
    """The same over ASGI messages."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            return await reply(send, 299)
        await handler(AsgiBody(receive, length_of(scope)), send)
        return None

    return app


def in_threads(handler: Handler) -> ASGIApp:
    """As `direct`, with all that can be taken in threads."""

    async def marked(body: Body, send: Send) -> None:
        assert isinstance(body, DirectBody)
        body.__class__ = InThreads
        await handler(body, send)

    return direct(marked)


both = pytest.mark.parametrize("path", [direct, in_threads, ordinary])


async def echo(body: Body, send: Send) -> None:
    await reply(send, body=await take(body))


async def sleep(body: Body, send: Send) -> None:
    await trio.sleep_forever()


@both
async def test_nothing_is_read_for_a_handler_that_does_not_ask(path: Callable[[Handler], ASGIApp]) -> None:
    async with serving(path(sleep)) as edge, connected(edge) as client:
        with trio.move_on_after(0.5):  # the client pushes as much as the kernel takes
            await client.send(patch(b"", 200 << 20))
            while True:
                await client.send(bytes(65536))
        assert edge.statistics()["bytes_read"] < 2 << 20


async def test_past_the_end_at_most_64_kib_are_read_ahead() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    async with serving(app) as edge, connected(edge) as client:
        with trio.move_on_after(0.3):
            await client.send(GET)
            while True:
                await client.send(bytes(65536))
        assert edge.statistics()["bytes_read"] <= 3 * 65536


@both
async def test_pipelined_behind_the_body_in_one_segment(path: Callable[[Handler], ASGIApp]) -> None:
    async with serving(path(echo)) as edge, connected(edge) as client:
        await client.send(patch(b"hello") + GET + patch(b"again"))
        assert (await client.answer())[::2] == (200, b"hello")
        assert (await client.answer())[0] == 299
        assert (await client.answer())[::2] == (200, b"again")


@both
@pytest.mark.parametrize("cut", [1, 30, 52, 54, 55, 58])
async def test_a_request_cut_anywhere(path: Callable[[Handler], ASGIApp], cut: int) -> None:
    whole = patch(b"hello") + GET
    async with serving(path(echo)) as edge, connected(edge) as client:
        await client.send(whole[:cut])
        await until(lambda: edge.statistics()["bytes_read"] == cut or cut > 53)
        await client.send(whole[cut:])
        assert (await client.answer())[::2] == (200, b"hello")
        assert (await client.answer())[0] == 299


@both
async def test_expect(path: Callable[[Handler], ASGIApp]) -> None:
    async with serving(path(echo)) as edge, connected(edge) as client:
        await client.send(patch(b"", 3, b"Expect: 100-continue\r\n"))
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc" + GET)
        assert (await client.answer())[::2] == (200, b"abc")
        assert (await client.answer())[0] == 299


@both
async def test_a_thousand_bodies_on_one_connection(path: Callable[[Handler], ASGIApp]) -> None:
    async with serving(path(echo)) as edge, connected(edge) as client:
        for number in range(1000):
            body = b"%d" % number * (number % 50 + 1)
            await client.send(patch(body))
            assert (await client.answer())[::2] == (200, body)
        assert edge.statistics()["accepted"] == 1


@both
async def test_a_large_body_is_whole(path: Callable[[Handler], ASGIApp]) -> None:
    body = functools.reduce(
        lambda data, _: data + data, range(12), bytes(range(251))
    )  # 1 MiB, no power of two
    async with serving(path(echo)) as edge, connected(edge) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, patch(body) + GET)
            assert (await client.answer())[2] == body
        assert (await client.answer())[0] == 299


@both
async def test_longer_than_announced_is_the_next_request(path: Callable[[Handler], ASGIApp]) -> None:
    async with serving(path(echo)) as edge, connected(edge) as client:
        await client.send(patch(b"hello, too long\r\n\r\n", 5))
        assert (await client.answer())[::2] == (200, b"hello")
        assert (await client.answer())[0] == 400


@both
async def test_shorter_than_announced_is_broken(path: Callable[[Handler], ASGIApp]) -> None:
    broken = trio.Event()

    async def handler(body: Body, send: Send) -> None:
        with pytest.raises(BodyBroken):
            await take(body)
        with pytest.raises(BodyBroken):  # and stays so
            body.receive_nowait(memoryview(bytearray(1)))
        broken.set()

    async with serving(path(handler)) as edge, connected(edge) as client:
        await client.send(patch(b"hell", 5))
        await client.finish()
        await broken.wait()
        assert await client.rest() == b""


@both
async def test_a_stop_in_mid_body_closes_lingering(path: Callable[[Handler], ASGIApp]) -> None:
    async def handler(body: Body, send: Send) -> None:
        await body.wait_readable()
        body.receive_nowait(memoryview(bytearray(3)))
        await reply(send, 423)

    async with serving(path(handler)) as edge, connected(edge) as client:
        await client.send(patch(b"x" * 1000, 4_000_000))
        await client.send(b"x" * 3_999_000)
        status, headers, _ = await client.answer()
        assert (status, headers[b"connection"]) == (423, b"close")
        assert await client.rest() == b""


@both
async def test_connection_close_is_kept(path: Callable[[Handler], ASGIApp]) -> None:
    async with serving(path(echo)) as edge, connected(edge) as client:
        await client.send(patch(b"hello", extra=b"Connection: close\r\n") + GET)
        assert (await client.answer())[::2] == (200, b"hello")
        assert await client.rest() == b""


@both
async def test_waiting_again_and_again_loses_no_byte(path: Callable[[Handler], ASGIApp]) -> None:
    async def handler(body: Body, send: Send) -> None:
        for _ in range(20):  # cancelled in all states
            with trio.move_on_after(0.001):
                await body.wait_readable()
        await echo(body, send)

    async with serving(path(handler)) as edge, connected(edge) as client:
        await client.send(patch(b"hel", 5))
        await trio.sleep(0.005)
        await client.send(b"lo" + GET)
        assert (await client.answer())[::2] == (200, b"hello")
        assert (await client.answer())[0] == 299


async def test_the_end_of_a_direct_body_can_be_asked_for_again() -> None:
    async def handler(body: Body, send: Send) -> None:
        await take(body)
        await body.wait_readable()
        assert body.receive_nowait(memoryview(bytearray(1))) == 0
        await reply(send)

    async with serving(direct(handler)) as edge, connected(edge) as client:
        await client.send(patch(b"hello"))
        assert (await client.answer())[0] == 200


async def test_a_break_seen_in_a_thread_is_told_when_the_thread_is_done() -> None:
    lost: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        handle = scope["state"][CONNECTION]
        body = handle.take_body()
        buffer = memoryview(bytearray(10))
        with body.in_thread() as receive_in_thread:
            counts = [await trio.to_thread.run_sync(receive_in_thread, buffer, 10.0) for _ in range(3)]
            assert counts == [4, 0, 0]
            lost.append(handle.peer_lost)
        lost.append(handle.peer_lost)
        with pytest.raises(BodyBroken):
            body.receive_nowait(buffer)

    async with serving(app) as edge, connected(edge) as client:
        await client.send(patch(b"hell", 5))
        await client.finish()
        assert await client.rest() == b""
    assert lost == [False, True]


async def test_what_is_closed_while_a_thread_reads_keeps_its_descriptor_until_then() -> None:
    """Another connection could get its number, and the thread would read from that."""
    read: list[int] = []
    descriptors: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = scope["state"][CONNECTION].take_body()
        transport = body._transport
        with body.in_thread() as receive_in_thread:
            async with trio.open_nursery() as nursery:

                async def wait_in_thread() -> None:
                    buffer = memoryview(bytearray(10))
                    read.append(await trio.to_thread.run_sync(receive_in_thread, buffer, PATIENCE_S))

                nursery.start_soon(wait_in_thread)
                await trio.testing.wait_all_tasks_blocked()
                transport.abort()
                descriptors.append(transport._socket.fileno())
        descriptors.append(transport._socket.fileno())

    async with serving(app) as edge, connected(edge) as client:
        await client.send(patch(b"", 5))
        assert await client.rest() == b""
    assert read == [0]
    assert descriptors[0] >= 0
    assert descriptors[1:] == [-1]


async def test_receive_beside_a_direct_body_only_tells_the_disconnect() -> None:
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch() -> None:
            told.append(await receive())

        body = scope["state"][CONNECTION].take_body()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            assert await take(body) == b"hello"

    async with serving(app) as edge:
        async with connected(edge) as client:
            await client.send(patch(b"", 5))
            await until(lambda: edge.statistics()["bytes_read"])
            await client.send(b"hello")
            await until(lambda: edge.statistics()["bytes_read"] == len(patch(b"hello")))
            assert not told
        await until(lambda: told)
    assert told == [{"type": "http.disconnect"}]


@pytest.mark.parametrize(
    ("request_bytes", "fast_path"),
    [
        (GET, True),
        (patch(b"", 0), True),
        (b"PATCH / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        (patch(b"x"), False),
    ],
)
async def test_where_there_is_no_direct_path(request_bytes: bytes, fast_path: bool) -> None:
    async with serving(direct(echo), fast_path=fast_path) as edge, connected(edge) as client:
        await client.send(request_bytes)
        assert (await client.answer())[0] == 299


async def test_a_body_is_taken_once_and_not_after_receive() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        handle = scope["state"][CONNECTION]
        if scope["path"] == "/late":
            await receive()
            assert handle.take_body() is None
        else:
            assert handle.take_body() is not None
            assert handle.take_body() is None
        await reply(send, 201)

    async with serving(app) as edge:
        for target in (b"/late", b"/twice"):
            async with connected(edge) as client:
                await client.send(patch(b"hello").replace(b"/ ", target + b" ", 1))
                assert (await client.answer())[0] == 201
