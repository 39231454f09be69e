"""WebSockets by hand: what comes is read when a test asks for it, so that one may also stop reading."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import Extension
from wsproto.utilities import LocalProtocolError

from tests.conformance.wire import ANSWER_S, Answer, Fields, Silence, Target

Frame = str | bytes

ABNORMAL = 1006  # the connection ended without a close frame
TEXT, BINARY = 1, 2  # opcodes
NO_MASK = bytes(4)


class Closed(AssertionError):
    """The WebSocket was closed where a message was wanted."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Rejected(AssertionError):
    """The handshake was answered with HTTP."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"rejected: {answer}")
        self.answer = answer


class WebSocket:
    """One that is open. Pings of RFC 6455 are answered while a message is waited for."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.extensions: list[Extension] = []  # that were agreed upon
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._code: int | None = None

    async def shake_hands(
        self, target: Target, path: str, fields: Fields, offers: Sequence[Extension]
    ) -> None:
        """Raises: Rejected."""
        extra = [(name.encode(), value.encode()) for name, value in (*target.fields, *fields)]
        request = Request(host=target.authority, target=path, extra_headers=extra, extensions=list(offers))
        await self.stream.send_all(self._wire.send(request))
        event = await self._event()
        if isinstance(event, AcceptConnection):
            self.extensions = event.extensions
            return
        assert isinstance(event, RejectConnection), event
        headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
        answer = Answer(event.status_code, "", headers)
        while event.has_body if isinstance(event, RejectConnection) else not event.body_finished:
            event = await self._event()
            assert isinstance(event, RejectData), event
            answer.body += bytes(event.data)
        raise Rejected(answer)

    async def send(self, *frames: Frame) -> None:
        """All in one write. One that the server has closed takes nothing, and says so when it is read."""
        try:
            out = b"".join(self._wire.send(_message(frame)) for frame in frames)
            await self.stream.send_all(out)
        except (LocalProtocolError, trio.BrokenResourceError):
            return

    async def send_raw(self, opcode: int, payload: bytes, *, length: int | None = None) -> None:
        """A frame that need not be a proper one; `length` lies about its payload."""
        await self.stream.send_all(raw_frame(opcode, payload, length))

    async def next(self) -> Frame:
        """The next message. Raises: Closed, Silence."""
        pieces: list[bytes] = []
        while True:
            event = await self._event()
            match event:
                case TextMessage() | BytesMessage():
                    text = isinstance(event, TextMessage)
                    pieces.append(
                        event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
                    )
                    if event.message_finished:
                        return b"".join(pieces).decode() if text else b"".join(pieces)
                case Ping():
                    await self.stream.send_all(self._wire.send(event.response()))
                case CloseConnection():
                    self._code = event.code
                    raise Closed(event.code)

    async def closed(self) -> int:
        """The code of the server's close; it must come before any message. Raises: Silence."""
        try:
            frame = await self.next()
        except Closed as closed:
            return closed.code
        raise AssertionError(f"not closed, but told {frame!r}")

    async def close(self, code: int = 1000) -> None:
        """Close it in order, and wait for the server's agreement."""
        await self.stream.send_all(self._wire.send(CloseConnection(code=code)))
        await self.closed()

    async def _event(self) -> Event:
        while True:
            event = next(self._wire.events(), None)
            if event is not None:
                return event
            if self._code is not None:
                raise Closed(self._code)
            data = await self._received()
            if not data:
                self._code = ABNORMAL
            else:
                self._wire.receive_data(data)

    async def _received(self) -> bytes:
        try:
            with trio.fail_after(ANSWER_S):
                return bytes(await self.stream.receive_some(65536))
        except trio.BrokenResourceError:
            return b""
        except trio.TooSlowError as error:
            raise Silence(f"nothing came for {ANSWER_S:.0f} s") from error


@asynccontextmanager
async def opened(
    target: Target, path: str, fields: Fields = (), offers: Sequence[Extension] = ()
) -> AsyncIterator[WebSocket]:
    """A WebSocket after its handshake; left, its connection is cut. Raises: Rejected."""
    async with await target.connect() as stream:
        websocket = WebSocket(stream)
        await websocket.shake_hands(target, path, fields, offers)
        yield websocket


async def rejected(target: Target, path: str, fields: Fields = ()) -> Answer:
    """What a handshake is refused with."""
    try:
        async with opened(target, path, fields):
            raise AssertionError("the handshake was accepted")
    except Rejected as refusal:
        return refusal.answer


def _message(frame: Frame) -> Event:
    return BytesMessage(data=frame) if isinstance(frame, bytes) else TextMessage(data=frame)


def raw_frame(opcode: int, payload: bytes, length: int | None = None) -> bytes:
    """A frame (RFC 6455 section 5.2) whose mask changes nothing: more of its payload may follow as it is."""
    size = len(payload) if length is None else length
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", size)
    return head + NO_MASK + payload
