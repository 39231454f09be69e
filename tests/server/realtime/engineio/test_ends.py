"""How sessions end, what their application is told, and what is left of them: nothing."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from penstock.protocol.engineio.handshake import Timing
from penstock.protocol.engineio.packets import Frame
from penstock.protocol.engineio.session import CloseReason
from penstock.server.edge.asgi import Message
from penstock.server.endpoints import App, not_found
from penstock.server.realtime.engineio.session import Limits
from penstock.server.realtime.socketio.server import engine_server
from tests.conformance.engineio.client import Engine, body_of, decode, ends
from tests.conformance.websocket import ABNORMAL
from tests.server.edge.harness import until
from tests.server.realtime.engineio.driver import Driver, driving
from tests.server.realtime.engineio.rig import ECHO, SETTINGS, Made, Running, Silent, engine

GOING_AWAY = 1001
LIMITS = Limits(
    Timing(ping_interval_s=25.0, ping_timeout_s=20.0),
    max_message_bytes=1000,
    max_buffered_bytes=1000,
    upgrade_timeout_s=10.0,
    linger_s=2.0,
)
UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


async def told(server: Running, made: Made, index: int = 0) -> str | None:
    """Why a session ended, after everybody has gone."""
    await server.until_idle()
    return made[index].reason


async def test_a_client_closes_its_websocket() -> None:
    made = Made()
    async with engine(made) as server:
        async with server.client().websocket() as socket:
            await socket.websocket.close()
        assert await told(server, made) == "transport close"


async def test_a_websocket_is_cut() -> None:
    made = Made()
    async with engine(made) as server:
        async with server.client().websocket():
            pass
        assert await told(server, made) == "transport close"


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize(("frame", "reason"), [("1", "transport close"), ("abc", "parse error")])
async def test_by_a_packet(transport: str, frame: str, reason: str) -> None:
    made = Made()
    async with engine(made) as server:
        async with server.client().peer(transport) as peer:
            await ends(peer, frame)
        assert await told(server, made) == reason


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_an_aborted_get(how: str) -> None:
    made = Made()
    async with engine(made) as server:
        client = server.client()
        session = await client.polling()
        async with client.pending(session.sid) as get:
            if how == "reset":
                get.reset()
            else:
                await get.stream.aclose()
        assert await told(server, made) == "transport close"


async def test_an_aborted_post() -> None:
    made = Made()
    async with engine(made) as server:
        client = server.client()
        session = await client.polling()
        expect = [("Expect", "100-continue")]
        async with client.target.exchange("POST", client.address(sid=session.sid), expect, length=9) as post:
            await post.begun()
            await post.send(b"4part")
        assert await told(server, made) == "transport close"
        assert made[0].received == []


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_heart_that_stands_still(transport: str) -> None:
    made = Made()
    async with engine(made, ping_interval_s=0.05, ping_timeout_s=0.05) as server:
        async with server.client().peer(transport):
            await until(lambda: made[0].reason)
        assert await told(server, made) == "ping timeout"


async def test_a_session_that_dies_while_it_changes_over_takes_the_websocket_along() -> None:
    made = Made()
    async with engine(made, ping_interval_s=0.1, ping_timeout_s=0.1) as server:
        client = server.client()
        session = await client.polling()
        async with client.probed(session.sid) as websocket:
            assert await websocket.closed() != ABNORMAL
        assert await told(server, made) == "ping timeout"


async def test_what_comes_right_before_the_end_is_heard() -> None:
    made = Made()
    async with engine(made) as server:
        async with server.client().websocket() as socket:
            await socket.send("4one", "4two", "1")
            await socket.ended()
        async with server.client().peer("polling") as session:
            await session.send("4one", "4two", "1")
        await server.until_idle()
    assert [app.received for app in made] == [["one", "two"]] * 2


@pytest.mark.parametrize("reason", CloseReason)
async def test_a_poll_of_a_session_that_the_server_ends(reason: CloseReason) -> None:
    made = Made()
    async with engine(made) as server:
        client = server.client()
        session = await client.polling()
        async with client.pending(session.sid) as get:
            made[0].session.close(reason)
            body = body_of(await get.answer())
        assert body == ("6" if reason is CloseReason.TRANSPORT_CLOSE else "1")
        assert await told(server, made) == reason.value


class Failing(Silent):
    """Its code has a mistake."""

    async def receive(self, data: Frame) -> None:
        await super().receive(data)
        raise ValueError("of the application's own")


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_an_application_that_fails_ends_its_session(transport: str) -> None:
    made = Made(Failing)
    async with engine(made) as server:
        client = server.client()
        if transport == "polling":
            session = await client.polling()
            assert (await client.post(session.sid, "4one\x1e4two")).status == 500
        else:
            async with client.websocket() as socket:
                await socket.send("4one", "4two")
                await socket.websocket.closed()
        await until(lambda: made[0].reason)
        assert made[0].received == ["one"]
        await server.until_idle()


class Slow(Silent):
    """Has something under way when its session ends."""

    wound_up = False

    async def wind_up(self) -> None:
        await super().wind_up()
        self.wound_up = True


async def test_what_is_under_way_is_finished_also_if_a_write_finds_the_peer_gone(
    autojump_clock: MockClock,
) -> None:
    made = Made(Slow)
    async with driving(made, LIMITS) as driver, driver.websocket() as socket:
        await socket.next()
        socket.is_broken = True
        made[0].say("to nobody")
        await socket.until_ended()
    app = made[0]
    assert isinstance(app, Slow)
    assert (app.wound_up, app.reason) == (True, "transport error")


# The server goes away


async def test_drained_clients_get_what_waits_and_then_the_end() -> None:
    made = Made()
    async with engine(made) as server:
        client = server.client()
        session = await client.polling()
        async with client.websocket() as socket:
            for app in made:
                app.say("last words")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.app.drain)
                assert await socket.next() == "4last words"
                await socket.websocket.closed()
                # It polls when it likes: until then the drain waits.
                assert await session.next() == "4last words"
                assert decode(await session.poll())[-1] == "1"
        await server.until_idle()
        assert server.ended() == {"server shutting down": 2}


async def test_a_server_that_drains_takes_nobody_in() -> None:
    """A polling client that is sent away comes back on the connection it has."""
    made = Made()
    async with engine(made) as server:
        await server.client().polling()
        await server.app.drain()
        assert (await server.client().get()).status == 503
        assert len(list(made)) == 1


async def test_a_server_that_has_ended_takes_nobody_in(autojump_clock: MockClock) -> None:
    async with driving(Made(), LIMITS) as driver:
        await driver.polling()
    assert (await driver.ask("GET", "EIO=4&transport=polling")).status == 503


async def test_a_server_that_is_cancelled_lets_everybody_go() -> None:
    made = Made()
    async with engine(made) as server:
        client = server.client()
        await client.polling()
        async with client.websocket() as socket:
            await client.polling()
            server.server()._nursery.cancel_scope.cancel()  # type: ignore[union-attr]  # what a shutdown does
            await socket.websocket.closed()
        await server.until_idle()
    assert {app.reason for app in made} == {"server shutting down"}


class Polite(Silent):
    """Has last words."""

    def going_away(self) -> None:
        self.say("goodbye")


async def test_the_lifespan_of_another_server_drains() -> None:
    server = engine_server(Made(Polite), SETTINGS)
    app = App(not_found, {ECHO: server})
    driver = Driver(server)
    started, stop, ended = trio.Event(), trio.Event(), trio.Event()

    async def receive() -> Message:
        if started.is_set():
            await stop.wait()
        await trio.lowlevel.checkpoint()
        return {"type": "lifespan"}

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        (ended if started.is_set() else started).set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, {"type": "lifespan"}, receive, send)
        await started.wait()
        sid = await driver.polling()
        stop.set()
        assert (await driver.get(sid)).body == "4goodbye"
        await ended.wait()


async def test_a_server_that_is_full() -> None:
    made = Made()
    async with engine(made) as server:
        server.server()._max_sessions = 1
        client = server.client()
        session = await client.polling()
        answer = await client.get()
        assert (answer.status, answer["retry-after"]) == (503, "5")
        async with client.target.exchange("GET", client.address("websocket"), UPGRADE) as handshake:
            refused = await handshake.answer()
        assert (refused.status, refused["retry-after"]) == (503, "5")
        await ends(session, "1")
        await server.until_idle()
        assert (await client.get()).status == 200


async def test_a_handshake_whose_client_has_gone_leaves_no_session() -> None:
    made = Made()
    async with engine(made) as server:
        client: Engine = server.client()
        for transport in ("polling", "websocket"):
            async with await client.target.connect() as stream:
                await stream.send_all(client.target.head("GET", client.address(transport), []))
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(_shake_and_run, client)
        # Polling sessions stay until their heart stands still; none of them has a task but its own.
        await until(lambda: server.edge.statistics()["accepted"] == 12)
        await until(lambda: server.edge.statistics()["connections"] == 0)
        await until(lambda: server.server().statistics()["websockets"] == 0)


async def _shake_and_run(client: Engine) -> None:
    async with await client.target.connect() as stream:
        await stream.send_all(client.target.head("GET", client.address("websocket"), UPGRADE))
