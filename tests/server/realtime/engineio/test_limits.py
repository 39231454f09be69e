"""What one peer may cost: bytes read, bytes kept for it, and time of the loop."""

from __future__ import annotations

import tracemalloc

import pytest
import trio

from penstock.server.realtime.engineio import polling
from tests.conformance.engineio.client import Peer, Socket, echoes
from tests.conformance.websocket import BINARY, TEXT, raw_frame
from tests.conformance.wire import chunk
from tests.server.edge.harness import until
from tests.server.realtime.engineio.rig import Made, Running, conformance, engine

MANY = 20_000
SOCKET_BYTES = 256 * 1024  # read ahead at most: one read of each kind, and a frame's head


def most_read(server: Running) -> int:
    return server.settings.max_message_bytes + server.settings.linger_bytes + SOCKET_BYTES


async def flood(stream: trio.SocketStream, piece: bytes, count: int) -> None:
    """Send until it is done, or the server takes no more."""
    try:
        for _ in range(count):
            await stream.send_all(piece)
    except trio.BrokenResourceError:
        return


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_endless_post_is_not_read(framing: str) -> None:
    async with conformance() as server:
        client = server.client()
        session = await client.polling()
        path, piece = client.address(sid=session.sid), b"4" + b"x" * 65535
        size = 1000 * len(piece)
        fields = [("Transfer-Encoding", "chunked")] if framing == "chunked" else []
        length = size if framing == "length" else None
        before = server.edge.statistics()["bytes_read"]
        async with client.target.exchange("POST", path, fields, length=length) as post:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood, post.stream, chunk(piece) if framing == "chunked" else piece, 1000)
                assert (await post.answer()).status == 413
        await until(lambda: server.edge.statistics()["connections"] == 0)
        assert server.edge.statistics()["bytes_read"] - before <= most_read(server)
        await echoes(session)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fragments", [True, False])
async def test_an_endless_message_is_not_read(opcode: int, fragments: bool) -> None:
    async with conformance() as server:
        async with server.client().websocket() as socket:
            before = server.edge.statistics()["bytes_read"]
            piece = b"4" + b"x" * 65535
            if fragments:
                first = bytearray(raw_frame(opcode, piece))
                rest = bytearray(raw_frame(0, piece))
                first[0] &= 0x7F  # not the last one
                rest[0] &= 0x7F
            else:
                first, rest = bytearray(raw_frame(opcode, piece, 10**9)), bytearray(piece)
            await socket.websocket.stream.send_all(bytes(first))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood, socket.websocket.stream, bytes(rest), 1000)
                assert await socket.websocket.closed() == 1009
        await server.until_idle()
        assert server.edge.statistics()["bytes_read"] - before <= most_read(server)


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_peer_that_says_much_and_reads_nothing_is_cut(transport: str) -> None:
    """All of it is sent back; what waits is bounded, and nobody else notices."""
    async with conformance(send_timeout_s=0.3) as server:
        client = server.client()
        async with client.websocket() as other, client.peer(transport) as peer:
            tracemalloc.start()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(say_much, server, peer)
                    rounds = 0
                    while server.ended() != {"transport error": 1}:
                        await echoes(other, f"{rounds}")
                        rounds += 1
                    nursery.cancel_scope.cancel()
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            await echoes(other)
        # In memory was what waits, what is being written, and what is being read; said was much more.
        assert peak < 3_000_000


async def say_much(server: Running, peer: Peer) -> None:
    message = "4" + "x" * 50_000
    while server.ended() == {}:
        if isinstance(peer, Socket):
            await flood(peer.websocket.stream, raw_frame(TEXT, message.encode()), 10)
        else:
            await peer.send(message)


async def test_a_peer_that_is_told_much_and_reads_nothing_is_cut() -> None:
    made = Made()
    async with engine(made, send_timeout_s=0.3) as server:
        async with server.client().websocket() as other, server.client().websocket():
            for number in range(100):
                for app in made:
                    app.say(f"{number}" + "x" * 100_000)
                    assert app.session.core.buffered_bytes <= 200_000 + 100_010
                assert str(await other.next()).startswith(f"4{number}x")
            await server.until_sessions(1)
            assert made[1].reason == "transport error"
            made[0].say("and on")
            assert await other.next() == "4and on"


async def test_a_poll_whose_answer_is_not_read_ends_the_session() -> None:
    made = Made()
    async with engine(made, send_timeout_s=0.3, max_unsent_bytes=10**9, max_message_bytes=10**8) as server:
        client = server.client()
        session = await client.polling()
        made[0].say("x" * 20_000_000)
        async with client.target.exchange("GET", client.address(sid=session.sid)):
            await server.until_sessions(0)
        assert made[0].reason in ("transport close", "transport error")


async def test_a_session_that_nobody_polls_for_is_cut() -> None:
    made = Made()
    async with engine(made) as server:
        session = await server.client().polling()
        for _ in range(3):
            assert made[0].session.core.buffered_bytes <= 200_000
            made[0].say("x" * 99_000)
        assert made[0].session.core.buffered_bytes == 0
        await server.until_sessions(0)
        assert made[0].reason == "transport error"
        assert (await session.get()).status == 400


@pytest.mark.parametrize("packet", ["3", "6", "4"])
async def test_a_body_of_very_many_packets_leaves_time_for_others(packet: str) -> None:
    """The loop turns while they are taken."""
    body = "\x1e".join([packet] * MANY)
    turns = 0
    made = Made()

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with engine(made, max_message_bytes=1_000_000) as server:
        client = server.client()
        session = server.server()._sessions[(await client.polling()).sid]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            await polling._take_packets(session, body.encode())
            nursery.cancel_scope.cancel()
        assert turns >= MANY // 100
    assert len(made[0].received) == (MANY if packet == "4" else 0)
