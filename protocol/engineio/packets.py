"""Packets and payloads ↔ frames: what one WebSocket message carries, or a piece of a polling body.

A frame is text (a packet's type and its data) or bytes (a binary message, which has no type).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

Frame = str | bytes

SEPARATOR = "\x1e"  # between the packets of a polling body
_BINARY = "b"  # in place of a type: base64 follows


class EngineError(Exception):
    """What the peer sent is no Engine.IO. Its session is at its end."""


class PacketType(StrEnum):
    OPEN = "0"
    CLOSE = "1"
    PING = "2"
    PONG = "3"
    MESSAGE = "4"
    UPGRADE = "5"
    NOOP = "6"


class Packet(NamedTuple):
    """One packet; only messages may carry bytes."""

    type: PacketType
    data: Frame = ""


_TYPES = {kind.value: kind for kind in PacketType}


def decode(frame: Frame) -> Packet:
    """The packet of one frame. Raises: EngineError."""
    if isinstance(frame, bytes):
        return Packet(PacketType.MESSAGE, frame)
    if frame[:1] == _BINARY:
        return Packet(PacketType.MESSAGE, _decode_base64(frame[1:]))
    kind = _TYPES.get(frame[:1])
    if kind is None:
        raise EngineError("a packet begins with its type, 0 to 6")
    return Packet(kind, frame[1:])


def encode(packet: Packet) -> Frame:
    """The reverse of `decode`."""
    return packet.data if isinstance(packet.data, bytes) else packet.type + packet.data


def decode_payload(body: str) -> Iterator[Packet]:
    """The packets of a polling body, one by one: a bad one is found when it is reached.

    Raises: EngineError.
    """
    start = 0
    while (end := body.find(SEPARATOR, start)) >= 0:
        yield decode(body[start:end])
        start = end + 1
    yield decode(body[start:])


def encode_payload(frames: Iterable[Frame]) -> str:
    """A polling body. Text frames must not contain the separator; JSON escapes it."""
    return SEPARATOR.join(as_text(frame) for frame in frames)


def as_text(frame: Frame) -> str:
    """A frame for a transport that carries text only."""
    return _BINARY + base64.b64encode(frame).decode("ascii") if isinstance(frame, bytes) else frame


def text_bytes(frame: Frame) -> int:
    """At most so many bytes does the frame take in a polling body, its separator included."""
    if isinstance(frame, bytes):
        return 2 + 4 * (len(frame) // 3 + 1)
    return 1 + (len(frame) if frame.isascii() else len(frame.encode(errors="surrogatepass")))


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EngineError("binary data is not base64") from error
