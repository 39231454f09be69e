"""Engine.IO and Socket.IO: queries, polling bodies, packets and a connection's namespaces."""

from __future__ import annotations

from itertools import count

from penstock.protocol.engineio.handshake import Refusal, Refused, read_query
from penstock.protocol.engineio.packets import EngineError, decode, decode_payload, encode, encode_payload
from penstock.protocol.socketio.decoder import Decoder
from penstock.protocol.socketio.packets import Packet, SocketError
from penstock.protocol.socketio.packets import encode as encode_socket
from penstock.protocol.socketio.session import Connect, Connection
from tests.fuzz.target import Target

MAX_PACKET_BYTES = 1000
_BOUNDARY = b"\x1d"  # between the frames of an input; never part of one

Frame = str | bytes


def _query(data: bytes) -> str:
    try:
        query = read_query(data)
        query.check_handshake("GET", upgrades=False)
    except Refused as refused:
        return _told(refused.refusal)
    return f"{query.transport.name} {query.sid is None} {query.only_text}"


def _told(refusal: Refusal) -> str:
    assert 400 <= refusal.status < 600
    assert len(refusal.body) < 200, "a refusal quotes nothing"
    return refusal.name


def _payload(data: bytes) -> str:
    try:
        packets = list(decode_payload(data.decode()))
    except (EngineError, UnicodeDecodeError) as error:
        return type(error).__name__
    frames = [encode(packet) for packet in packets]
    assert [decode(frame) for frame in frames] == packets
    assert list(decode_payload(encode_payload(frames))) == packets
    assert sum(map(len, frames)) <= len(data)
    return f"{sorted({packet.type.name for packet in packets})} {len(packets) > 1}"


def _frames(data: bytes) -> list[Frame]:
    """Every odd one of the input's frames is an attachment, so that cuts and splices make both."""
    first, *rest = data.split(_BOUNDARY)
    text: list[Frame] = [first.decode(errors="surrogateescape")]
    return text + [
        piece[1:] if piece[:1] == b"b" else piece.decode(errors="surrogateescape") for piece in rest
    ]


def _packets(data: bytes) -> str:
    decoder, packets = Decoder(MAX_PACKET_BYTES), list[Packet]()
    try:
        packets = [packet for frame in _frames(data) if (packet := decoder.feed(frame)) is not None]
    except SocketError as error:
        _assert_dead(decoder)
        return _short(str(error))
    for packet in packets:
        _assert_reads_the_same(packet)
    return " ".join(sorted(packet.type.name for packet in packets))[:60]


def _short(refusal: str) -> str:
    assert len(refusal) < 300, "a refusal quotes nothing long"
    return refusal[:40]


def _assert_dead(decoder: Decoder) -> None:
    try:
        decoder.feed("2[1]")
    except SocketError:
        return
    raise AssertionError("it reads on behind what it could not read")


def _assert_reads_the_same(packet: Packet) -> None:
    try:
        frames = encode_socket(packet)
    except ValueError:  # it references an attachment more often than packets may have attachments
        return
    again, decoder = None, Decoder(100 * MAX_PACKET_BYTES)
    for frame in frames:
        assert again is None
        again = decoder.feed(frame)
    assert again == packet


def _connection(data: bytes) -> str:
    """A connection that hears such packets joins what it is let into, and nothing else."""
    decoder, connection = Decoder(MAX_PACKET_BYTES), Connection(0.0, count())
    told: list[str] = []
    try:
        for frame in _frames(data):
            packet = decoder.feed(frame)
            heard = connection.receive(packet) if packet is not None else None
            told.append(type(heard).__name__)
            if isinstance(heard, Connect):
                connection.connected(heard.namespace, f"sid{len(told)}")
    except SocketError:
        told.append("SocketError")
    left = connection.close()
    assert len({one.namespace for one in left}) == len(left)
    assert connection.namespaces == []
    return " ".join(told)[:60]


_TOKENS = (
    *(b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"/a,", b"/", b"?x=1,", b"1-", b"10-", b"11-", b"00", b"-"),
    *(
        b'["a"]',
        b'{"_placeholder":true,"num":0}',
        b'"num":-1',
        b'"num":"0"',
        b'["connect"]',
        b"NaN",
        b"1e999",
    ),
    *(b"\x1e", _BOUNDARY, _BOUNDARY + b"b\x00\x01", b"bAQID", b"9007199254740993", b"\\ud800", b"[" * 70),
)
_CORPUS = (
    b'0{"token":"x"}\x1d2["a",1,{"b":[null,true]}]\x1d1',
    b'0/a,\x1d2/a,12["a"]\x1d3/a,12[1]\x1d1/a,',
    b'0\x1d51-["a",{"_placeholder":true,"num":0}]\x1db\x00\x01\x02\x1d2["b"]',
    b'0\x1d62-7[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]\x1dbxx\x1dbyy',
)
_BOMBS = (b"2" + b"[" * 10**5, b'2["a"' + b",[" * 900 + b"]" * 900 + b"]", b"2" + b"9" * 10**6 + b'["a"]')

TARGETS = (
    Target(
        "engine-query",
        "the query of an Engine.IO request opens a session or is refused with one of six short answers",
        (read_query,),
        (
            b"EIO=4&transport=polling",
            b"EIO=4&transport=websocket&sid=abc&b64=1&t=x",
            b"EIO=3&transport=polling",
        ),
        _query,
        (b"&", b"=", b"EIO=4", b"transport=", b"polling", b"%00", b"%ff", b"+", b";", b"sid="),
        (b"&" * 10**5, b"a=1&" * 10**5),
    ),
    Target(
        "engine-payload",
        "a polling body is packets that read the same when written again, or an EngineError",
        (decode, decode_payload),
        (b"4hello\x1ebAQIDBA==\x1e2probe\x1e3", b"0{}", b"1", b"4", b"6\x1e1"),
        _payload,
        (b"\x1e", b"b", b"bAQ==", b"=", b"-_", b"4", b"2", b"7", b"\xff", b"\n"),
        (b"\x1e" * 10**5, b"4\x1e" * 10**5, b"b" + b"A" * 10**6),
    ),
    Target(
        "socket-packets",
        "frames are packets that read the same when written again, or a SocketError and then no more packets",
        (Decoder.feed,),
        _CORPUS,
        _packets,
        _TOKENS,
        _BOMBS,
    ),
    Target(
        "socket-connection",
        "whatever packets come, a connection is in the namespaces it was let into, each once, or at its end",
        (Connection.receive,),
        _CORPUS,
        _connection,
        _TOKENS,
        _BOMBS,
    ),
)
