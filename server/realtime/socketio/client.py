"""One connection with all its namespaces: an Engine.IO session's application."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import NamedTuple

import structlog
import trio

from penstock.protocol.engineio.packets import EngineError, Frame, PacketType
from penstock.protocol.engineio.session import CloseReason
from penstock.protocol.rate_limit import TokenBucket
from penstock.protocol.socketio.decoder import Decoder
from penstock.protocol.socketio.packets import Packet, SocketError, encode
from penstock.protocol.socketio.session import (
    Acked,
    Connect,
    Connection,
    Event,
    LeaveReason,
    Left,
    NotConnected,
)
from penstock.server.realtime.engineio.session import EngineSession
from penstock.server.realtime.in_order import InOrder, Job
from penstock.server.realtime.socketio.namespace import ConnectRefused, Namespace, Said
from penstock.server.realtime.socketio.socket import Socket

SID_BYTES = 15

log = structlog.get_logger()

_ack_ids = count()


class Rate(NamedTuple):
    """Of events that one connection may send."""

    per_s: float
    burst: int


class Rules(NamedTuple):
    """What one connection may do."""

    connect_timeout_s: float
    max_waiting: int  # events whose handlers have not begun; a connection that sends more is cut
    rate: Rate | None = None  # None: as fast as it likes


class Client:
    """Made for each session; see `Application`."""

    def __init__(
        self,
        namespaces: Mapping[str, Namespace],
        rules: Rules,
        session: EngineSession,
        nursery: trio.Nursery,
    ) -> None:
        now = trio.current_time()
        self.session = session
        self.core = Connection(now + rules.connect_timeout_s, _ack_ids)
        self._namespaces = namespaces
        self._rules = rules
        self._sockets: dict[str, Socket] = {}  # by namespace
        self._decoder = Decoder(session.max_message_bytes)
        self._jobs = InOrder(nursery, rules.max_waiting)
        self._bucket = TokenBucket(*rules.rate, now) if rules.rate else None
        self._connects = TokenBucket(*rules.rate, now) if rules.rate else None

    # What the session asks

    @property
    def due_at(self) -> float:
        """When it must have joined something."""
        deadline = self.core.connect_deadline
        return float("inf") if deadline is None else deadline

    def tick(self) -> None:
        """Close, if it has not."""
        if trio.current_time() >= self.due_at:
            self.session.close(CloseReason.FORCED_CLOSE)

    async def receive(self, data: Frame) -> None:
        try:
            packet = self._decoder.feed(data)
            if packet is not None:
                await self._take(packet)
        except SocketError as error:
            raise EngineError(str(error)) from error

    async def fill(self) -> bool:
        sent = False
        for socket in list(self._sockets.values()):
            if socket.source is not None and await socket.source():
                sent = True
        return sent

    async def wind_up(self) -> None:
        """What the client has asked for is done, though nobody waits for the answer."""
        await self._jobs.wait_empty()

    def going_away(self) -> None:
        for socket in self._sockets.values():
            with _contained(socket.namespace):
                socket.namespace.going_away(socket)

    def closed(self, reason: str) -> None:
        for left in self.core.close():
            self._left(left, reason)

    # What the client says

    async def _take(self, packet: Packet) -> None:
        match self.core.receive(packet):
            case Connect() as wish:
                await self._wait_turn()
                if self.session.core.closed is None:
                    self._put(partial(self._connect, wish))
            case Event() as event:
                await self._hear(self._sockets[event.namespace], event)
            case Acked(namespace, ack_id, args):
                self._sockets[namespace].answered(ack_id, args)
            case Left() as left:
                self._left(left, LeaveReason.CLIENT.value)

    async def _wait_turn(self) -> None:
        """To connect is no event, but it costs as much, and each end of it is a line in the log."""
        if self._connects and (wait_s := self._connects.take(trio.current_time())):
            await trio.sleep(wait_s)
            self._connects.take(trio.current_time())

    async def _hear(self, socket: Socket, event: Event) -> None:
        said = Said(event.name, event.args, event.ack_id is not None, partial(self._answer, event))
        wait_s = self._bucket.take(trio.current_time()) if self._bucket else 0.0
        if not wait_s:
            self._put(partial(self._handle, socket, said))
        elif self._rules.rate:
            with _contained(socket.namespace):
                socket.namespace.too_fast(socket, said, wait_s)  # now: it takes no place of those that wait
            # A flood is slowed down to the rate: what it sends beyond waits in its own socket.
            await trio.sleep(1 / self._rules.rate.per_s)

    def _put(self, job: Job) -> None:
        try:
            self._jobs.put_nowait(job)
        except trio.WouldBlock:
            log.warning("client-too-fast", waiting=self._rules.max_waiting)
            self.cut()

    # Jobs, one at a time

    async def _connect(self, wish: Connect) -> None:
        with suppress(NotConnected):  # the session has ended meanwhile
            try:
                await self._admit(wish)
            except ConnectRefused as refusal:
                self._send_packet(self.core.refused(wish.namespace, str(refusal), refusal.data))

    async def _admit(self, wish: Connect) -> None:
        namespace = self._namespaces.get(wish.namespace)
        if namespace is None:
            raise ConnectRefused(_unknown(wish.namespace))
        socket = Socket(self, namespace, secrets.token_urlsafe(SID_BYTES), wish.auth)
        await namespace.admit(socket)
        answer = self.core.connected(wish.namespace, socket.sid)
        self._sockets[wish.namespace] = socket
        namespace.add(socket)
        self._send_packet(answer)  # before anything that the handler sends
        with _contained(namespace):
            await namespace.connected(socket)

    async def _handle(self, socket: Socket, said: Said) -> None:
        with _contained(socket.namespace):
            await socket.namespace.handle(socket, said)

    def _answer(self, event: Event, *args: object) -> None:
        if event.ack_id is None or event.is_acknowledged:
            return
        try:
            self._send_packet(self.core.acknowledge(event, args))
        except NotConnected:
            return

    # What is sent

    def send(self, frames: Sequence[Frame]) -> None:
        """Frames of one packet, contiguously."""
        self.session.send(*(f if isinstance(f, bytes) else PacketType.MESSAGE + f for f in frames))

    def cut(self) -> None:
        """End the connection, with all its namespaces."""
        self.session.close(CloseReason.FORCED_CLOSE)

    def dismiss(self, socket: Socket) -> None:
        """See `Socket.disconnect`."""
        if self._sockets.get(socket.namespace.name) is socket:
            packet, left = self.core.dismiss(socket.namespace.name)
            self._send_packet(packet)
            self._left(left, LeaveReason.SERVER.value)

    def _send_packet(self, packet: Packet) -> None:
        self.send(encode(packet))

    def _left(self, left: Left, reason: str) -> None:
        socket = self._sockets.pop(left.namespace)
        socket.namespace.remove(socket)
        socket.gone()
        with _contained(socket.namespace):
            socket.namespace.disconnected(socket, reason)


@contextmanager
def _contained(namespace: Namespace) -> Iterator[None]:
    """The edge of a service: one handler failed, its connection is well."""
    try:
        yield
    except Exception as error:
        log.error("handler-failed", namespace=namespace.name, exc_info=error)


def _unknown(name: str) -> str:
    """What the client is told: exactly this, but for the one mistake that needs an explanation."""
    if name.rstrip("/") != "/socket.io":
        return "Invalid namespace"
    return (
        "Invalid namespace: what follows the host in the address is a namespace, and /socket.io is the path, "
        "which is there by itself. Use io('http://host:port')"
    )
