"""Numbered messages while a session changes over: no gap, no double, both directions."""

from __future__ import annotations

from random import Random

import pytest
import trio

from penstock.protocol.engineio.packets import Frame
from tests.conformance.engineio.client import NOOP, Engine, Polling, body_of, decode
from tests.conformance.websocket import WebSocket
from tests.server.realtime.engineio.rig import Made, Silent, engine

COUNT = 1000


class Peer:
    """A client that says numbers and keeps what it hears, and changes over as engine.io-client does: no new
    poll, no new POST, and only when those under way are done comes `5`."""

    def __init__(self, session: Polling, random: Random) -> None:
        self.session = session
        self.heard: list[Frame] = []
        self.said = 0
        self._random = random
        self._moving = False

    def _some(self) -> list[Frame]:
        count = min(self._random.randint(1, 20), COUNT - self.said)
        self.said += count
        return [f"4{number}" for number in range(self.said - count, self.said)]

    async def post(self) -> None:
        while not self._moving and self.said < COUNT:
            assert body_of(await self.session.post("\x1e".join(map(str, self._some())))) == "ok"

    async def poll(self) -> None:
        while not self._moving:
            self.hear(decode(await self.session.poll()))

    def hear(self, frames: list[Frame]) -> None:
        self.heard += [frame for frame in frames if frame != NOOP]

    async def change_over(self, client: Engine, after: int) -> None:
        """Begin on polling, and change over when so many have been heard."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.post)
            nursery.start_soon(self.poll)
            while len(self.heard) < after:  # noqa: ASYNC110  # the poll tells nobody
                await trio.sleep(0.001)
            async with client.probed(self.session.sid) as websocket:
                self._moving = True
                await self._until_paused(nursery)
                await websocket.send("5")
                await self._go_on(websocket)

    async def _until_paused(self, nursery: trio.Nursery) -> None:
        while nursery.child_tasks:  # noqa: ASYNC110  # what is under way
            await trio.sleep(0.001)

    async def _go_on(self, websocket: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_rest, websocket)
            while len(self.heard) < COUNT:
                self.hear([await websocket.next()])

    async def _say_rest(self, websocket: WebSocket) -> None:
        while self.said < COUNT:
            await websocket.send(*self._some())
            await trio.lowlevel.checkpoint()


async def count_aloud(app: Silent, random: Random) -> None:
    """At a pace at which an upgrade fits in between."""
    for number in range(COUNT):
        app.say(str(number))
        if random.random() < 0.3:
            await trio.sleep(random.random() / 500)


@pytest.mark.parametrize("seed", range(3))
async def test_a_thousand_each_way_across_an_upgrade(seed: int) -> None:
    random = Random(seed)
    made = Made()
    async with engine(made) as server:
        peer = Peer(await server.client().polling(), random)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_aloud, made[0], random)
            await peer.change_over(server.client(), after=random.randint(0, COUNT // 4))
        await server.until_sessions(0)
    assert peer.heard == [f"4{number}" for number in range(COUNT)]
    assert made[0].received == [str(number) for number in range(COUNT)]


@pytest.mark.parametrize("tries", [5])
async def test_upgrades_that_fail_lose_nothing(tries: int) -> None:
    """Probed, and then gone: each time polls were let go, and go on."""
    made = Made()
    heard: list[Frame] = []
    async with engine(made) as server:
        client = server.client()
        session = await client.polling()

        async def poll() -> None:
            while len(heard) < COUNT:
                heard.extend(frame for frame in decode(await session.poll()) if frame != NOOP)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            nursery.start_soon(count_aloud, made[0], Random(0))
            for _ in range(tries):
                async with client.probed(session.sid) as websocket:
                    await websocket.send("4not an upgrade")
                    await websocket.closed()
    assert heard == [f"4{number}" for number in range(COUNT)]
