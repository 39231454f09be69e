"""Packets on the wire (section C1)."""

from __future__ import annotations

import json

import pytest

from tests.conformance.engineio.client import TRANSPORTS, Engine, ends
from tests.conformance.lines import socketio as line
from tests.conformance.socketio.client import is_well, join, joined, placeholder, sid_of
from tests.conformance.websocket import Frame

MAX_ACK_ID = 2**53 - 1
NULL = placeholder(0)

transports = pytest.mark.parametrize("transport", TRANSPORTS)
by_websocket = pytest.mark.parametrize("transport", ["websocket"])  # text is read alike on either


@line("E1", "M")
@by_websocket
@pytest.mark.parametrize("frame", ["47", "48[]", "4abc", "4", "4-1", "4 2[]", '4[2,"message"]', "4２[]"])
async def test_socketio_E1_an_unknown_type_closes(engine: Engine, transport: str, frame: str) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, frame)


@line("E1", "C")
@transports
async def test_socketio_E1_a_connect_error_comes_from_the_server(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, '44{"message":"no"}')


@line("E2", "M")
@transports
@pytest.mark.parametrize("comma", ["", ","])
async def test_socketio_E2_the_comma_may_be_missing_at_the_end(
    engine: Engine, transport: str, comma: str
) -> None:
    async with joined(engine, transport) as peer:
        await peer.send(f"40/custom{comma}")
        assert sid_of(await peer.next(), "/custom")
        assert await peer.next() == '42/custom,["auth",{}]'
        await peer.send(f"41/custom{comma}")
        await join(peer, "/custom")  # again, so it had left
        await is_well(peer)


@line("E2", "M")
@transports
async def test_socketio_E2_the_default_namespace_goes_without_saying(engine: Engine, transport: str) -> None:
    async with engine.peer(transport) as peer:
        await peer.send("40/,")
        assert sid_of(await peer.next())
        assert await peer.next() == '42["auth",{}]'


@line("E3", "M")
@transports
@pytest.mark.parametrize("count", [1, 2, 10])
async def test_socketio_E3_attachments_follow(engine: Engine, transport: str, count: int) -> None:
    async with joined(engine, transport) as peer:
        args = ",".join(map(placeholder, range(count)))
        frames: list[Frame] = [bytes([number]) * number for number in range(count)]
        await peer.send(f'45{count}-["message",{args}]', *frames)
        assert await peer.next() == f'45{count}-["message-back",{args}]'
        assert [await peer.next() for _ in frames] == frames
        await is_well(peer)


@line("E3", "C")
@transports
@pytest.mark.parametrize(
    "head",
    [
        "450-",
        "4511-",
        "451000000000-",
        "4501-",
        "45-",
        "45",
        "45-1-",
        "45+1-",
        "451.0-",
        "45１-",
        "42" + "1-",
    ],
)
async def test_socketio_E3_one_to_ten_of_them(engine: Engine, transport: str, head: str) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, f'{head}["message",{NULL}]')


@line("E3", "M")
@transports
async def test_socketio_E3_nothing_comes_between(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, f'452-["message",{NULL}]', b"one", '42["message","between"]')


@line("E3", "M")
@transports
async def test_socketio_E3_binary_of_no_packet(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, b"\x00\x01")
    async with joined(engine, transport) as peer:
        await peer.send(f'451-["message",{NULL}]', b"its own")
        assert await peer.next() == f'451-["message-back",{NULL}]'
        assert await peer.next() == b"its own"
        await ends(peer, b"one too many")


@line("E4", "C")
@transports
@pytest.mark.parametrize("num", ["-1", '"0"', "1", "true", "0.5", "null", "[0]", "1e9"])
async def test_socketio_E4_a_placeholder_is_for_an_attachment(
    engine: Engine, transport: str, num: str
) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, f'451-["message",{{"_placeholder":true,"num":{num}}}]', b"x")


@line("E4", "C")
@transports
async def test_socketio_E4_one_without_number(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, '451-["message",{"_placeholder":true}]', b"x")


@line("E4", "M")
@transports
async def test_socketio_E4_in_the_depth_and_out_of_order(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        data = f'{{"a":[{placeholder(1)}],"b":{placeholder(0)}}}'
        await peer.send(f'452-["message",{data}]', b"zero", b"one")
        head = str(await peer.next())
        attachments = [await peer.next() for _ in range(2)]
        (_, value) = json.loads(head.removeprefix("452-"))
        assert attachments[value["a"][0]["num"]] == b"one"
        assert attachments[value["b"]["num"]] == b"zero"


@line("E4", "C")
@transports
async def test_socketio_E4_what_looks_like_one_in_an_event_of_text_is_data(
    engine: Engine, transport: str
) -> None:
    async with joined(engine, transport) as peer:
        await peer.send(f'42["message",{NULL}]')
        assert await peer.next() == f'42["message-back",{NULL}]'


@line("E5", "M")
@by_websocket
@pytest.mark.parametrize(
    "frame",
    [
        *("42", "42[]", "42{}", '42"message"', "42null", "42[null]", "42[{}]", "42[true]", "42[[]]"),
        *('42["message"', '42["message"]]', "42message", "42['message']", '42["message",]'),
        *("431", "431{}", '431"x"', "431null", "43[]", "431[1"),
        *("41{}", "41[]", '41"x"', "41null"),
    ],
)
async def test_socketio_E5_data_of_the_wrong_shape(engine: Engine, transport: str, frame: str) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, frame)


@line("E5", "M")
@by_websocket
@pytest.mark.parametrize("data", ["[]", '"token"', "1", "null", "true", "{"])
async def test_socketio_E5_what_comes_with_connect_is_an_object(
    engine: Engine, transport: str, data: str
) -> None:
    async with engine.peer(transport) as peer:
        await ends(peer, "40" + data)


@line("E5", "C")
@transports
async def test_socketio_E5_an_event_may_be_called_by_a_number(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await peer.send("42[1,2]")
        await is_well(peer)


@line("E6", "C")
@by_websocket
@pytest.mark.parametrize(
    "name", ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
)
async def test_socketio_E6_a_reserved_name_closes(engine: Engine, transport: str, name: str) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, f'42["{name}",1]')


@line("E6", "C")
@transports
async def test_socketio_E6_error_is_not_reserved(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await peer.send('42["error",1]')
        await is_well(peer)


@line("E7", "M")
@transports
@pytest.mark.parametrize("ack_id", [0, 7, 456, MAX_ACK_ID])
async def test_socketio_E7_the_id_of_an_ack(engine: Engine, transport: str, ack_id: int) -> None:
    async with joined(engine, transport) as peer:
        await peer.send(f'42{ack_id}["message-with-ack",1]')
        assert await peer.next() == f"43{ack_id}[1]"


@line("E7", "M")
@by_websocket
@pytest.mark.parametrize(
    "ack_id", ["abc", "-1", "1.5", "1e3", "１", "٣", "0x1", "1 ", str(MAX_ACK_ID + 1), "9" * 5000]
)
async def test_socketio_E7_is_of_digits_and_not_too_large(
    engine: Engine, transport: str, ack_id: str
) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, f'42{ack_id}["message-with-ack",1]')


@line("E8", "M")
@by_websocket
@pytest.mark.parametrize(
    "data",
    [
        *("NaN", "Infinity", "-Infinity", "undefined", "01", "'x'", "[1,]", '"\\x"', '"\\ud800"', "1e999"),
        *('"\t"', "/*c*/1"),
    ],
)
async def test_socketio_E8_it_is_json(engine: Engine, transport: str, data: str) -> None:
    async with joined(engine, transport) as peer:
        await ends(peer, f'42["message",{data}]')


@line("E8", "U")
@transports
@pytest.mark.parametrize("bracket", ["[", '{"a":'])
async def test_socketio_E8_a_bomb_of_brackets(engine: Engine, transport: str, bracket: str) -> None:
    closing = {"[": "]", '{"a":': "}"}[bracket]
    async with joined(engine, transport) as peer:
        depth = 100_000
        await ends(peer, f'42["message",{bracket * depth}1{closing * depth}]')


@line("E8", "C")
@transports
async def test_socketio_E8_what_people_nest_is_fine(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        data = "[" * 30 + "]" * 30
        await peer.send(f'42["message",{data}]')
        assert await peer.next() == f'42["message-back",{data}]'


@line("E8", "U")
@transports
async def test_socketio_E8_text_is_sent_as_it_is(engine: Engine, transport: str) -> None:
    text = "grüß 你好 😀   "
    async with joined(engine, transport) as peer:
        await peer.send('42["message",' + json.dumps(text) + "]")
        assert await peer.next() == f'42["message-back","{text}"]'


@line("E8", "U")
async def test_socketio_E8_a_separator_in_data_is_escaped(engine: Engine) -> None:
    async with joined(engine, "polling") as peer:
        await peer.send('42["message","a\\u001eb"]')
        assert str(await peer.next()).lower() == '42["message-back","a\\u001eb"]'


@line("E9", "M")
@transports
async def test_socketio_E9_nothing_comes_between_a_packet_and_its_attachments(
    engine: Engine, transport: str
) -> None:
    async with joined(engine, transport) as peer:
        rounds = 30
        frames: list[Frame] = []
        for number in range(rounds):
            data = f'["message-with-ack",{placeholder(0)},{placeholder(1)}]'
            frames += [f"452-{number}{data}", b"a%d" % number, b"b%d" % number]
            frames += ['42["message",1]', f"40/random{number}"]
        await peer.send(*frames)
        acks = others = 0
        while acks < rounds or others < 2 * rounds:
            frame = str(await peer.next())
            if not frame.startswith("46"):
                others += 1
                continue
            assert frame == f"462-{acks}[{placeholder(0)},{placeholder(1)}]"
            assert [await peer.next() for _ in range(2)] == [b"a%d" % acks, b"b%d" % acks]
            acks += 1


@line("E10", "C")
@transports
async def test_socketio_E10_no_packet_has_no_attachments(engine: Engine, transport: str) -> None:
    async with joined(engine, transport) as peer:
        await peer.send('451-["message","of text"]', b"that nobody refers to")
        assert await peer.next() == '42["message-back","of text"]'
