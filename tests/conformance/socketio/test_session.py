"""Joining, leaving, events and acks (section C2)."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
import trio

from tests.conformance.engineio.client import PING, TRANSPORTS, Engine, Peer, ends
from tests.conformance.engineio.servers import STEADY
from tests.conformance.lines import socketio as line
from tests.conformance.processes import Server
from tests.conformance.socketio.client import PATH, is_well, join, joined, placeholder, sid_of

INVALID = '44/random,{"message":"Invalid namespace"}'

transports = pytest.mark.parametrize("transport", TRANSPORTS)


@line("S1", "M")
@transports
async def test_socketio_S1_nothing_is_joined_by_itself(engine: Engine, transport: str) -> None:
    async with engine.peer(transport) as peer:
        await peer.send("40/custom,")
        assert sid_of(await peer.next(), "/custom")
        assert await peer.next() == '42/custom,["auth",{}]'
        await ends(peer, '42["message","to the default namespace"]')


@line("S2", "M")
@transports
async def test_socketio_S2_an_id_for_each_namespace(engine: Engine, transport: str) -> None:
    async with engine.peer(transport) as peer:
        sids = {await join(peer), await join(peer, "/custom"), peer.sid}
        await peer.send("41/custom,")
        sids.add(await join(peer, "/custom"))
        assert len(sids) == 4


@line("S3", "M")
@transports
async def test_socketio_S3_the_answer_comes_before_any_event(engine: Engine, transport: str) -> None:
    async with engine.peer(transport) as peer:
        for namespace in ("/", "/custom"):
            await join(peer, namespace)  # demands this order


@line("S4", "M")
@transports
async def test_socketio_S4_an_unknown_namespace(engine: Engine, transport: str) -> None:
    async with engine.peer(transport) as peer:
        await peer.send("40/random")
        assert await peer.next() == INVALID
        await join(peer)
        await is_well(peer)


@line("S5", "M")
@transports
async def test_socketio_S5_who_was_refused_may_ask_again(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        for _ in range(3):
            await peer.send('40/random,{"token":"x"}')
            assert await peer.next() == INVALID
        await is_well(peer)
        await ends(peer, '42/random,["message"]')


@line("S6", "M")
@transports
@pytest.mark.parametrize(
    "frame", ['42["message"]', "41", "430[]", '44{"message":"x"}', f'451-["m",{placeholder(0)}]']
)
async def test_socketio_S6_the_first_packet_is_a_connect(engine: Engine, transport: str, frame: str) -> None:
    async with engine.peer(transport) as peer:
        await ends(peer, frame, *([b"x"] if frame.startswith("45") else []))


@line("S6", "C")
@transports
@pytest.mark.parametrize(
    "frame", ['42/custom,["message"]', "41/custom,", "43/custom,0[]", '42/random,["message"]']
)
async def test_socketio_S6_a_namespace_that_was_not_joined(
    engine: Engine, transport: str, frame: str
) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, frame)


@line("S6", "C")
@transports
@pytest.mark.parametrize("namespace", ["/", "/custom"])
async def test_socketio_S6_a_second_connect(engine: Engine, transport: str, namespace: str) -> None:
    async with joined(engine, transport, namespace) as peer:
        await ends(peer, "40" if namespace == "/" else "40/custom,")


@line("S6", "C")
@transports
async def test_socketio_S6_after_leaving_it_is_not_joined(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await join(peer, "/custom")
        await peer.send("41/custom,")
        await ends(peer, '42/custom,["message"]')


@line("S7", "C")
@transports
async def test_socketio_S7_who_joins_nothing_is_sent_away(impatient: Engine, transport: str) -> None:
    async with joined(impatient, transport) as other, impatient.peer(transport) as peer:
        await peer.send("40/random")
        assert await peer.next() == INVALID
        assert await peer.ended() == []
        await is_well(other)  # its time is up as well, but it had joined


@line("S8", "M")
@transports
async def test_socketio_S8_leaving_one_of_several(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await join(peer, "/custom")
        await peer.send("41/custom,")
        await is_well(peer)


@line("S8", "M")
@transports
async def test_socketio_S8_leaving_all_of_them_closes_nothing(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await peer.send("41")
        await join(peer, "/custom")
        await peer.send("41/custom")
        await join(peer)
        await is_well(peer)


@line("S8", "M")
async def test_socketio_S8_who_has_left_all_is_still_pinged(quick: Engine) -> None:
    async with quick.websocket() as socket:
        await join(socket)
        await socket.send("41")
        assert await socket.websocket.next() == PING


@line("S9", "C")
async def test_socketio_S9_a_server_that_stops_sends_nobody_away(start: Callable[..., Server]) -> None:
    server = start(*STEADY)
    engine = Engine(server.target, PATH)
    async with joined(engine, "polling") as polling, joined(engine, "websocket") as socket:
        async with trio.open_nursery() as nursery:
            for peer in (polling, socket):
                await join(peer, "/custom")
                nursery.start_soon(_ends_with_no_word, peer)
            server.process.send_signal(signal.SIGTERM)
    assert await trio.to_thread.run_sync(server.process.wait, 30) == 0


async def _ends_with_no_word(peer: Peer) -> None:
    """A Socket.IO DISCONNECT (41) would tell the client not to come back."""
    try:
        frames = await peer.ended()
    except OSError:
        return  # a poll of a server that has gone
    assert frames == []


@line("S10", "M")
@transports
@pytest.mark.parametrize("namespace", ["/", "/custom"])
@pytest.mark.parametrize("auth", ["", "{}", '{"token":"123"}', '{"a":[1,2.5,null,{"b":"grüß"}],"":true}'])
async def test_socketio_S10_what_came_with_connect_is_seen_as_it_was(
    engine: Engine, transport: str, namespace: str, auth: str
) -> None:
    head = "" if namespace == "/" else "/custom,"
    async with engine.peer(transport) as peer:
        await peer.send(f"40{head}{auth}")
        assert sid_of(await peer.next(), namespace)
        assert await peer.next() == f'42{head}["auth",{auth or "{}"}]'


@line("S11", "M")
@transports
async def test_socketio_S11_an_ack_has_the_same_arguments(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await peer.send('42456["message-with-ack",1,"2",{"3":[false]}]')
        assert await peer.next() == '43456[1,"2",{"3":[false]}]'
        await peer.send('420["message-with-ack"]')
        assert await peer.next() == "430[]"
        await peer.send('42["message-with-ack","none is wanted"]')
        await is_well(peer)


@line("S11", "M")
@transports
async def test_socketio_S11_an_ack_with_attachments(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        args = f"{placeholder(0)},{placeholder(1)}"
        await peer.send(f'452-789["message-with-ack",{args}]', b"\x01\x02\x03", b"\x04\x05\x06")
        assert await peer.next() == f"462-789[{args}]"
        assert [await peer.next(), await peer.next()] == [b"\x01\x02\x03", b"\x04\x05\x06"]


@line("S11", "M")
@transports
async def test_socketio_S11_a_message_comes_back(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await peer.send('42["message",1,"2",{"3":[true]}]')
        assert await peer.next() == '42["message-back",1,"2",{"3":[true]}]'


@line("S12", "C")
@transports
@pytest.mark.parametrize("frame", ["430[]", '43999["x"]', "439007199254740991[]", f"461-5[{placeholder(0)}]"])
async def test_socketio_S12_an_ack_that_nobody_waits_for(engine: Engine, transport: str, frame: str) -> None:
    async with joined(engine, transport) as peer:
        for _ in range(2):
            await peer.send(frame, *([b"x"] if frame.startswith("46") else []))
        await is_well(peer)


@line("S13", "M")
@transports
async def test_socketio_S13_events_are_handled_as_they_came(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        count = 100
        await peer.send(*(f'42{number}["message-with-ack",{number}]' for number in range(count)))
        assert [await peer.next() for _ in range(count)] == [f"43{n}[{n}]" for n in range(count)]


@line("S16", "C")
@transports
async def test_socketio_S16_a_client_that_leaves_hears_nothing_of_it(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await join(peer, "/custom")
        await peer.send("41")
        await peer.send("40")
        assert sid_of(await peer.next())
