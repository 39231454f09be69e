"""A process that is asked to stop: everybody is told by the transport, whether they listen or not."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from tests.acceptance.sizes import full_or
from tests.conformance.engineio.client import CLOSE, Engine, Peer, Polling, decode
from tests.conformance.processes import Server
from tests.conformance.socketio.client import PATH, join
from tests.conformance.websocket import ABNORMAL, TEXT, WebSocket, raw_frame
from tests.running import PENSTOCK

CLIENTS = full_or(60, 1000)  # half of them on polling
DRAIN_S = 3.0
UNREAD = 200  # messages of 60 kB: more than the kernel takes
OPTIONS = (
    *("--conformance", "--port", "0", "--ping-interval", "60s", "--drain-timeout", f"{DRAIN_S}s"),
    *(
        "--linger",
        "300ms",
        "--max-unsent-bytes",
        str(10**9),
    ),  # the stalled one is still there when the signal comes
)
PATIENCE_S = 30


@asynccontextmanager
async def stalled(engine: Engine) -> AsyncIterator[WebSocket]:
    """A client that is told much and does not read it."""
    async with engine.websocket() as socket:
        await join(socket)
        message = raw_frame(TEXT, ('42["message","' + "x" * 60_000 + '"]').encode())
        for _ in range(UNREAD):
            await socket.websocket.stream.send_all(message)
        yield socket.websocket


async def hears_the_end(peer: Peer, ended: list[str]) -> None:
    """The transport is closed in order, and nothing was said before: a DISCONNECT would keep it away."""
    if isinstance(peer, Polling):
        assert decode(await peer.poll()) == [CLOSE]
        ended.append("polling")
    else:
        code = await peer.websocket.closed()  # type: ignore[attr-defined]  # it is a Socket then
        assert code != ABNORMAL
        ended.append("websocket")


async def test_everybody_is_let_go_and_the_process_ends(tmp_path: Path) -> None:
    server = Server([*PENSTOCK, "serve", *OPTIONS], tmp_path, ours=True)
    await trio.to_thread.run_sync(server.start)
    try:
        engine = Engine(server.target, PATH)
        ended: list[str] = []
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(stalled(engine))
            peers: list[Peer] = [await engine.polling() for _ in range(CLIENTS // 2)]
            for _ in range(CLIENTS // 2):
                peers.append(await stack.enter_async_context(engine.websocket()))
            for peer in peers:
                await join(peer)
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(hears_the_end, peer, ended)
                await engine.settle()  # the polls are there
                server.process.send_signal(signal.SIGTERM)
            assert sorted(ended) == ["polling"] * (CLIENTS // 2) + ["websocket"] * (CLIENTS // 2)
            assert await trio.to_thread.run_sync(server.process.wait, DRAIN_S + PATIENCE_S) == 0
        assert server.faults() == []
    finally:
        if server.is_running:
            server.kill()
