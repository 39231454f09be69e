"""The upload namespace on a gateway with fakes, and clients for it in the same process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio
import trio.testing

from penstock.server.edge.asgi import Headers
from penstock.server.realtime.engineio.server import EngineServer
from penstock.server.realtime.socketio.server import socket_server
from penstock.server.realtime.upload_namespace import UploadNamespace
from tests.server.realtime.socket_driver import PATIENCE_S, Client, Told
from tests.server.uploads.rig import Rig, make_rig


class Running(NamedTuple):
    rig: Rig
    server: EngineServer

    async def open(
        self, nursery: trio.Nursery, transport: str, headers: Headers | None = None, **query: str
    ) -> Client:
        """A client that has joined no namespace."""
        client = Client(self.server, transport, query, headers or [])
        nursery.start_soon(client.run)
        await client.until(lambda: client.sid)
        return client

    @asynccontextmanager
    async def opened(
        self, transport: str = "websocket", *, headers: Headers | None = None, **query: str
    ) -> AsyncIterator[Client]:
        """The same. It breaks off at the end, and must be let go then."""
        async with trio.open_nursery() as nursery:
            client = await self.open(nursery, transport, headers, **query)
            yield client
            client.hang_up()
            with trio.fail_after(PATIENCE_S):
                await client.ended.wait()
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def connected(
        self, transport: str = "websocket", *, headers: Headers | None = None, **query: str
    ) -> AsyncIterator[Client]:
        """A client in the default namespace."""
        async with self.opened(transport, headers=headers, **query) as client:
            await client.connect()
            yield client

    @property
    def ended(self) -> dict[str, int]:
        return self.server.statistics()["ended"]

    @property
    def watches(self) -> int:
        return self.rig.gateway.statistics().watches


@asynccontextmanager
async def running(*, fans_out: bool = True, **settings: Any) -> AsyncIterator[Running]:
    """The upload namespace on a gateway with fakes; at the end it must have given everything back.

    `fans_out`: events take the short way where there is one, see `server/uploads/fanout.py`.
    """
    rig = await make_rig(**settings)
    server = socket_server([UploadNamespace(rig.gateway, rig.settings)], rig.settings)
    both = Running(rig, server)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        if fans_out:
            nursery.start_soon(rig.gateway.fanout.run)
        yield both
        await trio.testing.wait_all_tasks_blocked()
        assert both.watches == 0 or server.statistics()["sessions"] > 0
        nursery.cancel_scope.cancel()
    assert both.watches == 0


async def joined(client: Client, reference: str, **more: object) -> dict[str, Any]:
    """The ack of a join that must succeed."""
    ack = await client.ask("join-session", {"sessionId": reference, **more})
    assert ack["ok"] is True, ack
    return ack


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


def facts_of(client: Client) -> list[Told]:
    """What it was told but for progress, which may be left out."""
    return [told for told in client.events() if told[0] != "upload-progress" or told[1].get("fact")]


async def many_facts(rig: Rig, session_id: str, count: int) -> None:
    """An even number, so that the next ones are facts, too: what is so already is not told."""
    assert count % 2 == 0
    for number in range(count):
        await rig.command("upload-resume" if number % 2 else "upload-pause", session_id)
