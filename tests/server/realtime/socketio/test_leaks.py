"""Sockets that come and go in every way leave nothing behind: counted, not weighed."""

from __future__ import annotations

from collections import Counter

import trio

from penstock.server.realtime.socketio.namespace import ConnectRefused, Namespace
from penstock.server.realtime.socketio.socket import Socket, SocketGone
from tests.acceptance.sizes import full_or
from tests.conformance.engineio.client import TRANSPORTS, Engine, Peer, ends
from tests.conformance.socketio.client import sid_of
from tests.server.edge.harness import until
from tests.server.realtime.engineio.counting import FORGOTTEN_LATER, objects
from tests.server.realtime.engineio.rig import SOCKETS, sockets

CYCLES = full_or(8, 500)  # of ten connections each


class Inn(Namespace):
    """Asks every guest a question, which none of them answers."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: trio.Nursery

    async def admit(self, socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        if "refuse" in socket.auth:
            raise ConnectRefused("full")

    async def connected(self, socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        socket.join("everybody")
        socket.join(f"room of {socket.sid}")
        self.asked.start_soon(self._ask, socket)

    async def _ask(self, socket: Socket) -> None:
        try:
            await socket.call("question", timeout_s=600)
        except SocketGone:
            return


async def arrive(peer: Peer) -> None:
    await peer.send("40")
    sid_of(await peer.next())
    assert str(await peer.next()).endswith('["question"]')


async def cycle(client: Engine, transport: str) -> None:
    async with client.peer(transport) as peer:  # refused, unknown, then in, out, and in again
        await peer.send('40{"refuse":1}', "40/unknown")
        for _ in range(2):
            assert str(await peer.next()).startswith("44")
        await arrive(peer)
        await peer.send("41")
        await arrive(peer)
        await ends(peer, "1")
    for last in ("42[]", '42["connect"]', "bad"):
        async with client.peer(transport) as peer:
            await arrive(peer)
            await ends(peer, last)
    async with client.websocket() as peer:
        await arrive(peer)  # and then it is cut


async def test_nothing_is_left() -> None:
    inn = Inn()
    async with sockets(inn) as server, trio.open_nursery() as inn.asked:
        client = server.client(SOCKETS)
        tasks = trio.lowlevel.current_statistics().tasks_living

        async def counted_after(cycles: int) -> Counter[str]:
            for _ in range(cycles):
                for transport in TRANSPORTS:
                    await cycle(client, transport)
            await server.until_idle()
            await until(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
            assert inn.sockets == {}
            assert inn._rooms == {}
            assert not inn.asked.child_tasks
            return objects()

        await counted_after(3)
        before, after = await counted_after(CYCLES), await counted_after(CYCLES)
        grown = {kind: count for kind, count in (after - before).items() if count > CYCLES}
        assert grown.keys() <= FORGOTTEN_LATER
