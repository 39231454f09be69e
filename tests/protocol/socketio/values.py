"""Packets as Hypothesis makes them up."""

from __future__ import annotations

from hypothesis import strategies as st

from penstock.protocol.socketio.packets import MAX_ACK_ID, MAX_ATTACHMENTS, RESERVED_NAMES, Packet, PacketType

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = TEXT.filter(lambda key: key != "_placeholder")
NAMES = TEXT.filter(lambda name: name not in RESERVED_NAMES) | NUMBERS
NAMESPACES = st.just("/") | st.text(st.characters(codec="utf-8", exclude_characters=",\x1e"), max_size=8).map(
    lambda rest: "/" + rest
)


def json_values(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=MAX_ATTACHMENTS,
    )


PLAIN = json_values(st.none() | st.booleans() | NUMBERS | TEXT)
WITH_BYTES = json_values(st.none() | NUMBERS | TEXT | st.binary(max_size=20))
OBJECTS = st.dictionaries(KEYS, PLAIN, max_size=4)
ACK_IDS = st.integers(0, MAX_ACK_ID)

EVENTS = st.tuples(NAMESPACES, NAMES, WITH_BYTES, st.none() | ACK_IDS).map(
    lambda drawn: Packet(PacketType.EVENT, drawn[0], [drawn[1], drawn[2]], drawn[3])
)
ACKS = st.tuples(NAMESPACES, st.lists(WITH_BYTES, max_size=1), ACK_IDS).map(
    lambda drawn: Packet(PacketType.ACK, drawn[0], drawn[1], drawn[2])
)
CONNECTS = st.tuples(NAMESPACES, st.none() | OBJECTS).map(lambda drawn: Packet(PacketType.CONNECT, *drawn))
REFUSALS = st.tuples(NAMESPACES, st.none() | OBJECTS | TEXT).map(
    lambda drawn: Packet(PacketType.CONNECT_ERROR, *drawn)
)
DISCONNECTS = NAMESPACES.map(lambda namespace: Packet(PacketType.DISCONNECT, namespace))
PACKETS = EVENTS | ACKS | CONNECTS | REFUSALS | DISCONNECTS
