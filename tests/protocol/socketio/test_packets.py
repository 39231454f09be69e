"""Packets → frames: as the protocol writes them, and nothing that a peer could not read."""

from __future__ import annotations

import math

import msgspec
import pytest

from penstock.protocol.engineio.packets import Frame
from penstock.protocol.engineio.packets import Packet as EnginePacket
from penstock.protocol.engineio.packets import PacketType as EngineType
from penstock.protocol.engineio.packets import encode as encode_for_engine
from penstock.protocol.socketio.packets import (
    MAX_ACK_ID,
    MAX_ATTACHMENTS,
    MAX_DEPTH,
    RESERVED_NAMES,
    Packet,
    PacketType,
    encode,
    event_text,
)

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = PacketType


def nested(levels: int) -> object:
    value: object = "bottom"
    for level in range(levels):
        value = [value] if level % 2 else {"down": value}
    return value


@pytest.mark.parametrize(
    ("packet", "frames"),
    [
        # The protocol's own examples, without Engine.IO's 4.
        (Packet(CONNECT, data={"sid": "oSO0OpakMV_3jnilAAAA"}), ['0{"sid":"oSO0OpakMV_3jnilAAAA"}']),
        (Packet(CONNECT, "/admin", {"sid": "oSO0"}), ['0/admin,{"sid":"oSO0"}']),
        (Packet(CONNECT_ERROR, data={"message": "Not authorized"}), ['4{"message":"Not authorized"}']),
        (Packet(EVENT, data=["foo"]), ['2["foo"]']),
        (Packet(EVENT, "/admin", ["bar"]), ['2/admin,["bar"]']),
        (Packet(EVENT, data=["foo"], ack_id=12), ['212["foo"]']),
        (Packet(ACK, "/admin", ["bar"], 13), ['3/admin,13["bar"]']),
        (Packet(DISCONNECT, "/admin"), ["1/admin,"]),
        (
            Packet(EVENT, data=["baz", b"\1\2\3\4"]),
            ['51-["baz",{"_placeholder":true,"num":0}]', b"\1\2\3\4"],
        ),
        (
            Packet(EVENT, "/admin", ["baz", b"\1", b"\2"], 15),
            ['52-/admin,15["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', b"\1", b"\2"],
        ),
        (Packet(ACK, data=["bar", b"\1"], ack_id=15), ['61-15["bar",{"_placeholder":true,"num":0}]', b"\1"]),
        # And what they leave open.
        (Packet(DISCONNECT), ["1"]),
        (Packet(CONNECT), ["0"]),
        (Packet(ACK, data=[], ack_id=0), ["30[]"]),
        (Packet(EVENT, data=[1, None]), ["2[1,null]"]),
        (Packet(EVENT, data=["a", ({"b": b""},)]), ['51-["a",[{"b":{"_placeholder":true,"num":0}}]]', b""]),
        (Packet(EVENT, data=["error"]), ['2["error"]']),  # not reserved
    ],
    ids=str,
)
def test_e1_e2_e3_e4_frames(packet: Packet, frames: list[Frame]) -> None:
    assert encode(packet) == frames


def test_e8_utf8_is_not_escaped_but_the_separator_of_polling_bodies_is() -> None:
    assert encode(Packet(EVENT, data=["进度 é 😀", "\x1e"])) == ['2["进度 é 😀","\\u001e"]']


def test_e9_a_whole_packet_is_one_list_its_text_first() -> None:
    text, *attachments = encode(Packet(EVENT, data=["a", b"1", [b"2", {"x": b"3"}]]))
    assert isinstance(text, str)
    assert attachments == [b"1", b"2", b"3"]


def test_e10_no_binary_packet_without_attachments() -> None:
    for kind in (BINARY_EVENT, BINARY_ACK):
        with pytest.raises(ValueError, match="BINARY_EVENT and BINARY_ACK are how"):
            encode(Packet(kind, data=["a"], ack_id=1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_e8_no_nan_and_no_infinities(value: float) -> None:
    with pytest.raises(ValueError, match="no NaN"):
        encode(Packet(EVENT, data=["a", {"deep": [value]}]))


def test_e8_depth() -> None:
    inside = nested(MAX_DEPTH - 1)
    assert len(encode(Packet(EVENT, data=["a", inside]))) == 1
    with pytest.raises(ValueError, match="levels"):
        encode(Packet(EVENT, data=["a", [inside]]))


def test_e8_a_value_in_itself_is_too_deep() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="levels"):
        encode(Packet(EVENT, data=["a", endless]))


def test_e3_attachments_are_counted() -> None:
    assert len(encode(Packet(EVENT, data=["a", *[b""] * MAX_ATTACHMENTS]))) == 1 + MAX_ATTACHMENTS
    with pytest.raises(ValueError, match="attachments"):
        encode(Packet(EVENT, data=["a", *[b""] * (MAX_ATTACHMENTS + 1)]))


def test_e4_data_beside_attachments_that_looks_like_a_placeholder() -> None:
    lookalike = {"_placeholder": True, "num": 7}
    assert len(encode(Packet(EVENT, data=["a", lookalike]))) == 1  # nobody takes it for one here
    assert len(encode(Packet(EVENT, data=["a", {"_placeholder": 1, "num": 7}, b""]))) == 2  # nor this
    for data in (["a", lookalike, b""], ["a", b"", [{"x": lookalike}]]):
        with pytest.raises(ValueError, match="placeholder"):
            encode(Packet(EVENT, data=data))


@pytest.mark.parametrize(
    "packet",
    [
        Packet(CONNECT, data=["sid"]),
        Packet(CONNECT, data="sid"),
        Packet(CONNECT, data={"sid": b""}),
        Packet(CONNECT, ack_id=1),
        Packet(DISCONNECT, data={}),
        Packet(DISCONNECT, data=[]),
        Packet(DISCONNECT, ack_id=1),
        Packet(CONNECT_ERROR, data=[]),
        Packet(CONNECT_ERROR, data=1),
        Packet(CONNECT_ERROR, data={"message": b""}),
        Packet(CONNECT_ERROR, ack_id=1),
        Packet(EVENT),
        Packet(EVENT, data=[]),
        Packet(EVENT, data={}),
        Packet(EVENT, data="foo"),
        Packet(EVENT, data=[None]),
        Packet(EVENT, data=[True]),
        Packet(EVENT, data=[["a"]]),
        Packet(EVENT, data=[b"a"]),
        Packet(EVENT, data=["a"], ack_id=-1),
        Packet(EVENT, data=["a"], ack_id=MAX_ACK_ID + 1),
        Packet(EVENT, data=["a", {1: 2}]),
        Packet(EVENT, data=["a", {1, 2}]),
        Packet(EVENT, data=["a", bytearray(b"b")]),
        Packet(EVENT, data=["a", "\ud800"]),
        Packet(EVENT, data=["a", {"\ud800": 1}]),
        Packet(EVENT, "admin", ["a"]),
        Packet(EVENT, "", ["a"]),
        Packet(EVENT, "/a,b", ["a"]),
        Packet(EVENT, "/a\x1eb", ["a"]),
        Packet(ACK, ack_id=1),
        Packet(ACK, data=[]),
        Packet(ACK, data={}, ack_id=1),
        Packet(ACK, data=[], ack_id=-1),
        *(Packet(EVENT, data=[name]) for name in sorted(RESERVED_NAMES)),
    ],
    ids=str,
)
def test_e5_e6_e7_what_is_refused(packet: Packet) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each has another message
        encode(packet)


def test_e7_the_largest_ack_id() -> None:
    assert encode(Packet(EVENT, data=["a"], ack_id=MAX_ACK_ID)) == [f'2{2**53 - 1}["a"]']


@pytest.mark.parametrize("namespace", ["/", "/custom"])
@pytest.mark.parametrize("name", ["upload-progress", 'quote " and é'])
def test_an_encoded_event_is_the_same_as_one_encoded_here(namespace: str, name: str) -> None:
    payload = {"sessionId": "s", "进度": [1, 2.5, None]}
    assert [event_text(name, msgspec.json.encode(payload), namespace)] == encode(
        Packet(EVENT, namespace, [name, payload])
    )


def test_an_encoded_event_is_checked_but_for_its_payload() -> None:
    for name, namespace in (("disconnect", "/"), ("a", "b"), ("a", "/b,c"), ("\ud800", "/")):
        with pytest.raises(ValueError):  # noqa: PT011  # each has another message
            event_text(name, b"{}", namespace)


def test_engine_io_puts_its_type_before_texts_only() -> None:
    frames = encode(Packet(EVENT, data=["a", b"\0"]))
    assert [encode_for_engine(EnginePacket(EngineType.MESSAGE, frame)) for frame in frames] == [
        '451-["a",{"_placeholder":true,"num":0}]',
        b"\0",
    ]
