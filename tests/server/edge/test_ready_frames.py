"""Ready-made frames, written past the application's `send`: whole, in order, and while nothing else is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

from penstock.protocol.websocket_frames import text_frame
from penstock.server.edge.asgi import CONNECTION, Receive, Scope, Send
from penstock.server.peer import PeerGone
from tests.server.edge.harness import serving, until
from tests.server.edge.test_websocket import CLOSE, TEXT, close_code, opened, read_frame

BIG = text_frame(b"x" * 300_000)


class App:
    """Accepts, and does what the test says with its `send` and its handle."""

    def __init__(self, act: Any) -> None:
        self._act = act

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        handle = scope["state"][CONNECTION]
        assert not handle.send_nowait(text_frame(b"too early"))
        await send({"type": "websocket.accept"})
        await self._act(handle, send)


def fill(handle: Any) -> int:
    """Write until the kernel takes no more; how many frames it has, the last one perhaps in part."""
    count = 0
    while handle.send_nowait(BIG):
        count += 1
    return count


@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536, 100_000])
async def test_frames_of_every_length(length: int) -> None:
    async def act(handle: Any, send: Send) -> None:
        assert handle.send_nowait(text_frame(b"y" * length))
        await handle.catch_up()

    async with serving(App(act)) as edge, opened(edge) as client:
        assert await read_frame(client) == (TEXT, b"y" * length)
        assert await close_code(client) == 1000


async def test_what_the_kernel_took_in_part_comes_first_and_whole() -> None:
    counts: list[int] = []

    async def act(handle: Any, send: Send) -> None:
        counts.append(fill(handle))
        assert handle.is_behind
        assert not handle.send_nowait(text_frame(b"no room"))
        await send({"type": "websocket.send", "text": "behind it"})
        assert not handle.is_behind
        assert handle.send_nowait(text_frame(b"last"))

    async with serving(App(act)) as edge, opened(edge) as client:
        await until(lambda: counts)
        for _ in range(counts[0]):
            assert await read_frame(client) == (TEXT, b"x" * 300_000)
        assert await read_frame(client) == (TEXT, b"behind it")
        assert await read_frame(client) == (TEXT, b"last")
        assert await close_code(client) == 1000


async def test_to_catch_up_has_the_deadline_of_every_write() -> None:
    async def act(handle: Any, send: Send) -> None:
        fill(handle)
        await handle.catch_up()

    async with serving(App(act), send_timeout_s=0.1) as edge, opened(edge):
        await until(lambda: edge.statistics()["ended"] == {"peer too slow": 1})


async def test_cancelled_in_mid_frame_the_stream_is_closed() -> None:
    """Nothing may follow half a frame."""

    async def act(handle: Any, send: Send) -> None:
        fill(handle)
        with trio.move_on_after(0.1):
            await handle.catch_up()
        assert not handle.send_nowait(text_frame(b"never"))
        with pytest.raises(PeerGone):
            await send({"type": "websocket.send", "text": "never"})

    async with serving(App(act)) as edge, opened(edge) as client:
        await until(lambda: edge.statistics()["connections"] == 0)
        assert b"never" not in await client.rest()


async def test_nothing_goes_between_the_bytes_of_another_write() -> None:
    refused: list[bool] = []

    async def act(handle: Any, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            message = {"type": "websocket.send", "bytes": bytes(8 << 20)}
            nursery.start_soon(send, message)
            await trio.sleep(0.1)
            refused.append(not handle.send_nowait(text_frame(b"between")))

    async with serving(App(act)) as edge, opened(edge) as client:
        await until(lambda: refused)
        assert (await read_frame(client))[1] == bytes(8 << 20)
        assert await close_code(client) == 1000
    assert refused == [True]


async def test_nothing_goes_between_though_the_kernel_would_take_it() -> None:
    refused: list[bool] = []

    async def act(handle: Any, send: Send) -> None:
        async with handle._transport._write_lock:
            refused.append(not handle.send_nowait(text_frame(b"between")))

    async with serving(App(act)) as edge, opened(edge) as client:
        assert await close_code(client) == 1000
    assert refused == [True]


async def test_nothing_is_written_behind_a_close_frame_or_to_who_is_gone() -> None:
    tried: list[bool] = []

    async def act(handle: Any, send: Send) -> None:
        await send({"type": "websocket.close", "code": 4001})
        tried.append(handle.send_nowait(text_frame(b"never")))

    async with serving(App(act)) as edge, opened(edge) as client:
        assert await read_frame(client) == (CLOSE, (4001).to_bytes(2, "big"))
        assert await client.rest() == b""
    assert tried == [False]


async def test_a_reset_is_no_exception() -> None:
    ended = trio.Event()

    async def act(handle: Any, send: Send) -> None:
        for _ in range(100):
            handle.send_nowait(text_frame(b"hello"))
            await trio.sleep(0.001)
        with suppress(PeerGone):
            await handle.catch_up()
        ended.set()

    async with serving(App(act)) as edge, opened(edge) as client:
        await client.reset()
        await ended.wait()
        await until(lambda: edge.statistics()["connections"] == 0)
    assert "handler error" not in edge.statistics()["ended"]


async def test_written_bytes_are_counted() -> None:
    async def act(handle: Any, send: Send) -> None:
        before = edge.statistics()["bytes_written"]
        assert handle.send_nowait(text_frame(b"12345"))
        assert edge.statistics()["bytes_written"] == before + 7

    async with serving(App(act)) as edge, opened(edge) as client:
        assert await read_frame(client) == (TEXT, b"12345")
