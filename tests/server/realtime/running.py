"""The plain WebSocket behind a real edge, on a gateway with fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio

from penstock.server.edge.asgi import Receive, Scope, Send
from penstock.server.edge.host import Edge
from penstock.server.realtime.envelope_endpoint import EnvelopeEndpoint
from tests.server.edge.harness import serving
from tests.server.uploads.rig import Rig, make_rig


class Running(NamedTuple):
    rig: Rig
    endpoint: EnvelopeEndpoint
    edge: Edge


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    """Settings by name; leaving the block cancels it."""
    rig = await make_rig(**settings)
    endpoint = EnvelopeEndpoint(rig.gateway, rig.settings)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await endpoint(scope, receive, send)

    async with serving(app, **settings) as edge, trio.open_nursery() as nursery:
        nursery.start_soon(rig.gateway.fanout.run)
        yield Running(rig, endpoint, edge)
        nursery.cancel_scope.cancel()
