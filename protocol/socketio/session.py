"""One connection's namespaces: which the client has joined, what its packets mean, which acks are awaited.

No clock, no randomness and no sockets here: `now` and deadlines are seconds of one clock, ids are arguments.
Nothing is joined by itself: a client asks for each namespace with CONNECT, and the server answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, StrEnum, auto

import msgspec

from penstock.protocol.socketio.packets import Packet, PacketType, SocketError


class LeaveReason(StrEnum):
    """Why a namespace ended while its connection lives, as the Node server names it; the other reasons are
    those of the connection (`protocol.engineio.session.CloseReason`)."""

    CLIENT = "client namespace disconnect"
    SERVER = "server namespace disconnect"


class NotConnected(Exception):
    """The namespace is not in the state for it: mostly the client has left meanwhile."""


class Connect(msgspec.Struct, frozen=True):
    """The client wants to join; to be answered with `connected` or `refused`."""

    namespace: str
    auth: Mapping[str, object]


class Event(msgspec.Struct):
    """The client says something. With an `ack_id` it wants an answer, from `acknowledge`."""

    namespace: str
    sid: str
    name: str | float
    args: list[object]
    ack_id: int | None = None
    is_acknowledged: bool = False


class Acked(msgspec.Struct, frozen=True):
    """The client has answered the event whose `emit_with_ack` gave that id."""

    namespace: str
    ack_id: int
    args: list[object]


class Left(msgspec.Struct, frozen=True):
    """The client has left, or was sent away; the acks of `unanswered` will not come any more."""

    namespace: str
    sid: str
    unanswered: list[int]


class _Stage(Enum):
    CONNECTING = auto()
    CONNECTED = auto()
    DISMISSED = auto()  # by the server; the client may not have read it yet


class _Membership(msgspec.Struct):
    """Of the connection in a namespace it has asked for."""

    stage: _Stage = _Stage.CONNECTING
    sid: str = ""
    ack_deadlines: dict[int, float] = {}


class Connection:
    """What comes from the client goes through `receive`; what is sent to it comes from the other methods."""

    def __init__(self, connect_deadline: float, ack_ids: Iterator[int]) -> None:
        """`connect_deadline`: until then some namespace must have been joined.

        `ack_ids`: 0, 1, 2 …, one for all connections of a server: a client answers an event from before a
        reconnect on its new connection, where its id must not mean another.
        """
        self.connect_deadline: float | None = connect_deadline  # None: met
        self._ack_ids = ack_ids
        self._memberships: dict[str, _Membership] = {}

    def receive(self, packet: Packet) -> Connect | Event | Acked | Left | None:
        """What a packet means; None: nothing. Raises: SocketError, and the transport is to be closed."""
        membership = self._memberships.get(packet.namespace)
        match packet.type, membership and membership.stage:
            case PacketType.CONNECT, None | _Stage.DISMISSED:
                return self._ask(packet)
            case PacketType.EVENT, _Stage.CONNECTED:
                return self._event(packet)
            case PacketType.ACK, _Stage.CONNECTED:
                return self._ack(packet)
            case PacketType.DISCONNECT, _Stage.CONNECTED:
                return self._end(packet.namespace)
            case PacketType.EVENT | PacketType.ACK, _Stage.DISMISSED:
                return None  # on its way when we sent it away; Node's server closes the transport for it
            case PacketType.DISCONNECT, _Stage.DISMISSED:
                del self._memberships[packet.namespace]
                return None
        # Also for a CONNECT_ERROR, which Node's decoder lets pass and its server closes the transport for.
        raise SocketError(f"{packet.type.name} for a namespace that is {_stage_name(membership)}")

    def _ask(self, packet: Packet) -> Connect:
        assert packet.data is None or isinstance(packet.data, dict)
        self._memberships[packet.namespace] = _Membership()
        return Connect(packet.namespace, packet.data or {})

    def _event(self, packet: Packet) -> Event:
        assert isinstance(packet.data, list)
        name, *args = packet.data
        return Event(packet.namespace, self._memberships[packet.namespace].sid, name, args, packet.ack_id)

    def _ack(self, packet: Packet) -> Acked | None:
        """None for one that is not awaited: late, a second one, or made up."""
        assert isinstance(packet.data, list)
        assert packet.ack_id is not None
        awaited = self._memberships[packet.namespace].ack_deadlines.pop(packet.ack_id, None)
        return None if awaited is None else Acked(packet.namespace, packet.ack_id, packet.data)

    # Joining and leaving

    def connected(self, namespace: str, sid: str) -> Packet:
        """The client is let in; `sid` is new, no Engine.IO id. Raises: NotConnected, if it has not asked."""
        membership = self._membership(namespace, _Stage.CONNECTING)
        membership.stage = _Stage.CONNECTED
        membership.sid = sid
        self.connect_deadline = None
        return Packet(PacketType.CONNECT, namespace, {"sid": sid})

    def refused(self, namespace: str, message: str, data: object = None) -> Packet:
        """The client is not let in, and may ask again. Raises: NotConnected, if it has not asked."""
        self._membership(namespace, _Stage.CONNECTING)
        del self._memberships[namespace]
        reason = {"message": message} if data is None else {"message": message, "data": data}
        return Packet(PacketType.CONNECT_ERROR, namespace, reason)

    def dismiss(self, namespace: str) -> tuple[Packet, Left]:
        """Send the client away: JavaScript's does not come back by itself then. Raises: NotConnected."""
        left = self._end(namespace)
        self._memberships[namespace] = _Membership(_Stage.DISMISSED)
        return Packet(PacketType.DISCONNECT, namespace), left

    def close(self) -> list[Left]:
        """The transport is gone: the client leaves all it has joined."""
        left = [self._end(namespace) for namespace in self.namespaces]
        self._memberships.clear()
        return left

    @property
    def namespaces(self) -> list[str]:
        """Those that are connected."""
        return [
            name for name, membership in self._memberships.items() if membership.stage is _Stage.CONNECTED
        ]

    # Events and acks

    def emit(self, namespace: str, name: str, args: Sequence[object] = ()) -> Packet:
        """An event for the client. Raises: NotConnected, also before `connected`: its answer comes first."""
        self._membership(namespace, _Stage.CONNECTED)
        return Packet(PacketType.EVENT, namespace, [name, *args])

    def emit_with_ack(
        self, namespace: str, name: str, args: Sequence[object], deadline: float
    ) -> tuple[Packet, int]:
        """An event that the client is to answer, and its ack id: it comes back once, in an `Acked`, from
        `expire_acks` or in a `Left`. Raises: NotConnected."""
        membership = self._membership(namespace, _Stage.CONNECTED)
        ack_id = next(self._ack_ids)
        membership.ack_deadlines[ack_id] = deadline
        return Packet(PacketType.EVENT, namespace, [name, *args], ack_id), ack_id

    def acknowledge(self, event: Event, args: Sequence[object] = ()) -> Packet:
        """The answer to an event. Raises: NotConnected, also if the client has joined anew since;
        ValueError, if it wants none or was answered already."""
        if event.ack_id is None or event.is_acknowledged:
            raise ValueError("no answer is wanted, or not another one")
        if self._membership(event.namespace, _Stage.CONNECTED).sid != event.sid:
            raise NotConnected(event.namespace)
        event.is_acknowledged = True
        return Packet(PacketType.ACK, event.namespace, list(args), event.ack_id)

    @property
    def next_ack_deadline(self) -> float | None:
        """When `expire_acks` has something to do."""
        deadlines = (due for joined in self._memberships.values() for due in joined.ack_deadlines.values())
        return min(deadlines, default=None)

    def expire_acks(self, now: float) -> list[int]:
        """The acks that are not waited for any longer."""
        expired: list[int] = []
        for membership in self._memberships.values():
            late = [ack_id for ack_id, due in membership.ack_deadlines.items() if due <= now]
            for ack_id in late:
                del membership.ack_deadlines[ack_id]
            expired += late
        return expired

    def _membership(self, namespace: str, stage: _Stage) -> _Membership:
        membership = self._memberships.get(namespace)
        if membership is None or membership.stage is not stage:
            raise NotConnected(f"{namespace} is {_stage_name(membership)}")
        return membership

    def _end(self, namespace: str) -> Left:
        membership = self._membership(namespace, _Stage.CONNECTED)
        del self._memberships[namespace]
        return Left(namespace, membership.sid, list(membership.ack_deadlines))


def _stage_name(membership: _Membership | None) -> str:
    return "not joined" if membership is None else membership.stage.name.lower()
