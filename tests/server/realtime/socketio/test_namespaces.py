"""Namespaces as an application sees them: refusals, rooms, acks both ways, order and reasons (section C2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from penstock.protocol.socketio.packets import RESERVED_NAMES
from penstock.server.realtime.socketio.namespace import ConnectRefused, Namespace, Said
from penstock.server.realtime.socketio.socket import Socket, SocketGone
from tests.conformance.engineio.client import TRANSPORTS, Engine, Peer, Polling, ends
from tests.conformance.socketio.client import placeholder, sid_of
from tests.conformance.websocket import Frame
from tests.server.edge.harness import until
from tests.server.realtime.engineio.rig import SOCKETS, Running, sockets

transports = pytest.mark.parametrize("transport", TRANSPORTS)


class Hall(Namespace):
    """Keeps who came, and why they left; lets nobody in who says so."""

    def __init__(self, name: str = "/") -> None:
        super().__init__(name)
        self.came: list[Socket] = []
        self.left: list[tuple[str, str, set[str]]] = []
        self.asked: list[Socket] = []

    async def admit(self, socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        self.asked.append(socket)
        if "refuse" in socket.auth:
            raise ConnectRefused("not you", socket.auth["refuse"])

    async def connected(self, socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        self.came.append(socket)

    def disconnected(self, socket: Socket, reason: str) -> None:
        self.left.append((socket.sid, reason, set(socket.rooms)))

    def is_empty(self) -> bool:
        return not self.sockets and not self._rooms


@asynccontextmanager
async def hall(**changes: object) -> AsyncIterator[tuple[Running, Engine, Hall]]:
    namespace = Hall()
    async with sockets(namespace, Hall("/other"), **changes) as server:
        yield server, server.client(SOCKETS), namespace
        await server.until_idle()
    assert namespace.is_empty()


async def enter(peer: Peer, namespace: Hall) -> Socket:
    """The server's end of a socket that is let in."""
    await peer.send("40")
    sid = sid_of(await peer.next())
    await until(lambda: any(socket.sid == sid for socket in namespace.came))
    return namespace.sockets[sid]


# Coming


@transports
@pytest.mark.parametrize(
    ("why", "told"),
    [("null", ""), ('"x"', ',"data":"x"'), ('{"code":7,"list":[1]}', ',"data":{"code":7,"list":[1]}')],
)
async def test_S5_who_is_refused_is_told_why(transport: str, why: str, told: str) -> None:
    async with hall() as (_, client, namespace), client.peer(transport) as peer:
        for _ in range(2):
            await peer.send(f'40{{"refuse":{why}}}')
            assert await peer.next() == f'44{{"message":"not you"{told}}}'
        assert namespace.is_empty()
        assert namespace.asked[0].sid != namespace.asked[1].sid
        await enter(peer, namespace)
        assert namespace.left == []
        await ends(peer, "1")


async def test_S5_its_first_request_can_be_looked_at() -> None:
    async with hall() as (_, client, namespace):
        async with client.websocket(sessionId="abc", lang="zh") as peer:
            socket = await enter(peer, namespace)
            assert socket.opening.query.values["sessionId"] == "abc"
            assert socket.opening.client[0] == "127.0.0.1"


# Leaving


@transports
@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (("41",), "client namespace disconnect"),
        (("1",), "transport close"),
        (("42[]",), "parse error"),
        (("bad",), "parse error"),
    ],
)
async def test_S16_why_a_client_left(transport: str, frames: tuple[str, ...], reason: str) -> None:
    async with hall() as (_, client, namespace), client.peer(transport) as peer:
        socket = await enter(peer, namespace)
        socket.join("room")
        await peer.send(*frames)
        await until(lambda: namespace.left)
        assert namespace.left == [(socket.sid, reason, set())]  # its rooms were left before
        await peer.send("1")


async def test_S16_a_cut_connection() -> None:
    async with hall() as (_, client, namespace):
        async with client.websocket() as peer:
            await enter(peer, namespace)
        await until(lambda: namespace.left)
        assert namespace.left[0][1] == "transport close"


@transports
async def test_S16_a_heart_that_stands_still(transport: str) -> None:
    async with hall(ping_interval_s=0.2, ping_timeout_s=0.1) as (_, client, namespace):
        async with client.peer(transport) as peer:
            await enter(peer, namespace)
            await until(lambda: namespace.left)
            assert namespace.left[0][1] == "ping timeout"


@transports
async def test_S16_a_connection_that_is_cut_by_the_server(transport: str) -> None:
    async with hall() as (_, client, namespace), client.peer(transport) as peer:
        (await enter(peer, namespace)).client.cut()
        await peer.ended()
        await until(lambda: namespace.left)
        assert namespace.left[0][1] == "forced close"


@transports
async def test_S9_a_client_that_is_sent_away_keeps_its_connection(transport: str) -> None:
    async with hall() as (_, client, namespace), client.peer(transport) as peer:
        socket = await enter(peer, namespace)
        socket.disconnect()
        socket.disconnect()
        socket.emit("never")
        assert await peer.next() == "41"
        assert namespace.left == [(socket.sid, "server namespace disconnect", set())]
        await peer.send('42["on its way"]', "430[]")  # it had not heard of it yet
        again = await enter(peer, namespace)
        again.emit("hello")
        assert await peer.next() == '42["hello"]'
        await ends(peer, "1")


@transports
async def test_S9_a_server_that_stops_says_no_41(transport: str) -> None:
    async with hall() as (server, client, namespace), client.peer(transport) as peer:
        socket = await enter(peer, namespace)
        await server.app.drain()
        assert await peer.ended() == []
        await until(lambda: namespace.left)
        assert namespace.left == [(socket.sid, "server shutting down", set())]


# Acks


@transports
async def test_S11_the_client_answers(transport: str) -> None:
    answers: list[list[object]] = []

    async def ask(socket: Socket) -> None:
        answers.append(await socket.call("question", 1, b"x", timeout_s=60))

    async with hall() as (_, client, namespace), client.peer(transport) as peer:
        socket = await enter(peer, namespace)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, socket)
            head = str(await peer.next())
            assert await peer.next() == b"x"
            ack_id = head.removeprefix("451-").partition("[")[0]
            assert head == f'451-{ack_id}["question",1,{placeholder(0)}]'
            await peer.send(f"43{int(ack_id) + 1}[0]")  # nobody has asked that
            await peer.send(f'461-{ack_id}["yes",{placeholder(0)}]', b"y")
        assert answers == [["yes", b"y"]]
        await peer.send(f"43{ack_id}[2]", f"43{ack_id}[3]")  # once is enough
        socket.emit("still here")
        assert await peer.next() == '42["still here"]'
        assert socket._calls == {}
        await ends(peer, "1")


async def test_S11_an_answer_that_does_not_come() -> None:
    async with hall() as (_, client, namespace), client.websocket() as peer:
        socket = await enter(peer, namespace)
        with pytest.raises(trio.TooSlowError):
            await socket.call("question", timeout_s=0.01)
        ack_id = str(await peer.next()).removeprefix("42").partition("[")[0]
        assert socket._calls == {}
        assert socket.client.core.next_ack_deadline is None
        await peer.send(f"43{ack_id}[1]")  # late
        socket.emit("still here")
        assert await peer.next() == '42["still here"]'


@transports
@pytest.mark.parametrize("frame", ["41", "1", "42[]"])
async def test_S11_who_leaves_answers_nothing(transport: str, frame: str) -> None:
    gone: list[Socket] = []

    async def ask(socket: Socket) -> None:
        try:
            await socket.call("question", timeout_s=60)
        except SocketGone:
            gone.append(socket)

    async with hall() as (_, client, namespace), client.peer(transport) as peer:
        socket = await enter(peer, namespace)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, socket)
            for _ in range(3):
                await peer.next()
            await peer.send(frame)
        assert gone == [socket] * 3
        assert socket._calls == {}
        assert socket.client.core.next_ack_deadline is None
        with pytest.raises(SocketGone):
            await socket.call("question", timeout_s=60)
        await peer.send("1")


async def test_S11_a_handler_answers_once_and_only_if_asked() -> None:
    async with hall() as (_, client, namespace), client.websocket() as peer:

        @namespace.on("twice")
        async def twice(socket: Socket, said: Said) -> None:
            await trio.lowlevel.checkpoint()
            said.answer(said.wants_answer)
            said.answer("again")

        await enter(peer, namespace)
        await peer.send('427["twice"]', '42["twice"]', '428["twice"]')
        assert [await peer.next() for _ in range(2)] == ["437[true]", "438[true]"]


# Order


@transports
async def test_S13_handlers_run_one_at_a_time_in_the_order_of_their_events(transport: str) -> None:
    begun: list[object] = []
    go_on = trio.Semaphore(0)
    async with hall() as (_, client, namespace), client.peer(transport) as peer:

        @namespace.on("slow")
        async def slow(socket: Socket, said: Said) -> None:
            begun.append(said.args[0])
            await go_on.acquire()
            said.answer()

        await enter(peer, namespace)
        await peer.send(*(f'42{number}["slow",{number}]' for number in range(5)))
        for number in range(5):
            await until(lambda: len(begun) == number + 1)  # noqa: B023  # awaited right here
            assert begun == list(range(number + 1))
            go_on.release()
            assert await peer.next() == f"43{number}[]"
        await ends(peer, "1")


@transports
async def test_S13_a_slow_handler_keeps_no_pong_waiting(transport: str) -> None:
    forever = trio.Event()
    async with hall(ping_interval_s=0.05, ping_timeout_s=1.0, linger_s=0.05) as (_, client, namespace):
        async with client.peer(transport) as peer:

            @namespace.on("slow")
            async def slow(socket: Socket, said: Said) -> None:
                await forever.wait()

            socket = await enter(peer, namespace)
            pings = peer.pings
            await peer.send('42["slow"]')
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_pinged, peer, pings + 4)
            socket.emit("still here")
            await peer.send("1")


async def _until_pinged(peer: Peer, pings: int) -> None:
    """Answer pings until there were so many."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.next)
            await until(lambda: peer.pings >= pings)
            scope.cancel()


@transports
async def test_C1_a_client_that_closes_waits_for_no_handler(transport: str) -> None:
    begun, go_on, done = trio.Event(), trio.Event(), trio.Event()
    async with hall(linger_s=30.0) as (_, client, namespace), client.peer(transport) as peer:

        @namespace.on("slow")
        async def slow(socket: Socket, said: Said) -> None:
            begun.set()
            await go_on.wait()
            done.set()

        await enter(peer, namespace)
        await peer.send('42["slow"]')
        await begun.wait()
        await ends(peer, "1")
        assert not done.is_set()
        go_on.set()  # and yet it comes to its end
        await done.wait()


async def test_S13_a_handler_that_fails_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async with hall() as (_, client, namespace), client.websocket() as peer:

        @namespace.on("fail")
        async def fail(socket: Socket, said: Said) -> None:
            await trio.lowlevel.checkpoint()
            raise ValueError("as it may happen")

        socket = await enter(peer, namespace)
        await peer.send('421["fail"]', '422["unknown"]')
        socket.emit("still here")
        assert await peer.next() == '42["still here"]'
    assert "as it may happen" in capsys.readouterr().out


@transports
async def test_S13_who_says_too_much_at_once_is_cut(transport: str) -> None:
    forever = trio.Event()
    async with hall(messages_burst=10, linger_s=0.05) as (_, client, namespace):
        async with client.peer(transport) as peer:

            @namespace.on("slow")
            async def slow(socket: Socket, said: Said) -> None:
                await forever.wait()

            await enter(peer, namespace)
            await ends(peer, *['42["slow"]'] * 11)


# Rooms and many


async def test_S14_rooms() -> None:
    async with hall() as (_, client, namespace):
        async with client.websocket() as first, client.websocket() as second, client.websocket() as third:
            peers = (first, second, third)
            one, two, three = [await enter(peer, namespace) for peer in peers]
            one.join("a")
            two.join("a")
            two.join("b")
            namespace.emit("all", 1)
            namespace.emit("a", room="a")
            namespace.emit("b", room="b")
            namespace.emit("but", room="a", but=[one])
            namespace.emit("own", room=three.sid)
            namespace.emit("nobody", room="empty")
            two.leave("a")
            two.leave("never joined")
            namespace.emit("a again", room="a")
            namespace.emit("end")
            heard = [await _names(peer) for peer in peers]
            assert heard == [
                ["all", "a", "a again", "end"],
                ["all", "a", "b", "but", "end"],
                ["all", "own", "end"],
            ]
            assert two.rooms == {"b", two.sid}


async def _names(peer: Peer) -> list[str]:
    names: list[str] = []
    while "end" not in names:
        names.append(str(await peer.next()).split('"')[1])
    return names


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
async def test_E6_a_reserved_name_is_not_sent(name: str) -> None:
    async with hall() as (_, client, namespace), client.websocket() as peer:
        socket = await enter(peer, namespace)
        with pytest.raises(ValueError, match="reserved"):
            socket.emit(name)
        with pytest.raises(ValueError, match="reserved"):
            namespace.emit(name)
        socket.emit("end")
        assert await peer.next() == '42["end"]'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: 2}, "\ud800"])
async def test_E8_what_is_no_json_is_not_sent(value: object) -> None:
    async with hall() as (_, client, namespace), client.websocket() as peer:
        socket = await enter(peer, namespace)
        with pytest.raises(ValueError):  # noqa: PT011  # each has its own words
            socket.emit("event", value)
        socket.emit("end")
        assert await peer.next() == '42["end"]'


# Volatile


async def test_S15_on_a_websocket_a_volatile_event_comes_when_nothing_waits() -> None:
    async with hall() as (_, client, namespace), client.websocket() as peer:
        socket = await enter(peer, namespace)
        socket.emit_volatile("first")
        socket.emit_volatile("dropped")  # behind the first, which has not left yet
        socket.emit("end")
        assert [await peer.next() for _ in range(2)] == ['42["first"]', '42["end"]']


async def test_S15_on_polling_it_comes_only_to_a_poll_that_waits() -> None:
    async with hall() as (_, client, namespace):
        peer: Polling = await client.polling()
        socket = await enter(peer, namespace)
        socket.emit_volatile("dropped")
        heard: list[Frame] = []

        async def listen() -> None:
            heard.append(await peer.next())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await until(lambda: socket.client.session.core.writable)
            socket.emit_volatile("heard")
        assert heard == ['42["heard"]']
        await ends(peer, "1")


async def test_S15_not_to_one_that_has_left() -> None:
    async with hall() as (_, client, namespace):
        async with client.websocket() as peer:
            socket = await enter(peer, namespace)
        await until(lambda: namespace.left)
        socket.emit_volatile("dropped")
        socket.emit("dropped")
        assert socket.client.session.core.buffered_bytes == 0
