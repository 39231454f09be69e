"""Packets → frames: a text, `<type>[<attachments>-][<namespace>,][<ack id>][JSON]`, and its attachments.

Bytes in an event's or ack's data become attachments, each a frame of its own behind the text; in the text a
placeholder stands for them. The other way is in `decoder.py`.
"""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import NamedTuple

import msgspec

from penstock.protocol.engineio.packets import SEPARATOR, Frame

ROOT = "/"  # the namespace that goes without saying
MAX_ATTACHMENTS = 10  # as socket.io-parser since 4.2.6: a packet is kept until the last of them has come
MAX_ACK_ID = 2**53 - 1  # the last integer that JavaScript can tell from the next

# How many arrays and objects may lie in each other. Without a limit it would be what Python's recursion
# leaves over (below a thousand, less the deeper the caller is), and not all that came in could be sent on.
MAX_DEPTH = 64

# Names that the Node server and its clients raise themselves. `error` is none of them.
RESERVED_NAMES = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)


class SocketError(Exception):
    """What the peer sent is no Socket.IO. Its connection, with all namespaces, is at its end."""


class PacketType(StrEnum):
    CONNECT = "0"
    DISCONNECT = "1"
    EVENT = "2"
    ACK = "3"
    CONNECT_ERROR = "4"
    BINARY_EVENT = "5"  # the last two are on the wire only: a packet with bytes in its data is
    BINARY_ACK = "6"  # an EVENT or an ACK like any other


BINARY_TYPES = {PacketType.EVENT: PacketType.BINARY_EVENT, PacketType.ACK: PacketType.BINARY_ACK}


class Packet(NamedTuple):
    """One packet. `data` holds JSON values, in events and acks also bytes; None: there is none."""

    type: PacketType
    namespace: str = ROOT
    data: object = None  # no packet's data may be a mere null
    ack_id: int | None = None


def encode(packet: Packet) -> list[Frame]:
    """The frames of a packet; nothing else may come between them.

    Raises: ValueError, if no peer could read them: data that is not JSON (NaN, infinities, lone surrogates),
    that is too deep or not what its type wants; too many attachments; a reserved name; a bad namespace.
    """
    fault = namespace_fault(packet.namespace) or payload_fault(packet.type, packet.data)
    fault = fault or ack_id_fault(packet.type, packet.ack_id)
    if fault:
        raise ValueError(fault)
    detached = _Detached()
    data = detached.value(packet.data, MAX_DEPTH)
    attachments = detached.attachments
    kind: str = packet.type
    if attachments:
        if packet.type not in BINARY_TYPES:
            raise ValueError("only events and acks carry bytes")
        detached.check()
        kind = f"{BINARY_TYPES[packet.type]}{len(attachments)}-"
    ack_id = "" if packet.ack_id is None else packet.ack_id
    text = "" if packet.data is None else msgspec.json.encode(data).decode()
    return [f"{kind}{_prefix(packet.namespace)}{ack_id}{text}", *attachments]


def event_text(name: str, payload_json: bytes, namespace: str = ROOT) -> str:
    """The frame of an event with one argument that is encoded already, without attachments.

    For one event to many peers: `payload_json` is taken as it is. Raises: ValueError.
    """
    fault = namespace_fault(namespace) or payload_fault(PacketType.EVENT, [name])
    if fault:
        raise ValueError(fault)
    encoded_name = msgspec.json.encode(name).decode()
    return f"{PacketType.EVENT}{_prefix(namespace)}[{encoded_name},{payload_json.decode()}]"


def _prefix(namespace: str) -> str:
    return "" if namespace == ROOT else namespace + ","


# What is wrong with a part of a packet, either way; None: nothing


def namespace_fault(namespace: str) -> str | None:
    if not namespace.startswith(ROOT) or "," in namespace:
        return "a namespace begins with a slash and has no comma"
    if SEPARATOR in namespace:  # JSON escapes it, a namespace cannot
        return "a namespace in a polling body would end at its separator"
    return None


def ack_id_fault(kind: PacketType, ack_id: int | None) -> str | None:
    if kind is PacketType.ACK and ack_id is None:
        return "an ack says what it acknowledges"
    if ack_id is None:
        return None
    if kind not in BINARY_TYPES:
        return "only events and acks have an ack id"
    return None if 0 <= ack_id <= MAX_ACK_ID else "the ack id is too large"


def payload_fault(kind: PacketType, data: object) -> str | None:
    """Of data without regard to what lies deeper in it."""
    match kind:
        case PacketType.CONNECT:
            return None if data is None or isinstance(data, dict) else "CONNECT carries an object or nothing"
        case PacketType.DISCONNECT:
            return None if data is None else "DISCONNECT carries nothing"
        case PacketType.CONNECT_ERROR:
            fits = data is None or isinstance(data, str | dict)
            return None if fits else "CONNECT_ERROR carries an object or a string"
        case PacketType.EVENT:
            return _event_fault(data)
        case PacketType.ACK:
            return None if isinstance(data, list) else "an ack carries an array"
    return "BINARY_EVENT and BINARY_ACK are how an EVENT and an ACK with bytes are written"


def _event_fault(data: object) -> str | None:
    if not isinstance(data, list) or not data:
        return "an event carries an array, its name first"
    name = data[0]
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        return "an event's name is a string or a number"
    return "this event name is reserved" if name in RESERVED_NAMES else None


class _Detached:
    """Data as JSON values alone, and the attachments that were taken out of it."""

    def __init__(self) -> None:
        self.attachments: list[bytes] = []
        self._lookalike = False

    def value(self, value: object, levels: int) -> object:
        """The value with placeholders; it may have so many levels. Raises: ValueError."""
        match value:
            case None | bool() | int() | str():
                return value
            case float():
                if not isfinite(value):
                    raise ValueError("JSON has no NaN and no infinities")
                return value
        if not isinstance(value, bytes | list | tuple | dict):
            raise ValueError(f"neither JSON nor bytes: {type(value).__name__}")
        if levels == 0:  # a placeholder is an object, too
            raise ValueError(f"more than {MAX_DEPTH} levels of data")
        if isinstance(value, bytes):
            return self._placeholder(value)
        if isinstance(value, list | tuple):
            return [self.value(item, levels - 1) for item in value]
        self._lookalike = self._lookalike or value.get("_placeholder") is True
        return {_key(key): self.value(item, levels - 1) for key, item in value.items()}

    def check(self) -> None:
        """Raises: ValueError, if the peer could not tell the placeholders from the data.

        Else whoever gets such an object into an event of ours would end the connections of all it is sent to.
        """
        if self._lookalike:
            raise ValueError("data beside attachments looks like a placeholder")

    def _placeholder(self, attachment: bytes) -> object:
        if len(self.attachments) == MAX_ATTACHMENTS:
            raise ValueError(f"more than {MAX_ATTACHMENTS} attachments")
        self.attachments.append(attachment)
        return {"_placeholder": True, "num": len(self.attachments) - 1}


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"the keys of JSON are strings: {type(key).__name__}")
    return key
