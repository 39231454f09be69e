"""What comes off a socket, through the edge's own drivers: HTTP/1.1, WebSocket frames, HTTP/2."""

from __future__ import annotations

import re
from typing import NamedTuple

from penstock.server.edge.asgi import CONNECTION, Message, Receive, Scope, Send
from penstock.server.edge.http1 import serve_http1
from penstock.server.edge.http2 import serve_http2
from penstock.server.edge.websocket import WebSocket
from penstock.server.peer import Body, BodyBroken
from penstock.server.settings import Settings
from tests.fuzz.mutate import cut
from tests.fuzz.target import Target
from tests.fuzz.wire import answer_to
from tests.server.edge.harness import reply

BYTE_BY_BYTE = 64  # each piece of a connection costs a turn of the event loop
PLAIN = Settings(max_message_bytes=512)
INDIRECT = Settings(fast_path=False, max_message_bytes=512)
H2C = Settings(h2c=True)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"[^\r\n\0]*")  # other control characters may be kept, RFC 9110 §5.5
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]*")
_STATUS = re.compile(rb"(?m)^HTTP/1\.1 ([0-9]{3}) ")


class Seen(NamedTuple):
    """A request as an application gets it; a body that broke has no bytes to compare."""

    method: str
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes | None


class Recorder:
    """An application that reads everything and answers 200 to what came whole."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.messages: list[str | bytes] = []
        self.codes: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(receive, send)
            return
        body = await _body(scope, receive)
        headers = tuple(scope["headers"])
        self.seen.append(Seen(scope["method"], scope["raw_path"], scope["query_string"], headers, body))
        if body is not None:
            await reply(send)

    async def _websocket(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            text: str | None = message.get("text")
            self.messages.append(message["bytes"] if text is None else text)
        self.codes.append(message.get("code", 0))


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    handle = scope["state"].get(CONNECTION)  # HTTP/2 has none
    direct: Body | None = handle and handle.take_body()
    return await _asgi_body(receive) if direct is None else await _direct_body(direct)


async def _asgi_body(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message: Message = await receive()
        if message["type"] != "http.request":
            return None
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def _direct_body(direct: Body) -> bytes | None:
    body, buffer = bytearray(), memoryview(bytearray(100))
    try:
        while True:
            await direct.wait_readable()
            count = direct.receive_nowait(buffer)
            if not count:
                return bytes(body)
            body += buffer[:count]
    except BodyBroken:
        return None


def _http1(data: bytes) -> str:
    seen, statuses = _conversation([data], PLAIN)
    again = [cut(data)]
    if len(data) <= BYTE_BY_BYTE:
        again.append([data[at : at + 1] for at in range(len(data))])
    for pieces in again:
        assert _conversation(pieces, PLAIN)[0] == seen, "it matters how a connection's bytes are cut"
    assert _conversation([data], INDIRECT)[0] == seen, "the direct path reads other bodies than h11"
    for request in seen:
        _check_request(request)
    assert sum(len(request.body or b"") for request in seen) <= len(data)
    return f"{[request.body is None for request in seen][:3]} {statuses[:3]}"


def _conversation(pieces: list[bytes], settings: Settings) -> tuple[list[Seen], list[bytes]]:
    recorder = Recorder()
    answer = answer_to(pieces, recorder, settings)
    statuses = _STATUS.findall(answer)
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    whole = sum(request.body is not None for request in recorder.seen)
    assert statuses.count(b"200") == whole, "each whole request has its one answer"
    assert b"500" not in statuses
    return recorder.seen, statuses


def _check_request(request: Seen) -> None:
    names = [name for name, _ in request.headers]
    assert all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in request.headers)
    assert names.count(b"host") <= 1
    assert not {b"transfer-encoding", b"content-length"} <= set(names), "two framings: request smuggling"
    assert _TARGET.fullmatch(request.path + request.query)


def _websocket(data: bytes) -> str:
    whole = _frames([data])
    assert _frames(cut(data)) == whole, "it matters how frames are cut"
    messages, codes = whole
    for message in messages:
        assert len(message.encode() if isinstance(message, str) else message) <= PLAIN.max_message_bytes
    return f"{[type(message).__name__ for message in messages][:3]} {codes}"


def _frames(pieces: list[bytes]) -> tuple[list[str | bytes], list[int]]:
    recorder = Recorder()
    answer = answer_to([_HANDSHAKE, *pieces], recorder, PLAIN)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert len(recorder.codes) == 1, "the application is told once that it is over"
    return recorder.messages, recorder.codes


def _http2(data: bytes) -> str:
    recorder = Recorder()
    answer_to([_PREFACE, *cut(data)], recorder, H2C)
    for request in recorder.seen:
        _check_http2_request(request)
    return f"{[request.body is None for request in recorder.seen][:3]}"


def _check_http2_request(request: Seen) -> None:
    assert all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in request.headers)
    assert _TARGET.fullmatch(request.path + request.query)
    assert request.method


def _masked(first: int, payload: bytes) -> bytes:
    """A client's frame, its mask all zeros."""
    assert len(payload) < 126
    return bytes([first, 0x80 | len(payload)]) + bytes(4) + payload


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One of HTTP/2 (RFC 9113 §4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"")
_POST = bytes([0x83, 0x86, 0x84, 0x41, 1]) + b"x"  # HPACK: POST, http, /, :authority x

TARGETS = (
    Target(
        "http1",
        "bytes are the same requests and bodies however they are cut and whichever path reads the body, one "
        "answer each; no request has two framings, two hosts or a line end in a header",
        (serve_http1,),
        (
            b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: y\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2;e=f\r\nde\r\n0\r\nT: t\r\n\r\n",
            b"PUT http://h:1/p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nz",
            b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            _HANDSHAKE,
        ),
        _http1,
        (
            *(
                b"\r\n",
                b"\r\n\r\n",
                b"0\r\n\r\n",
                b"Content-Length: 1\r\n",
                b"Transfer-Encoding: chunked\r\n",
            ),
            *(
                b"Host: y\r\n",
                b"chunked, ",
                b"HTTP/1.1",
                b"HTTP/2.0",
                b"fffffffffffffffff\r\n",
                b" : ",
                b"\r\n ",
                b"//",
            ),
            *(
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                b"Connection: close\r\n",
                b"http://",
                b"[",
                b"]",
                b";",
                b"_",
                b"+1",
            ),
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 12_000 + b"\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 5000,
        ),
        max_bytes=1024,
        short_runs=40,
    ),
    Target(
        "websocket",
        "frames are the same messages and the same end however they are cut, none above the limit",
        (serve_http1, WebSocket.run),
        (
            _masked(0x81, b"hello") + _masked(0x82, b"\0\1"),
            _masked(0x01, b"a\xc3") + _masked(0x89, b"ping") + _masked(0x80, b"\xa9"),
            _masked(0x81, b"x") + _masked(0x88, b"\x03\xe8bye"),
            bytes([0x82, 0xFE, 0, 200]) + bytes(204),
        ),
        _websocket,
        (
            *(
                _masked(0x81, b"t"),
                _masked(0x00, b""),
                _masked(0x80, b"f"),
                _masked(0x8A, b""),
                _masked(0x01, b""),
            ),
            *(
                b"\x82\xfe\xff\xff",
                b"\x82\xff" + b"\xff" * 8,
                b"\xc1\x80",
                b"\x88\x82" + bytes(4) + b"\x03\xed",
            ),
        ),
        (bytes([0x82, 0xFE, 2, 1]) + bytes(4 + 513), (_masked(0x01, b"a") + _masked(0x80, b"b")) * 2000),
        max_bytes=1024,
        short_runs=40,
    ),
    Target(
        "http2",
        "any bytes end in an orderly way, and no request of theirs has a header that HTTP/1.1 could not have",
        (serve_http2,),
        (
            _frame(1, 5, 1, _POST),
            _frame(1, 4, 1, _POST) + _frame(0, 1, 1, b"body") + _frame(6, 0, 0, bytes(8)),
            _frame(1, 5, 1, _POST) + _frame(8, 0, 0, b"\0\0\1\0") + _frame(1, 5, 3, _POST + b"\0\1a\1b"),
            _frame(1, 4, 1, _POST) + _frame(3, 0, 1, bytes(4)) + _frame(7, 0, 0, bytes(8)),
        ),
        _http2,
        (
            *(
                _frame(0, 1, 1, b""),
                _frame(9, 4, 1, b""),
                _frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff"),
                b"\0\3a\r\n\1b",
            ),
            *(
                b"\0\1A\1b",
                b"\0\1a\3b\r\n",
                b"\x3f\xff\xff\xff\x7f",
                b"\x83",
                b"\0\7:method\0",
                _frame(8, 0, 1, bytes(4)),
            ),
        ),
        (_frame(4, 0, 0, b"") * 2000, _frame(6, 0, 0, bytes(8)) * 2000),
        max_bytes=1024,
        short_runs=40,
    ),
)
