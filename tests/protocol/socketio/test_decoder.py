"""Frames → packets: the protocol's examples, everything that is refused, and the promise under Hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.engineio.packets import Frame
from penstock.protocol.socketio.decoder import Decoder
from penstock.protocol.socketio.packets import (
    MAX_ACK_ID,
    MAX_DEPTH,
    RESERVED_NAMES,
    Packet,
    PacketType,
    SocketError,
    encode,
)
from tests.protocol.socketio.values import PACKETS

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = PacketType

MAX_BYTES = 1_000_000


def hole(number: object) -> str:
    """A placeholder."""
    return f'{{"_placeholder":true,"num":{number}}}'


def decode(*frames: Frame) -> Packet:
    """The one packet of these frames, which it ends with the last of."""
    decoder = Decoder(MAX_BYTES)
    for frame in frames[:-1]:
        assert decoder.feed(frame) is None
    packet = decoder.feed(frames[-1])
    assert packet is not None
    return packet


def refusal(*frames: Frame) -> str:
    """The last of these frames is refused; why."""
    decoder = Decoder(MAX_BYTES)
    for frame in frames[:-1]:
        decoder.feed(frame)
    with pytest.raises(SocketError) as caught:
        decoder.feed(frames[-1])
    assert len(str(caught.value)) < 200
    assert str(caught.value).encode()
    with pytest.raises(SocketError, match="what came before"):
        decoder.feed('2["a"]')  # it does not recover
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0", Packet(CONNECT)),
        ('0{"token":"123"}', Packet(CONNECT, data={"token": "123"})),
        ("0{}", Packet(CONNECT, data={})),
        ("0/custom", Packet(CONNECT, "/custom")),  # E2: with the comma and without
        ("0/custom,", Packet(CONNECT, "/custom")),
        ('0/custom,{"a":1}', Packet(CONNECT, "/custom", {"a": 1})),
        ("0/", Packet(CONNECT)),
        ("0/,", Packet(CONNECT)),
        ("0/a?b=c&d=/e", Packet(CONNECT, "/a?b=c&d=/e")),  # up to the comma, as in the Node parser
        ("0/socket.io,", Packet(CONNECT, "/socket.io")),
        ("0/进度\n,", Packet(CONNECT, "/进度\n")),
        ('0/{"a":1}', Packet(CONNECT, '/{"a":1}')),
        ("1", Packet(DISCONNECT)),
        ("1/custom", Packet(DISCONNECT, "/custom")),
        ("1/custom,", Packet(DISCONNECT, "/custom")),
        ('2["foo"]', Packet(EVENT, data=["foo"])),
        ('2[""]', Packet(EVENT, data=[""])),
        ('2[0,"a"]', Packet(EVENT, data=[0, "a"])),
        ("2[-1.5]", Packet(EVENT, data=[-1.5])),
        ('2["error"]', Packet(EVENT, data=["error"])),
        ('2["a",{"connect":1}]', Packet(EVENT, data=["a", {"connect": 1}])),
        ('20["a"]', Packet(EVENT, data=["a"], ack_id=0)),
        ('2/admin,["bar"]', Packet(EVENT, "/admin", ["bar"])),
        ('2/1,2["a-b"]', Packet(EVENT, "/1", ["a-b"], 2)),
        ('2007["a"]', Packet(EVENT, data=["a"], ack_id=7)),
        (f'2{MAX_ACK_ID}["a"]', Packet(EVENT, data=["a"], ack_id=MAX_ACK_ID)),
        ('2["a" , "\\ud83d\\ude00"]\n', Packet(EVENT, data=["a", "😀"])),
        (f'2["a",{hole(0)}]', Packet(EVENT, data=["a", {"_placeholder": True, "num": 0}])),
        ("30[]", Packet(ACK, data=[], ack_id=0)),
        ('3/admin,13["bar",null]', Packet(ACK, "/admin", ["bar", None], 13)),
        ('4{"message":"no"}', Packet(CONNECT_ERROR, data={"message": "no"})),
        ('4"no"', Packet(CONNECT_ERROR, data="no")),
        ("4", Packet(CONNECT_ERROR)),
    ],
)
def test_e1_e2_e5_e7_texts(text: str, packet: Packet) -> None:
    assert decode(text) == packet


@pytest.mark.parametrize(
    ("frames", "packet"),
    [
        ((f'51-["a",{hole(0)}]', b"1"), Packet(EVENT, data=["a", b"1"])),
        ((f'51-/n,8["a",{hole(0)}]', b""), Packet(EVENT, "/n", ["a", b""], 8)),
        ((f'62-8[{{"x":{hole(1)}}},[{hole(0)}]]', b"0", b"1"), Packet(ACK, "/", [{"x": b"1"}, [b"0"]], 8)),
        # As in Node: an attachment may be wanted twice or not at all, a placeholder may have more keys, and
        # what merely looks like one is data.
        ((f'52-["a",{hole(1)},{hole(1)}]', b"0", b"1"), Packet(EVENT, data=["a", b"1", b"1"])),
        (('51-["a",{"num":0,"_placeholder":true,"x":[]}]', b"0"), Packet(EVENT, data=["a", b"0"])),
        (('51-["a",{"_placeholder":1}]', b"0"), Packet(EVENT, data=["a", {"_placeholder": 1}])),
        (
            (f'510-["a",{",".join(map(hole, range(10)))}]', *[b"."] * 10),
            Packet(EVENT, data=["a", *[b"."] * 10]),
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_e3_e4_attachments(frames: tuple[Frame, ...], packet: Packet) -> None:
    assert decode(*frames) == packet


@pytest.mark.parametrize("text", ["", " ", "7", "9", "a", "-1", "٣", "\ufeff0", "b", '["a"]', "/", "\0"])
def test_e1_unknown_types(text: str) -> None:
    assert "type" in refusal(text)


@pytest.mark.parametrize(
    "count", ["", "0", "00", "01", "11", "1000000000", "9" * 5000, "-1", "+1", "1.0", "1e0", "0x1", " 1", "١"]
)
@pytest.mark.parametrize("kind", "56")
def test_e3_bad_counts_of_attachments(kind: str, count: str) -> None:
    refusal(f'{kind}{count}-1["a"]')


@pytest.mark.parametrize("kind", "0123456")
def test_e3_no_count_where_one_is_due_and_one_where_none_is(kind: str) -> None:
    refusal(f'{kind}["a"]' if kind in "56" else f'{kind}1-["a"]')


def test_e3_a_text_in_between() -> None:
    text = f'52-["a",{hole(0)},{hole(1)}]'
    assert "attachment was due" in refusal(text, '2["b"]')
    assert "attachment was due" in refusal(text, b"0", "")


def test_e3_an_attachment_of_nothing() -> None:
    assert "of no packet" in refusal(b"0")
    assert "of no packet" in refusal(f'51-["a",{hole(0)}]', b"0", b"1")
    assert "of no packet" in refusal('2["a"]', b"0")


@pytest.mark.parametrize(
    "number", ["-1", "1", "2", '"0"', "null", "true", "false", "0.5", "0.0", "[0]", "1e99", "9" * 30]
)
@pytest.mark.parametrize("where", ["%s", "[[%s]]", '{"x":{"y":%s}}'])
def test_e4_bad_placeholders(number: str, where: str) -> None:
    assert "placeholder" in refusal(f'51-["a",{where % hole(number)}]')


def test_e4_a_placeholder_without_a_number() -> None:
    assert "placeholder" in refusal('51-["a",{"_placeholder":true}]')


def test_e4_the_last_of_two_keys_counts() -> None:
    assert decode('51-["a",{"_placeholder":true,"num":9,"num":0}]', b"0").data == ["a", b"0"]
    assert "placeholder" in refusal('51-["a",{"_placeholder":true,"num":0,"num":9}]')


@pytest.mark.parametrize(
    "text",
    [
        "0[]", "0null", '0"a"', "0true", '01{"a":1}', "01",
        "1[]", "1{}", "1null", "10", '1"a"',
        "2", "2[]", "2{}", "2null", '2"a"', "2[null]", "2[true]", "2[[]]", "2[{}]",
        "2/custom", '2/["a"]', "21", f"51-[{hole(0)}]", "51-", "51-[]", "51-{}",
        "3", "31", "31{}", "31null", "3[]", '3["a"]', "61-[]",
        "4[]", "4null", "4true", "40", '40{"a":1}',
    ],
)  # fmt: skip
def test_e5_payloads_that_their_type_does_not_have(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
@pytest.mark.parametrize(
    "text", ['2["%s"]', '2/custom,1["%s",{}]', '51-["%s",{"_placeholder":true,"num":0}]']
)
def test_e6_reserved_names(name: str, text: str) -> None:
    assert "reserved" in refusal(text % name)


@pytest.mark.parametrize(
    "text",
    [
        '2abc["a"]', '2-1["a"]', '2+1["a"]', '21.5["a"]', '21e3["a"]', '2٣["a"]', '2²["a"]',
        '2 ["a"]', '21 ["a"]', '2 1["a"]', '2\n["a"]', '2\xa0["a"]',
        f'2{2**53}["a"]', f'2{"9" * 100_000}["a"]', f"3{'1' * 17}[]",
    ],
    ids=lambda text: ascii(text[:20]),
)  # fmt: skip
def test_e7_bad_ack_ids(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize(
    "json",
    [
        "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000, "'b'", "", "nul", "01", "1.", ".5",
        "+1", "0x1", "undefined", '"\x01"', '"\n"', '"\\x"', '"\\u12"', '"', "[", "{", '{"b"}', "{b:1}",
        '{"b":1,}', '"\\ud800"', '"\\udc00\\ud800"', '{"\\ud800":1}', '"\ud800"', "1]]", "1] 2",
    ],
    ids=lambda json: ascii(json[:20]),
)  # fmt: skip
def test_e8_what_is_not_json(json: str) -> None:
    refusal(f'2["a",{json}]')


@pytest.mark.parametrize("text", ["0/\ud800", '0/\ud800,{"a":1}', "0/a\x1eb,", "2/a\x1e,[1]"])
def test_e2_namespaces_that_could_not_be_written_back(text: str) -> None:
    refusal(text)


def test_e8_depth() -> None:
    def text(levels: int) -> str:
        return f'2["a",{"[" * (levels - 1)}{"]" * (levels - 1)}]'

    assert decode(text(MAX_DEPTH)).type is EVENT
    assert "levels" in refusal(text(MAX_DEPTH + 1))
    assert "levels" in refusal(text(MAX_DEPTH * 3))


@pytest.mark.parametrize("bomb", ["[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000])
@pytest.mark.parametrize("before", ['2["a",', "0", "31", '51-["a",'])
def test_e8_depth_bombs(before: str, bomb: str) -> None:
    decoder = Decoder(10_000_000)
    with pytest.raises(SocketError):
        decoder.feed(f"{before}{bomb}]")


def test_e8_many_brackets_are_not_deep() -> None:
    flat = ",".join(['[{"b":[]}]'] * 1000)
    packet = decode(f'2["{"[{" * 1000}",{flat}]')
    assert isinstance(packet.data, list)
    assert len(packet.data) == 1001


def test_e8_the_size_of_a_packet_counts_its_utf8_and_its_attachments() -> None:
    text = f'51-["é",{hole(0)}]'
    size = len(text.encode())
    decoder = Decoder(size + 10)
    for _ in range(3):  # of each packet, not of all
        assert decoder.feed(text) is None
        assert decoder.feed(b"." * 10) is not None
    decoder.feed(text)
    with pytest.raises(SocketError, match="bytes"):
        decoder.feed(b"." * 11)
    with pytest.raises(SocketError, match="bytes"):
        Decoder(size - 1).feed(text)


def test_a_decoder_takes_one_packet_after_the_other() -> None:
    decoder = Decoder(MAX_BYTES)
    for _ in range(2):
        assert decoder.feed('2["a"]') == Packet(EVENT, data=["a"])
        assert decoder.feed(f'51-["b",{hole(0)}]') is None
        assert decoder.feed(b"1") == Packet(EVENT, data=["b", b"1"])


@given(PACKETS)
def test_what_is_encoded_is_decoded_to_the_same(packet: Packet) -> None:
    assert decode(*encode(packet)) == packet


def outcome(frames: list[Frame]) -> None:
    """The promise: each frame is a packet, a part of one, or a SocketError. And packets can be sent on."""
    decoder = Decoder(MAX_BYTES)
    try:
        for frame in frames:
            packet = decoder.feed(frame)
            if packet is not None:
                assert packet.type not in (BINARY_EVENT, BINARY_ACK)
                assert decode(*encode(packet)) == packet
    except SocketError as refused:
        str(refused).encode()  # it can be told


@given(st.lists(st.text(st.characters(exclude_categories=())) | st.binary(), max_size=4))
def test_anything_is_a_packet_or_refused(frames: list[Frame]) -> None:
    outcome(frames)


@given(
    st.from_regex(
        r"[0-6]([0-9]{1,2}-)?(/[a-z]*,?)?[0-9]{0,3}[\[{\"](a|\"a\")?.{0,20}[\]}\"]?", fullmatch=True
    )
)
def test_anything_with_a_header_is_a_packet_or_refused(text: str) -> None:
    outcome([text])


@given(PACKETS, st.data())
def test_a_packet_that_is_cut_damaged_or_out_of_order_is_a_packet_or_refused(
    packet: Packet, data: st.DataObject
) -> None:
    frames = encode(packet)
    at = data.draw(st.integers(0, len(frames) - 1), label="frame")
    frame = frames[at]
    start = data.draw(st.integers(0, len(frame)), label="from")
    end = data.draw(st.integers(start, len(frame)), label="to")
    if isinstance(frame, bytes):
        frames[at] = frame[:start] + data.draw(st.binary(max_size=4)) + frame[end:]
    else:
        frames[at] = frame[:start] + data.draw(st.text(max_size=4)) + frame[end:]
    outcome(frames)
    outcome(data.draw(st.permutations(frames)))


@given(PACKETS, st.data())
def test_the_two_halves_of_a_text_are_packets_or_refused(packet: Packet, data: st.DataObject) -> None:
    text = encode(packet)[0]
    assert isinstance(text, str)
    cut = data.draw(st.integers(0, len(text)))
    outcome([text[:cut], text[cut:]])
