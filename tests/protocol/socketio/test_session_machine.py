"""A connection against a model of it: client and server do anything in any order."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.protocol.socketio.packets import Packet, PacketType, SocketError
from penstock.protocol.socketio.session import Acked, Connect, Connection, Event, Left, NotConnected

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = PacketType


class Namespaces(RuleBasedStateMachine):
    """The model: a stage and a sid per namespace, the acks that are awaited, the questions that came."""

    NAMES = st.sampled_from(["/", "/a", "/b"])

    def __init__(self) -> None:
        super().__init__()
        self.connection = Connection(45.0, count())
        self.stage: dict[str, str] = {}
        self.sids: dict[str, str] = {}
        self.awaited: dict[tuple[str, int], float] = {}
        self.used: set[int] = set()
        self.questions: list[Event] = []
        self.sid_numbers = count()
        self.ever = False

    def is_in(self, namespace: str, *stages: str) -> bool:
        return self.stage.get(namespace, "absent") in stages

    def forget(self, namespace: str, left: object) -> None:
        gone = [ack_id for name, ack_id in self.awaited if name == namespace]
        assert left == Left(namespace, self.sids.pop(namespace), gone)
        for ack_id in gone:
            del self.awaited[namespace, ack_id]

    @rule(
        namespace=NAMES,
        kind=st.sampled_from([CONNECT, EVENT, ACK, DISCONNECT, CONNECT_ERROR]),
        ack_id=st.integers(0, 9),
    )
    def client(self, namespace: str, kind: PacketType, ack_id: int) -> None:  # fmt: skip
        packet = Packet(kind, namespace, ["x"] if kind in (EVENT, ACK) else None, ack_id)
        allowed = {"absent": {CONNECT}, "connected": {EVENT, ACK, DISCONNECT}, "connecting": set()}
        allowed["dismissed"] = {CONNECT, EVENT, ACK, DISCONNECT}
        if kind not in allowed[self.stage.get(namespace, "absent")]:
            with pytest.raises(SocketError):
                self.connection.receive(packet)
            return
        got = self.connection.receive(packet)
        if kind is CONNECT:
            assert got == Connect(namespace, {})
            self.stage[namespace] = "connecting"
        elif self.is_in(namespace, "dismissed"):
            assert got is None
            if kind is DISCONNECT:
                self.stage[namespace] = "absent"
        elif kind is EVENT:
            assert got == Event(namespace, self.sids[namespace], "x", [], ack_id)
            assert isinstance(got, Event)
            self.questions.append(got)
        elif kind is ACK:
            awaited = self.awaited.pop((namespace, ack_id), None) is not None
            assert got == (Acked(namespace, ack_id, ["x"]) if awaited else None)
        else:
            self.forget(namespace, got)
            self.stage[namespace] = "absent"

    @rule(namespace=NAMES, welcome=st.booleans())
    def answer(self, namespace: str, welcome: bool) -> None:
        sid = f"sid {next(self.sid_numbers)}"
        if not self.is_in(namespace, "connecting"):
            with pytest.raises(NotConnected):
                self.connection.connected(namespace, sid)
            with pytest.raises(NotConnected):
                self.connection.refused(namespace, "no")
        elif welcome:
            assert self.connection.connected(namespace, sid).data == {"sid": sid}
            self.stage[namespace], self.sids[namespace], self.ever = "connected", sid, True
        else:
            assert self.connection.refused(namespace, "no").data == {"message": "no"}
            self.stage[namespace] = "absent"

    @rule(namespace=NAMES, deadline=st.none() | st.integers(0, 20))
    def emit(self, namespace: str, deadline: int | None) -> None:
        if not self.is_in(namespace, "connected"):
            with pytest.raises(NotConnected):
                self.connection.emit(namespace, "x")
        elif deadline is None:
            assert self.connection.emit(namespace, "x", [1]) == Packet(EVENT, namespace, ["x", 1])
        else:
            packet, ack_id = self.connection.emit_with_ack(namespace, "x", [1], deadline)
            assert packet == Packet(EVENT, namespace, ["x", 1], ack_id)
            assert ack_id not in self.used
            self.used.add(ack_id)
            self.awaited[namespace, ack_id] = deadline

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        if not self.questions:
            return
        question = data.draw(st.sampled_from(self.questions))
        if question.is_acknowledged:
            with pytest.raises(ValueError, match="answer"):
                self.connection.acknowledge(question)
        elif self.sids.get(question.namespace) != question.sid:
            with pytest.raises(NotConnected):
                self.connection.acknowledge(question)
        else:
            packet = self.connection.acknowledge(question)
            assert packet == Packet(ACK, question.namespace, [], question.ack_id)

    @rule(namespace=NAMES)
    def dismiss(self, namespace: str) -> None:
        if not self.is_in(namespace, "connected"):
            with pytest.raises(NotConnected):
                self.connection.dismiss(namespace)
            return
        packet, left = self.connection.dismiss(namespace)
        assert packet == Packet(DISCONNECT, namespace)
        self.forget(namespace, left)
        self.stage[namespace] = "dismissed"

    @rule(now=st.integers(0, 20))
    def expire(self, now: int) -> None:
        late = sorted(ack_id for (_, ack_id), deadline in self.awaited.items() if deadline <= now)
        assert sorted(self.connection.expire_acks(now)) == late
        self.awaited = {key: deadline for key, deadline in self.awaited.items() if deadline > now}

    @invariant()
    def agrees(self) -> None:
        assert sorted(self.connection.namespaces) == sorted(self.sids)
        assert self.connection.next_ack_deadline == min(self.awaited.values(), default=None)
        assert (self.connection.connect_deadline is None) is self.ever

    def teardown(self) -> None:
        for left in self.connection.close():
            self.forget(left.namespace, left)
        assert not self.sids
        assert not self.awaited


TestNamespaces = Namespaces.TestCase
TestNamespaces.settings = settings(max_examples=60, stateful_step_count=40)
