"""HTTP/2 by prior knowledge (RFC 9113, section 3.3), for servers that speak it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from tests.conformance.wire import ANSWER_S, Fields, Target
from tests.server.edge.h2_client import H2Client


@asynccontextmanager
async def http2_to(target: Target) -> AsyncIterator[H2Client]:
    """A connection whose settings have been exchanged; skips the test if the server does not speak it."""
    async with await target.connect() as stream:
        client = H2Client(stream)
        await client.start()
        try:
            with trio.move_on_after(ANSWER_S):
                while not client.settings and not client.eof:
                    await client.pump()
        except ProtocolError:
            pass  # it answered in HTTP/1.1
        if not client.settings:
            assert not target.ours, "Penstock speaks HTTP/2 here"
            pytest.skip("the server does not speak HTTP/2 without TLS")
        yield client


async def open_request(
    client: H2Client, target: Target, method: str, path: str, fields: Fields, *, end: bool
) -> int:
    """A request whose head is sent; its stream."""
    head = [(":method", method), (":scheme", "http"), (":authority", target.authority), (":path", path)]
    lines = [*head, *target.fields, *fields]
    stream_id = client.open([(name.lower().encode(), value.encode()) for name, value in lines], end=end)
    await client.flush()
    return stream_id


async def reset(client: H2Client, stream_id: int) -> None:
    """RST_STREAM (CANCEL), as a browser does when its page is left."""
    client.machine.reset_stream(stream_id, ErrorCodes.CANCEL)
    await client.flush()
