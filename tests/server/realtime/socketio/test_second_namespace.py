"""Namespaces of one's own beside others: the examples that are shown, and what one cannot do to the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from penstock.server.realtime.socketio import namespace as shown
from penstock.server.realtime.socketio.namespace import Namespace, Said
from penstock.server.realtime.socketio.server import socket_server
from penstock.server.realtime.socketio.socket import Socket
from tests.conformance.engineio.client import TRANSPORTS, Peer
from tests.conformance.socketio.client import sid_of
from tests.server.edge.harness import until
from tests.server.realtime.engineio.rig import SOCKETS, settings_with, sockets
from tests.server.realtime.socket_driver import Client

PAGE = Path(__file__).parents[4] / "docs" / "socketio.md"

transports = pytest.mark.parametrize("transport", TRANSPORTS)


def examples() -> list[str]:
    """As they stand in the page and in the module's docstring."""
    texts = [PAGE.read_text("utf-8"), str(shown.__doc__).replace("```\nchat", "```py\nchat")]
    found = [re.findall(r"```py\n(.*?)```", text, re.DOTALL) for text in texts]
    assert [len(some) for some in found] == [1, 1]
    return [str(some[0]) for some in found]


async def enter(peer: Peer, name: str) -> str:
    """Join a namespace; the socket's id there."""
    await peer.send(f"40{name},")
    return sid_of(await peer.next(), name)


@transports
@pytest.mark.parametrize("number", range(2))
async def test_the_examples_run(transport: str, number: int) -> None:
    defined: dict[str, Any] = {"Namespace": Namespace, "Socket": Socket, "Said": Said}
    exec(examples()[number], defined)
    chat: Namespace = defined["chat"]
    async with sockets(chat) as server, server.client(SOCKETS).peer(transport) as peer:
        sid = await enter(peer, "/chat")
        chat.sockets[sid].join("everybody")
        await peer.send('42/chat,7["say","hello",{"n":1}]')
        assert [await peer.next() for _ in range(2)] == [
            '42/chat,["said","hello",{"n":1}]',
            '43/chat,7["ok"]',
        ]
        await peer.send("1")


class Greeting(Namespace):
    """Says at once what it was told with CONNECT, and keeps it."""

    async def connected(self, socket: Socket) -> None:
        socket.data = dict(socket.auth)
        socket.emit("hello", socket.data)
        await trio.lowlevel.checkpoint()
        socket.emit("again")

    async def unknown(self, socket: Socket, said: Said) -> None:
        await trio.lowlevel.checkpoint()
        said.answer(said.event, socket.data)


@transports
async def test_what_is_said_at_once_comes_after_the_answer(transport: str) -> None:
    async with sockets(Greeting()) as server, server.client(SOCKETS).peer(transport) as peer:
        await peer.send('40{"token":"t"}')
        sid_of(await peer.next())
        assert [await peer.next() for _ in range(2)] == ['42["hello",{"token":"t"}]', '42["again"]']
        await peer.send('421["whatever"]', "422[7]")  # a number is a name, too
        assert [await peer.next() for _ in range(2)] == [
            '431["whatever",{"token":"t"}]',
            '432[7,{"token":"t"}]',
        ]
        await peer.send("1")


@transports
@pytest.mark.parametrize("by_server", [True, False])
async def test_leaving_one_leaves_the_others(transport: str, by_server: bool) -> None:
    one, two = Greeting("/one"), Greeting("/two")
    async with sockets(one, two) as server, server.client(SOCKETS).peer(transport) as peer:
        sids = []
        for name in ("/one", "/two"):
            sids.append(await enter(peer, name))
            assert [await peer.next() for _ in range(2)] == [
                f'42{name},["hello",{{}}]',
                f'42{name},["again"]',
            ]
        assert sids[0] != sids[1]
        if by_server:
            one.sockets[sids[0]].disconnect()
            assert await peer.next() == "41/one,"
        else:
            await peer.send("41/one,")
        await peer.send('42/two,3["x"]')
        assert await peer.next() == '43/two,3["x",{}]'
        assert (list(one.sockets), list(two.sockets)) == ([], [sids[1]])
        await peer.send("1")


class Clumsy(Namespace):
    """Fails wherever it can."""

    async def connected(self, socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("connected")

    def disconnected(self, socket: Socket, reason: str) -> None:
        raise ValueError(f"disconnected: {reason}")

    def too_fast(self, socket: Socket, said: Said, wait_s: float) -> None:
        raise ValueError("too fast")

    def going_away(self, socket: Socket) -> None:
        raise ValueError("going away")


@transports
@pytest.mark.parametrize("end", ["41/clumsy,", "1", "drain"])
async def test_one_that_fails_takes_nothing_with_it(
    transport: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clumsy, other = Clumsy("/clumsy"), Greeting("/other")
    async with sockets(clumsy, other) as server:
        client = server.client(SOCKETS)
        async with client.peer(transport) as peer:
            await enter(peer, "/clumsy")
            await enter(peer, "/other")
            assert [await peer.next() for _ in range(2)] == ['42/other,["hello",{}]', '42/other,["again"]']
            if end == "drain":
                await server.app.drain()
            else:
                await peer.send(end)
            await until(lambda: not clumsy.sockets)
            if end == "41/clumsy,":
                await peer.send('42/other,1["x"]')
                assert await peer.next() == '43/other,1["x",{}]'
                await peer.send("1")
        if end != "drain":
            async with client.peer(transport) as peer:
                await enter(peer, "/clumsy")
                await peer.send("1")
            await until(lambda: not clumsy.sockets)
    told = capsys.readouterr().out
    assert "connected" in told
    assert ("going away" in told) == (end == "drain")
    assert "session-failed" not in told


async def test_one_that_fails_to_refuse_lets_the_connection_go_on(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    server = socket_server([Clumsy()], settings_with(messages_per_s=10, messages_burst=2))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        client = Client(server, "websocket", {}, [])
        nursery.start_soon(client.run)
        client.packet_nowait("0")
        await client.until(lambda: client.packets)
        for _ in range(3):
            client.say_nowait("x")
        await trio.sleep(1)
        assert not client.ended.is_set()
        nursery.cancel_scope.cancel()
    assert "too fast" in capsys.readouterr().out


async def test_a_server_may_stop_while_clients_come(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(40):
            server = socket_server([Greeting()], settings_with())  # one that has stopped takes nobody in
            await nursery.start(server.run)
            client = Client(server, TRANSPORTS[number % 2], {}, [])
            nursery.start_soon(client.run)
            while not server.statistics()["sessions"]:
                await trio.lowlevel.checkpoint()
            await server.drain(batch=1, pause_s=0.01)
            await client.closed()
            assert server.statistics()["sessions"] == 0
        nursery.cancel_scope.cancel()
