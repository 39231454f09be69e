"""The proxy that stands for a bad network: what it is told to do happens, to the byte, and nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing

from tests.faults.proxy import (
    CHUNK_BYTES,
    Drop,
    Fault,
    Fin,
    Latency,
    Link,
    Proxy,
    Rst,
    Slice,
    Stall,
    calm,
    is_cut,
    proxied,
    rough,
)
from tests.running import PATIENCE_S

MIB = 1024 * 1024
ENDLESS = 64 * MIB  # more than any kernel buffers


class Ends:
    """Both ends of one connection through a proxy."""

    def __init__(self, proxy: Proxy, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server


@asynccontextmanager
async def connection(*faults: Fault) -> AsyncIterator[Ends]:
    send, receive = trio.open_memory_channel[trio.SocketStream](1)

    async def accept(stream: trio.SocketStream) -> None:
        await send.send(stream)
        await trio.sleep_forever()

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, accept, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            async with proxied(f"http://127.0.0.1:{port}/", lambda number: faults) as (proxy, url):
                async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as client:
                    async with await receive.receive() as server:
                        yield Ends(proxy, client, server)
            nursery.cancel_scope.cancel(reason="the test is over")


async def receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([bytes(data) async for data in stream])


async def receive_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        assert more, f"it ended after {len(data)} of {count} bytes"
        data += bytes(more)
    return data


async def test_a_calm_connection_carries_all_and_each_end_by_itself() -> None:
    up, down = os.urandom(3 * MIB), os.urandom(2 * MIB)
    async with connection() as ends:

        async def ask() -> None:
            await ends.client.send_all(up)
            await ends.client.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            assert await receive_all(ends.server) == up
        await ends.server.send_all(down[:1000])  # after the other side has ended
        assert await receive_exactly(ends.client, 1000) == down[:1000]

        async def answer() -> None:
            await ends.server.send_all(down[1000:])
            await ends.server.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            assert await receive_all(ends.client) == down[1000:]
        assert (ends.proxy.sent_up_bytes, ends.proxy.sent_down_bytes) == (len(up), len(down))
        assert (ends.proxy.connections, ends.proxy.cuts, ends.proxy.dropped_bytes) == (1, 0, 0)


@pytest.mark.parametrize("after_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
async def test_fin_comes_after_so_many_bytes_and_ends_both_sides(after_bytes: int) -> None:
    content = os.urandom(after_bytes)
    async with connection(Fin(after_bytes)) as ends:
        await ends.client.send_all(content)
        assert await receive_all(ends.server) == content
        assert await receive_all(ends.client) == b""
        assert ends.proxy.cuts == 1


async def test_bytes_of_both_directions_count() -> None:
    async with connection(Fin(30)) as ends:
        await ends.client.send_all(bytes(10))
        assert await receive_exactly(ends.server, 10)
        await ends.server.send_all(bytes(50))
        assert await receive_all(ends.client) == bytes(20)


async def test_rst_resets_both_sides() -> None:
    async with connection(Rst(10)) as ends:
        await ends.client.send_all(bytes(10))
        for side in (ends.client, ends.server):
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(side)
        assert ends.proxy.cuts == 1


async def test_a_reset_by_one_side_reaches_the_other() -> None:
    async with connection() as ends:
        await ends.client.send_all(b"unread")
        await ends.server.wait_send_all_might_not_block()
        await receive_exactly(ends.server, 1)  # closed with the rest unread: the kernel resets
        await ends.server.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(ends.client)
        assert ends.proxy.cuts == 0


async def test_dropped_bytes_are_taken_and_nobody_is_told() -> None:
    async with connection(Drop(1000)) as ends:
        await ends.client.send_all(bytes(ENDLESS))
        assert await receive_exactly(ends.server, 1000) == bytes(1000)
        await ends.server.send_all(b"anybody there?")
        await ends.client.aclose()
        with trio.move_on_after(0.1) as nothing_comes:
            await ends.server.receive_some()
        assert nothing_comes.cancelled_caught
        assert ends.proxy.live == 1
        assert ends.proxy.sent_up_bytes + ends.proxy.dropped_bytes >= ENDLESS
        assert ends.proxy.sent_down_bytes == 0
        assert ends.proxy.cuts == 1


async def test_an_endless_stall_takes_no_more_than_it_can_hold() -> None:
    async with connection(Stall(1000)) as ends:
        with trio.move_on_after(0.2) as blocked:
            await ends.client.send_all(bytes(ENDLESS))
        assert blocked.cancelled_caught
        assert await receive_exactly(ends.server, 1000)
        await ends.proxy.wait_cuts()
        assert (ends.proxy.cuts, ends.proxy.sent_up_bytes) == (1, 1000)
        ends.proxy.cut_all()
        assert await receive_all(ends.server) == b""
        assert ends.proxy.sent_up_bytes == 1000


async def test_who_comes_while_no_server_is_there_is_sent_away() -> None:
    with trio.fail_after(PATIENCE_S):
        async with proxied("http://127.0.0.1:1/") as (proxy, url):
            async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as client:
                assert await receive_all(client) == b""
            assert proxy.live == 0


async def test_what_is_unwanted_is_forbidden() -> None:
    async with connection() as ends:
        ends.proxy.unwanted = b"GET /secret"
        await ends.client.send_all(b"GET /secret HTTP/1.1\r\n\r\n")
        assert (await receive_all(ends.client)).startswith(b"HTTP/1.1 403 ")
        assert await receive_all(ends.server) == b""


@pytest.mark.parametrize("faults", [(), (Stall(10),), (Drop(10),), (Latency(0, 1e6),)])
async def test_nothing_outlives_the_block(faults: Sequence[Fault]) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(PATIENCE_S):
        async with connection(*faults) as ends:
            await ends.client.send_all(bytes(100))
            while not ends.proxy.live:
                await trio.testing.wait_all_tasks_blocked()
    assert ends.proxy.live == 0
    assert trio.lowlevel.current_statistics().tasks_living == tasks


# What has to do with time or with segments: in memory, where both can be seen exactly.


class Listener(trio.abc.HalfCloseableStream):
    """A server's side that never says anything: notes when what arrived, and ends with its peer."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[float, bytes]] = []
        self._ended = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.arrivals.append((trio.current_time(), bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._ended.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self._ended.wait()
        return b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Timed:
    """What came of sending `data` through a link, at once."""

    def __init__(self, *faults: Fault) -> None:
        self.proxy = Proxy(0, calm)
        self._faults = faults
        self._listener = Listener()

    async def send(self, data: bytes) -> bytes:
        client, near = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Link(self.proxy, self._faults).run, near, self._listener)
            await client.send_all(data)
            await client.send_eof()
        return b"".join(piece for _, piece in self._listener.arrivals)

    @property
    def times_s(self) -> list[float]:
        return [time for time, _ in self._listener.arrivals]

    @property
    def sizes(self) -> list[int]:
        return [len(piece) for _, piece in self._listener.arrivals]


async def test_a_stall_ends_after_its_time(autojump_clock: trio.testing.MockClock) -> None:
    timed = Timed(Stall(6, 7.0))
    assert await timed.send(b"beforeafter") == b"beforeafter"
    assert timed.sizes == [6, 5]
    assert timed.times_s[1] - timed.times_s[0] == 7.0
    assert (timed.proxy.tripped[Stall], timed.proxy.cuts) == (1, 0)


async def test_the_end_is_stalled_too(autojump_clock: trio.testing.MockClock) -> None:
    began_at = trio.current_time()
    await Timed(Stall(5, 7.0)).send(b"bytes")
    assert trio.current_time() - began_at == 7.0


async def test_latency_delays_each_piece(autojump_clock: trio.testing.MockClock) -> None:
    content = os.urandom(CHUNK_BYTES + 100)
    timed = Timed(Latency(100, 0.25))
    began_at = trio.current_time()
    assert await timed.send(content) == content
    assert timed.sizes == [100, CHUNK_BYTES - 100, 100]
    assert [time - began_at for time in timed.times_s] == [0.0, 0.25, 0.5]


async def test_slices_are_small_and_whole(autojump_clock: trio.testing.MockClock) -> None:
    content = os.urandom(1000)
    timed = Timed(Slice(100, 400))
    assert await timed.send(content) == content
    assert timed.sizes == [100, 400, 400, 100]


async def test_faults_come_in_their_order(autojump_clock: trio.testing.MockClock) -> None:
    timed = Timed(Fin(500), Slice(0, 150), Stall(200, 3.0), Latency(200, 1.0))
    assert await timed.send(bytes(1000)) == bytes(500)
    assert timed.sizes == [150, 50, 150, 150]
    assert [time - timed.times_s[0] for time in timed.times_s] == [0.0, 0.0, 4.0, 5.0]
    assert timed.proxy.cuts == 1


# Plans


def test_a_rough_plan_cuts_every_connection_once_and_can_be_repeated() -> None:
    plan = rough(7, 1000, 2000)
    plans = [plan(number) for number in range(300)]
    assert plans == [rough(7, 1000, 2000)(number) for number in range(300)]
    assert plans != [rough(8, 1000, 2000)(number) for number in range(300)]
    assert {type(fault) for faults in plans for fault in faults} == {Latency, Slice, Stall, Drop, Fin, Rst}
    for faults in plans:
        cut = max(faults, key=lambda fault: fault.after_bytes)
        assert 1000 <= cut.after_bytes <= 2000
        assert sum(map(is_cut, faults)) == 1
    assert len({faults[0].after_bytes for faults in plans}) > 100


async def test_the_plan_may_change_while_it_runs() -> None:
    async with connection(Fin(0)) as ends:
        address = ends.client.socket.getpeername()
        assert await receive_all(ends.client) == b""
        ends.proxy.plan = lambda number: [Fin(number)]
        async with await trio.open_tcp_stream(*address) as again:
            await again.send_all(b"bytes")
            with suppress(trio.BrokenResourceError):  # there was more than what may pass
                assert await receive_all(again) == b""
        assert (ends.proxy.connections, ends.proxy.sent_up_bytes) == (2, 1)
