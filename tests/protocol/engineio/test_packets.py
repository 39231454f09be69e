"""Packets and payloads ↔ frames."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.engineio.packets import (
    SEPARATOR,
    EngineError,
    Frame,
    Packet,
    PacketType,
    as_text,
    decode,
    decode_payload,
    encode,
    encode_payload,
    text_bytes,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SEPARATOR))
PACKETS = st.one_of(
    st.builds(Packet, st.sampled_from(PacketType), TEXT),
    st.builds(Packet, st.just(PacketType.MESSAGE), st.binary()),
)


@pytest.mark.parametrize("kind", PacketType)
def test_one_digit_and_the_data(kind: PacketType) -> None:
    assert encode(Packet(kind, "data")) == kind.value + "data"
    assert decode(kind.value + "data") == Packet(kind, "data")
    assert decode(kind.value) == Packet(kind)


def test_binary_is_a_message_without_type() -> None:
    assert encode(Packet(PacketType.MESSAGE, b"4x")) == b"4x"
    assert decode(b"4x") == Packet(PacketType.MESSAGE, b"4x")
    assert decode("bNHg=") == Packet(PacketType.MESSAGE, b"4x")
    assert as_text(b"4x") == "bNHg="


@pytest.mark.parametrize("frame", ["", "7", "a", "B", "-1", " 4", "４", "٤", "\x004", "10x"[::-1]])
def test_other_types_are_none(frame: str) -> None:
    with pytest.raises(EngineError):
        decode(frame)


@pytest.mark.parametrize(
    "text", ["b=", "bA", "bAQI", "bAQIDBA=", "bAQ==ID", "bAQID\n", "b-_-_", "bAQIDé", "b AQID"]
)
def test_base64_is_taken_strictly(text: str) -> None:
    with pytest.raises(EngineError):
        decode(text)


def test_a_bad_packet_is_found_when_it_is_reached() -> None:
    packets = decode_payload("4a\x1ebAQID\x1ex\x1e4b")
    assert next(packets) == Packet(PacketType.MESSAGE, "a")
    assert next(packets) == Packet(PacketType.MESSAGE, b"\x01\x02\x03")
    with pytest.raises(EngineError):
        next(packets)
    assert next(packets, None) is None


@pytest.mark.parametrize("body", ["", "\x1e", "4a\x1e", "\x1e4a", "4a\x1e\x1e4b"])
def test_an_empty_packet_is_none(body: str) -> None:
    with pytest.raises(EngineError):
        list(decode_payload(body))


@given(st.lists(PACKETS, min_size=1))
def test_a_payload_comes_back(packets: list[Packet]) -> None:
    assert list(decode_payload(encode_payload(map(encode, packets)))) == packets


@given(st.lists(PACKETS, min_size=1))
def test_a_payload_is_not_longer_than_was_counted(packets: list[Packet]) -> None:
    frames = [encode(packet) for packet in packets]
    size = len(encode_payload(frames).encode())
    assert size <= sum(map(text_bytes, frames)) <= size + 5 * len(frames)


@given(st.text() | st.binary())
def test_any_frame_is_a_packet_or_an_error(frame: Frame) -> None:
    try:
        packet = decode(frame)
    except EngineError:
        return
    if isinstance(frame, str) and isinstance(packet.data, bytes):
        assert base64.b64decode(frame[1:]) == packet.data
    else:
        assert encode(packet) == frame


@given(st.text())
def test_any_body_is_packets_or_an_error(body: str) -> None:
    try:
        packets = list(decode_payload(body))
    except EngineError:
        return
    assert len(packets) == body.count(SEPARATOR) + 1
