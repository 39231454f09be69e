"""A connection's namespaces: joining, leaving, acks, and what ends the transport."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from penstock.protocol.socketio.packets import Packet, PacketType, SocketError, encode
from penstock.protocol.socketio.session import (
    Acked,
    Connect,
    Connection,
    Event,
    LeaveReason,
    Left,
    NotConnected,
)

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = PacketType

DEADLINE = 45.0


def new() -> Connection:
    return Connection(DEADLINE, count())


def joined(*namespaces: str) -> Connection:
    """A connection in these namespaces; the id in `/x` is `sid /x`."""
    connection = new()
    for namespace in namespaces:
        connection.receive(Packet(CONNECT, namespace))
        connection.connected(namespace, f"sid {namespace}")
    return connection


def event(connection: Connection, namespace: str = "/", ack_id: int | None = None) -> Event:
    """The client says something."""
    got = connection.receive(Packet(EVENT, namespace, ["a", 1, b"2"], ack_id))
    assert isinstance(got, Event)
    return got


# Joining


@pytest.mark.parametrize(("namespace", "text"), [("/", '0{"sid":"x"}'), ("/nsp", '0/nsp,{"sid":"x"}')])
def test_s1_s2_a_client_asks_and_is_answered_with_its_sid_alone(namespace: str, text: str) -> None:
    connection = new()
    assert connection.namespaces == []
    assert connection.receive(Packet(CONNECT, namespace)) == Connect(namespace, {})
    assert connection.namespaces == []
    assert encode(connection.connected(namespace, "x")) == [text]
    assert connection.namespaces == [namespace]


def test_s2_each_namespace_has_its_own_sid() -> None:
    connection = joined("/", "/a")
    assert event(connection, "/").sid == "sid /"
    assert event(connection, "/a").sid == "sid /a"


def test_s3_nothing_is_emitted_before_the_answer() -> None:
    connection = new()
    connection.receive(Packet(CONNECT))
    with pytest.raises(NotConnected):
        connection.emit("/", "a")
    with pytest.raises(NotConnected):
        connection.emit_with_ack("/", "a", [], 1.0)
    assert connection.next_ack_deadline is None


def test_s4_an_unknown_namespace_is_refused_and_the_connection_stays() -> None:
    connection = joined("/")
    connection.receive(Packet(CONNECT, "/random"))
    refused = connection.refused("/random", "Invalid namespace")
    assert encode(refused) == ['4/random,{"message":"Invalid namespace"}']
    assert event(connection).args == [1, b"2"]


def test_s5_a_refusal_may_carry_data_and_releases_the_namespace() -> None:
    connection = new()
    connection.receive(Packet(CONNECT))
    assert encode(connection.refused("/", "no", {"code": 1})) == ['4{"message":"no","data":{"code":1}}']
    with pytest.raises(NotConnected):
        connection.connected("/", "x")
    assert connection.receive(Packet(CONNECT, data={"a": 1})) == Connect("/", {"a": 1})  # it may ask again
    connection.connected("/", "x")


@pytest.mark.parametrize("auth", [{"token": "123", "進": [1, None]}, {}])
def test_s10_auth_as_it_was_sent(auth: dict[str, object]) -> None:
    assert new().receive(Packet(CONNECT, data=auth)) == Connect("/", auth)


def test_s10_no_auth_is_an_empty_one() -> None:
    assert new().receive(Packet(CONNECT)) == Connect("/", {})


# What ends the transport


@pytest.mark.parametrize("first", [EVENT, ACK, DISCONNECT, CONNECT_ERROR])
@pytest.mark.parametrize("connection", [new, lambda: joined("/other")], ids=["first of all", "other joined"])
def test_s6_a_packet_for_a_namespace_that_is_not_joined(
    connection: Callable[[], Connection], first: PacketType
) -> None:
    with pytest.raises(SocketError, match="not joined"):
        connection().receive(Packet(first, "/", ["a"], 1))


@pytest.mark.parametrize("then", [CONNECT, EVENT, ACK, DISCONNECT, CONNECT_ERROR])
def test_s6_a_packet_while_connecting(then: PacketType) -> None:
    connection = new()
    connection.receive(Packet(CONNECT))
    with pytest.raises(SocketError, match="connecting"):
        connection.receive(Packet(then, "/", {} if then is CONNECT else ["a"], 1))


@pytest.mark.parametrize("then", [CONNECT, CONNECT_ERROR])
def test_s6_a_second_connect_and_a_refusal_by_the_client(then: PacketType) -> None:
    with pytest.raises(SocketError, match="connected"):
        joined("/").receive(Packet(then))


def test_s6_a_namespace_that_was_refused_is_not_joined() -> None:
    connection = new()
    connection.receive(Packet(CONNECT))
    connection.refused("/", "no")
    with pytest.raises(SocketError, match="not joined"):
        connection.receive(Packet(EVENT, data=["a"]))


def test_s7_some_namespace_must_be_joined_in_time() -> None:
    connection = new()
    connection.receive(Packet(CONNECT, "/a"))
    connection.receive(Packet(CONNECT, "/b"))
    connection.refused("/a", "no")
    before = connection.connect_deadline
    assert before == DEADLINE
    connection.connected("/b", "x")
    assert connection.connect_deadline is None
    connection.receive(Packet(DISCONNECT, "/b"))
    assert connection.connect_deadline is None  # as in the Node server: once is enough


# Leaving


@pytest.mark.parametrize("leaves", ["/", "/custom"])
def test_s8_a_client_leaves_one_namespace_and_stays_in_the_others(leaves: str) -> None:
    connection = joined("/", "/custom", "/third")
    assert connection.receive(Packet(DISCONNECT, leaves)) == Left(leaves, f"sid {leaves}", [])
    assert connection.namespaces == [name for name in ("/", "/custom", "/third") if name != leaves]
    assert event(connection, "/third").sid == "sid /third"
    with pytest.raises(NotConnected):
        connection.emit(leaves, "a")
    with pytest.raises(SocketError, match="not joined"):
        connection.receive(Packet(EVENT, leaves, ["a"]))


def test_s8_who_has_left_may_join_again() -> None:
    connection = joined("/")
    connection.receive(Packet(DISCONNECT))
    assert connection.receive(Packet(CONNECT)) == Connect("/", {})
    connection.connected("/", "new")
    assert event(connection).sid == "new"


@pytest.mark.parametrize(("namespace", "text"), [("/", "1"), ("/custom", "1/custom,")])
def test_s9_a_client_is_sent_away(namespace: str, text: str) -> None:
    connection = joined("/", "/custom")
    packet, left = connection.dismiss(namespace)
    assert encode(packet) == [text]
    assert left == Left(namespace, f"sid {namespace}", [])
    assert namespace not in connection.namespaces
    for call in (lambda: connection.dismiss(namespace), lambda: connection.emit(namespace, "a")):
        with pytest.raises(NotConnected):
            call()


def test_s9_what_was_on_its_way_when_it_was_sent_away_ends_nothing() -> None:
    connection = joined("/", "/other")
    connection.dismiss("/")
    assert connection.receive(Packet(EVENT, data=["a"], ack_id=1)) is None
    assert connection.receive(Packet(ACK, data=[], ack_id=1)) is None
    assert connection.receive(Packet(DISCONNECT)) is None
    assert event(connection, "/other").name == "a"
    with pytest.raises(SocketError, match="not joined"):
        connection.receive(Packet(EVENT, data=["a"]))  # both have said goodbye


def test_s9_who_was_sent_away_may_join_again() -> None:
    connection = joined("/")
    connection.dismiss("/")
    assert connection.receive(Packet(CONNECT)) == Connect("/", {})
    with pytest.raises(SocketError):
        connection.receive(Packet(EVENT, data=["a"]))


def test_s9_a_client_that_was_sent_away_cannot_refuse() -> None:
    connection = joined("/")
    connection.dismiss("/")
    with pytest.raises(SocketError, match="dismissed"):
        connection.receive(Packet(CONNECT_ERROR))


def test_s16_reasons_are_those_of_the_node_server() -> None:
    assert [*LeaveReason] == ["client namespace disconnect", "server namespace disconnect"]


def test_a_closed_transport_leaves_all_that_was_joined() -> None:
    connection = joined("/", "/a", "/b")
    connection.receive(Packet(CONNECT, "/connecting"))
    connection.dismiss("/b")
    _, ack_id = connection.emit_with_ack("/a", "x", [], 9.0)
    assert connection.close() == [Left("/", "sid /", []), Left("/a", "sid /a", [ack_id])]
    assert connection.namespaces == []
    assert connection.next_ack_deadline is None
    for namespace in ("/", "/a", "/b", "/connecting"):
        with pytest.raises(NotConnected):
            connection.emit(namespace, "a")
    with pytest.raises(NotConnected):
        connection.connected("/connecting", "x")
    assert connection.close() == []


# Events and acks


def test_events_in_both_directions() -> None:
    connection = joined("/", "/a")
    assert event(connection, "/a") == Event("/a", "sid /a", "a", [1, b"2"])
    assert connection.receive(Packet(EVENT, "/", [7.5])) == Event("/", "sid /", 7.5, [])
    assert connection.emit("/a", "b", (1, b"2")) == Packet(EVENT, "/a", ["b", 1, b"2"])
    assert encode(connection.emit("/", "b")) == ['2["b"]']


@pytest.mark.parametrize("namespace", ["/", "/a"])
@pytest.mark.parametrize("args", [[], ["ok", {"b": b"1"}]])
def test_s11_an_answer_has_the_same_id_and_namespace(namespace: str, args: list[object]) -> None:
    connection = joined("/", "/a")
    asked = event(connection, namespace, ack_id=0)
    assert connection.acknowledge(asked, args) == Packet(ACK, namespace, args, 0)


def test_s11_an_event_is_answered_at_most_once_and_only_if_it_asks() -> None:
    connection = joined("/")
    asked = event(connection, ack_id=5)
    connection.acknowledge(asked)
    for again in (asked, event(connection)):
        with pytest.raises(ValueError, match="answer"):
            connection.acknowledge(again)
    assert encode(connection.acknowledge(event(connection, ack_id=5))) == [
        "35[]"
    ]  # ids are the client's affair


def test_s11_no_answer_to_who_has_left_or_come_anew() -> None:
    connection = joined("/")
    asked = event(connection, ack_id=5)
    connection.receive(Packet(DISCONNECT))
    with pytest.raises(NotConnected):
        connection.acknowledge(asked)
    connection.receive(Packet(CONNECT))
    with pytest.raises(NotConnected):
        connection.acknowledge(asked)
    connection.connected("/", "another")
    with pytest.raises(NotConnected):
        connection.acknowledge(asked)


def test_s11_a_client_answers_with_the_id_of_the_event() -> None:
    connection = joined("/", "/a")
    packet, first = connection.emit_with_ack("/", "x", [1], deadline=9.0)
    assert packet == Packet(EVENT, "/", ["x", 1], first)
    _, second = connection.emit_with_ack("/a", "x", [], deadline=5.0)
    assert first != second
    assert connection.next_ack_deadline == 5.0
    assert connection.receive(Packet(ACK, "/a", ["ok", b"1"], second)) == Acked("/a", second, ["ok", b"1"])
    assert connection.next_ack_deadline == 9.0
    assert connection.receive(Packet(ACK, "/", [], first)) == Acked("/", first, [])
    assert connection.next_ack_deadline is None


def test_s11_an_ack_that_is_late_is_not_waited_for() -> None:
    connection = joined("/", "/a")
    first, second, third = (
        connection.emit_with_ack(namespace, "x", [], deadline)[1]
        for namespace, deadline in (("/", 5.0), ("/", 6.0), ("/a", 5.0))
    )
    assert connection.expire_acks(4.9) == []
    assert connection.expire_acks(5.0) == [first, third]
    assert connection.next_ack_deadline == 6.0
    assert connection.receive(Packet(ACK, "/", [], first)) is None
    assert connection.receive(Packet(ACK, "/", [], second)) == Acked("/", second, [])
    assert connection.expire_acks(99.0) == []


@pytest.mark.parametrize("leave", ["client", "server"])
def test_s11_acks_are_dropped_when_the_client_leaves(leave: str) -> None:
    connection = joined("/", "/a")
    gone = [connection.emit_with_ack("/", "x", [], 5.0)[1] for _ in range(2)]
    connection.emit_with_ack("/a", "x", [], 6.0)
    left = connection.receive(Packet(DISCONNECT)) if leave == "client" else connection.dismiss("/")[1]
    assert left == Left("/", "sid /", gone)
    assert connection.next_ack_deadline == 6.0
    connection.receive(Packet(CONNECT))
    connection.connected("/", "new")
    assert connection.receive(Packet(ACK, "/", [], gone[0])) is None  # JavaScript's clients do send it
    assert connection.emit_with_ack("/", "x", [], 5.0)[1] not in gone


def test_s12_unknown_and_second_acks_and_those_from_elsewhere_are_ignored() -> None:
    connection = joined("/", "/a")
    _, ack_id = connection.emit_with_ack("/", "x", [], 5.0)
    assert connection.receive(Packet(ACK, "/", [], 10**6)) is None
    assert connection.receive(Packet(ACK, "/a", [], ack_id)) is None
    assert connection.receive(Packet(ACK, "/", [1], ack_id)) == Acked("/", ack_id, [1])
    assert connection.receive(Packet(ACK, "/", [2], ack_id)) is None


def test_s12_an_ack_of_an_event_from_before_a_reconnect_is_ignored() -> None:
    ids = count()
    before, after = Connection(DEADLINE, ids), Connection(DEADLINE, ids)
    for connection in (before, after):
        connection.receive(Packet(CONNECT))
        connection.connected("/", "x")
    _, old = before.emit_with_ack("/", "x", [], 5.0)
    after.emit_with_ack("/", "y", [], 5.0)
    assert after.receive(Packet(ACK, "/", [], old)) is None
