"""Sessions that come and go in every way leave nothing behind: counted, not weighed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.acceptance.sizes import full_or
from tests.conformance.engineio.client import Engine, ends
from tests.server.edge.harness import until
from tests.server.realtime.engineio.counting import FORGOTTEN_LATER, objects
from tests.server.realtime.engineio.rig import conformance

CYCLES = full_or(25, 1200)  # of each kind

Cycle = Callable[[Engine], Awaitable[None]]


async def refused(client: Engine) -> None:
    assert (await client.get(EIO="3")).status == 400
    assert (await client.get("nobody")).status == 400


async def closed_on_polling(client: Engine) -> None:
    session = await client.polling()
    await ends(session, "4hello", "1")


async def aborted_poll(client: Engine) -> None:
    session = await client.polling()
    async with client.target.exchange("GET", client.address(sid=session.sid)):
        await client.settle()
    await session.ended()


async def bad_packet(client: Engine) -> None:
    await ends(await client.polling(), "4hello", "bad")


async def second_poll(client: Engine) -> None:
    session = await client.polling()
    async with client.pending(session.sid) as first, client.pending(session.sid) as second:
        await first.answer()
        await second.answer()


async def closed_on_websocket(client: Engine) -> None:
    async with client.websocket() as socket:
        await ends(socket, "4hello", "1")


async def cut_websocket(client: Engine) -> None:
    async with client.websocket() as socket:
        await socket.send("4hello")


async def upgraded(client: Engine) -> None:
    session = await client.polling()
    async with client.probed(session.sid) as websocket:
        await websocket.send("5", "1")
        await websocket.closed()


async def failed_upgrade(client: Engine) -> None:
    session = await client.polling()
    async with client.probed(session.sid) as websocket:
        await websocket.send("4x")
        await websocket.closed()
    await ends(session, "1")


KINDS: list[Cycle] = [
    *(refused, closed_on_polling, aborted_poll, bad_packet, second_poll),
    *(closed_on_websocket, cut_websocket, upgraded, failed_upgrade),
]


@pytest.mark.parametrize("cycle", KINDS)
async def test_nothing_is_left(cycle: Cycle) -> None:
    async with conformance() as server:
        client = server.client()

        async def objects_after(cycles: int) -> Counter[str]:
            for _ in range(cycles):
                await cycle(client)
            await server.until_idle()
            await until(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
            return objects()

        tasks = trio.lowlevel.current_statistics().tasks_living
        await objects_after(CYCLES // 4)  # caches, and what is made once
        before = await objects_after(CYCLES)
        after = await objects_after(CYCLES)
        grown = {kind: count for kind, count in (after - before).items() if count > CYCLES // 4}
        assert grown.keys() <= FORGOTTEN_LATER
