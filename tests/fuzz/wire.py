"""One connection to the edge without a network: bytes go in in pieces, each read before the next is sent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import trio
import trio.testing
from structlog.testing import capture_logs

from penstock.server.edge.asgi import ASGIApp, ConnectionInfo
from penstock.server.edge.http1 import serve_http1
from penstock.server.edge.transport import Transport
from penstock.server.settings import Settings

PATIENCE_S = 60  # for a connection that hangs; nothing else is judged by it


def answer_to(pieces: Sequence[bytes], app: ASGIApp, settings: Settings) -> bytes:
    """Everything the server sends, until it closes. The peer sends FIN when nothing more happens.

    Raises: whatever gets out of the driver; AssertionError if it logged an error.
    """
    with capture_logs() as logged:
        answer = trio.run(_talk, pieces, app, settings)
    errors = [entry for entry in logged if entry["log_level"] == "error"]
    assert not errors, errors
    return answer


async def _talk(pieces: Sequence[bytes], app: ASGIApp, settings: Settings) -> bytes:
    ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())
    connection = ConnectionInfo("http", ("127.0.0.1", 1), ("127.0.0.1", 2))
    answer = bytearray()

    async def collect() -> None:
        with suppress(trio.BrokenResourceError):  # reset: the server threw away what we still had to say
            async for data in theirs:
                answer.extend(data)

    with trio.fail_after(PATIENCE_S):
        async with theirs, trio.open_nursery() as nursery:
            nursery.start_soon(serve_http1, connection, Transport(ours, settings), app, settings)
            nursery.start_soon(collect)
            with suppress(trio.BrokenResourceError):
                for piece in pieces:
                    await theirs.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
                await trio.testing.wait_all_tasks_blocked()
                await theirs.send_eof()
    return bytes(answer)
