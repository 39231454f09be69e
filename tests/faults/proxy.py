"""A network that misbehaves: a TCP proxy that delays, slices, stalls, loses and cuts what goes through it."""

from __future__ import annotations

import math
import random
import socket
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

CHUNK_BYTES = 64 * 1024  # all that is ever held of a connection, in each direction
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO_LINGER = struct.pack("ii", 1, 0)


# What happens to a connection, each after so many bytes in both directions together.


@dataclass(frozen=True)
class Latency:
    """From now on each piece arrives this much later. One is under way at a time: 64 KiB a delay."""

    after_bytes: int
    delay_s: float


@dataclass(frozen=True)
class Slice:
    """From now on everything comes in segments of at most this size."""

    after_bytes: int
    segment_bytes: int


@dataclass(frozen=True)
class Stall:
    """No byte moves for a time, nothing is read either, and nobody is told."""

    after_bytes: int
    for_s: float = math.inf


@dataclass(frozen=True)
class Drop:
    """Everything is taken and lost from now on, the ends of the two sides included; the connection stays."""

    after_bytes: int


@dataclass(frozen=True)
class Fin:
    """Closed in order, in the middle of a message. Whoever goes on sending is told by a reset."""

    after_bytes: int


@dataclass(frozen=True)
class Rst:
    """Reset on both sides: what they have not read yet may be lost, too."""

    after_bytes: int


Fault = Latency | Slice | Stall | Drop | Fin | Rst
Plan = Callable[[int], Sequence[Fault]]
"""What befalls the connection of this number (from 0)."""


def is_cut(fault: Fault) -> bool:
    """Whether it leaves a connection that is good for nothing."""
    return isinstance(fault, Drop | Fin | Rst) or (isinstance(fault, Stall) and fault.for_s == math.inf)


def calm(number: int) -> Sequence[Fault]:
    """A network that works."""
    return ()


def rough(seed: int, shortest_bytes: int, longest_bytes: int) -> Plan:
    """Every connection is cut somewhere between these, in any manner, and is none of the best before."""

    def plan(number: int) -> Sequence[Fault]:
        dice = random.Random(f"{seed}/{number}")
        end = dice.randint(shortest_bytes, longest_bytes)
        faults: list[Fault] = [dice.choice((Stall, Drop, Fin, Fin, Rst, Rst))(end)]
        if dice.random() < 0.3:
            faults.append(Stall(dice.randint(0, end), dice.uniform(0.05, 0.5)))
        if dice.random() < 0.3:
            faults.append(Latency(dice.randint(0, end), dice.uniform(0.001, 0.01)))
        if dice.random() < 0.2:
            faults.append(Slice(dice.randint(0, end), dice.randint(50, 1500)))
        return faults

    return plan


class Proxy:
    """Carries connections to a server as the plan says."""

    def __init__(self, port: int, plan: Plan) -> None:
        self.port = port  # of the server; may change, it is looked at by every connection
        self.plan = plan  # so is this
        self.unwanted: bytes | None = None  # what begins with this gets 403
        self.connections = 0
        self.tripped: Counter[type[Fault]] = Counter()
        self.cuts = 0  # connections that were made useless
        self.sent_up_bytes = 0  # handed to the server
        self.sent_down_bytes = 0
        self.dropped_bytes = 0
        self._live: set[Link] = set()
        self._moved = trio.lowlevel.ParkingLot()

    @property
    def live(self) -> int:
        """Connections that have not ended."""
        return len(self._live)

    def cut_all(self) -> None:
        """Close every connection there is, now."""
        for link in self._live:
            link.scope.cancel(reason="cut")

    async def wait_cuts(self, count: int = 1) -> None:
        while self.cuts < count:
            await self._moved.park()

    def note(self, fault: Fault) -> None:
        self.tripped[type(fault)] += 1
        self.cuts += is_cut(fault)
        self._moved.unpark_all()

    async def carry(self, client: trio.SocketStream) -> None:
        """One connection, until it ends or is cut."""
        link = Link(self, self.plan(self.connections))
        self.connections += 1
        async with client:
            try:
                server = await trio.open_tcp_stream("127.0.0.1", self.port)
            except OSError:
                return
            async with server:
                self._live.add(link)
                try:
                    await link.run(client, server)
                finally:
                    self._live.discard(link)
                if link.resets:
                    for side in (client, server):
                        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)


class Link:
    """One connection through the proxy: a pump for each direction, and what has befallen both so far."""

    def __init__(self, proxy: Proxy, faults: Sequence[Fault]) -> None:
        self.scope = trio.CancelScope()
        self.resets = False  # how it is to be closed
        self._proxy = proxy
        self._faults = deque(sorted(faults, key=lambda fault: fault.after_bytes))
        self._moved_bytes = 0
        self._segment_bytes = CHUNK_BYTES
        self._delay_s = 0.0
        self._silent_until = -math.inf
        self._drops = False

    async def run(self, client: trio.abc.HalfCloseableStream, server: trio.abc.HalfCloseableStream) -> None:
        """Until both sides have ended, or the connection is cut. They are not closed here."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, client, server, True)
                nursery.start_soon(self._pump, server, client, False)

    async def _pump(
        self, source: trio.abc.HalfCloseableStream, sink: trio.abc.HalfCloseableStream, up: bool
    ) -> None:
        try:
            await self._pass()
            while data := await source.receive_some(CHUNK_BYTES):
                if up and self._proxy.unwanted is not None and data.startswith(self._proxy.unwanted):
                    await source.send_all(FORBIDDEN)
                    self.scope.cancel(reason="unwanted")
                    break
                await self._forward(memoryview(data), sink, up)
            await self._pass()
            if not self._drops:
                await sink.send_eof()
        except trio.BrokenResourceError:
            if not self._drops:  # else the other side does not hear of it
                self.resets = True
                self.scope.cancel(reason="one side was reset")

    async def _forward(self, data: memoryview, sink: trio.abc.SendStream, up: bool) -> None:
        while data:
            await self._pass()
            if self._drops:
                self._proxy.dropped_bytes += len(data)
                return
            piece = data[: self._step_bytes()]
            data = data[len(piece) :]
            self._moved_bytes += len(piece)
            await trio.sleep(self._delay_s)
            await sink.send_all(piece)
            if up:
                self._proxy.sent_up_bytes += len(piece)
            else:
                self._proxy.sent_down_bytes += len(piece)
        await self._pass()

    def _step_bytes(self) -> int:
        """How much may move before something happens again."""
        if not self._faults:
            return self._segment_bytes
        return min(self._segment_bytes, self._faults[0].after_bytes - self._moved_bytes)

    async def _pass(self) -> None:
        """Let happen what is due, and wait until bytes may move."""
        while self._faults and self._faults[0].after_bytes <= self._moved_bytes:
            self._trip(self._faults.popleft())
        await trio.sleep_until(self._silent_until)

    def _trip(self, fault: Fault) -> None:
        match fault:
            case Latency():
                self._delay_s = fault.delay_s
            case Slice():
                self._segment_bytes = fault.segment_bytes
            case Stall():
                self._silent_until = trio.current_time() + fault.for_s
            case Drop():
                self._drops = True
            case Fin() | Rst():
                self.resets = isinstance(fault, Rst)
                self.scope.cancel(reason="cut")
        self._proxy.note(fault)


@asynccontextmanager
async def proxied(url: str, plan: Plan = calm) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of the server at `url`, and its own address (without a slash at its end). When the
    block ends, so does every connection."""
    proxy = Proxy(int(url.rstrip("/").rpartition(":")[2]), plan)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, proxy.carry, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        yield proxy, f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel(reason="the test is over")
