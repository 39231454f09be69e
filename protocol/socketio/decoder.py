"""Frames → packets, strictly: what no client library sends is refused, though the Node parser may take it.

Where the two differ is listed, with reasons, in docs/socketio.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from penstock.protocol.engineio.packets import Frame
from penstock.protocol.socketio.packets import (
    BINARY_TYPES,
    MAX_ACK_ID,
    MAX_ATTACHMENTS,
    MAX_DEPTH,
    ROOT,
    Packet,
    PacketType,
    SocketError,
    ack_id_fault,
    namespace_fault,
    payload_fault,
)

# A namespace ends at its comma or with the packet; all before the comma is its name, a query (`/a?b=c`) too.
# `[0-9]`, never `\d`: that is every script's digits.
_HEADER = re.compile(
    r"(?P<type>[0-6])(?:(?P<attachments>[0-9]+)-)?(?:(?P<namespace>/[^,]*)(?:,|\Z))?(?P<ack_id>[0-9]+)?"
)
_ATTACHMENTS = {str(count): count for count in range(1, MAX_ATTACHMENTS + 1)}
_ACK_ID_DIGITS = len(str(MAX_ACK_ID))
_UNBINARY = {binary: plain for plain, binary in BINARY_TYPES.items()}
_PAYLOAD_BEGINS = ("[", "{", '"')  # white space would be JSON, too; the Node parser takes it for an ack id


class _Slot(NamedTuple):
    """Where an attachment belongs: `container[key]`."""

    container: Any  # a list or a dict
    key: int | str
    attachment: int


class _Unfinished(NamedTuple):
    """A packet that waits for attachments."""

    packet: Packet
    slots: list[_Slot]
    attachments: list[bytes]
    missing: int  # when its text came


class Decoder:
    """Of one connection. Between two packets it keeps nothing."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes`: of one packet, in UTF-8, with its attachments."""
        self._max_bytes = max_bytes
        self._bytes = 0  # of the packet under way
        self._unfinished: _Unfinished | None = None
        self._failed = False

    def feed(self, frame: Frame) -> Packet | None:
        """The packet that the frame completes; None: attachments of it are still to come.

        Its type is EVENT or ACK also where it came with attachments.
        Raises: SocketError, and from then on for every frame.
        """
        if self._failed:
            raise SocketError("what came before could not be read")
        self._failed = True  # until it is known to be good
        packet = self._text(frame) if isinstance(frame, str) else self._attachment(frame)
        self._failed = False
        return packet

    def _text(self, text: str) -> Packet | None:
        if self._unfinished is not None:
            raise SocketError("a text where an attachment was due")
        self._bytes = 0
        self._count(_utf8_bytes(text))
        unfinished = _parse(text)
        if unfinished.missing:
            self._unfinished = unfinished
            return None
        return unfinished.packet

    def _attachment(self, attachment: bytes) -> Packet | None:
        unfinished = self._unfinished
        if unfinished is None:
            raise SocketError("an attachment of no packet")
        self._count(len(attachment))
        unfinished.attachments.append(attachment)
        if len(unfinished.attachments) < unfinished.missing:
            return None
        for slot in unfinished.slots:
            slot.container[slot.key] = unfinished.attachments[slot.attachment]
        self._unfinished = None
        return unfinished.packet

    def _count(self, more_bytes: int) -> None:
        self._bytes += more_bytes
        if self._bytes > self._max_bytes:
            raise SocketError(f"a packet of more than {self._max_bytes} bytes")


def _utf8_bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise SocketError("half a surrogate pair is no text") from None


def _parse(text: str) -> _Unfinished:
    header = _HEADER.match(text)
    if header is None:
        raise SocketError("a packet begins with its type, 0 to 6")
    wire_type = PacketType(header["type"])
    attachments = _parse_attachments(wire_type, header["attachments"])
    kind = _UNBINARY.get(wire_type, wire_type)
    data = _parse_json(text[header.end() :])
    namespace, ack_id = header["namespace"] or ROOT, _parse_ack_id(header["ack_id"])
    fault = namespace_fault(namespace) or ack_id_fault(kind, ack_id) or payload_fault(kind, data)
    if fault:
        raise SocketError(fault)
    slots = list(_find_slots(data, attachments)) if attachments else []
    return _Unfinished(Packet(kind, namespace, data, ack_id), slots, [], attachments)


def _parse_attachments(kind: PacketType, digits: str | None) -> int:
    if kind not in _UNBINARY:
        if digits is not None:
            raise SocketError("only BINARY_EVENT and BINARY_ACK have attachments")
        return 0
    if digits not in _ATTACHMENTS:
        raise SocketError(f"1 to {MAX_ATTACHMENTS} attachments")
    return _ATTACHMENTS[digits]


def _parse_ack_id(digits: str | None) -> int | None:
    if digits is None:
        return None
    # Length first: int() of a million digits takes its time, or refuses in its own way.
    return MAX_ACK_ID + 1 if len(digits) > _ACK_ID_DIGITS else int(digits)


def _parse_json(text: str) -> object:
    if not text:
        return None
    if not text.startswith(_PAYLOAD_BEGINS):
        raise SocketError("JSON data, where there is any, is an array, an object or a string")
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SocketError(f"not valid JSON: {error}") from None
    # Mostly there are fewer brackets than levels allowed, and nobody needs to walk through the data.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_too_deep(value):
        raise SocketError(f"more than {MAX_DEPTH} levels of data")
    return value


def _is_too_deep(value: object) -> bool:
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(MAX_DEPTH):
        children = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for some in children for child in some if isinstance(child, list | dict)]
    return bool(level)


def _find_slots(data: object, attachments: int) -> Iterator[_Slot]:
    """Where attachments belong. One may be wanted in several places or in none, as in the Node parser.

    A bad placeholder is found here, before its attachments come: CVE-2022-2421 was one that nobody checked.
    Raises: SocketError.
    """
    for key, item in _items(data):
        if isinstance(item, dict) and item.get("_placeholder") is True:
            number = item.get("num")
            if type(number) is not int or not 0 <= number < attachments:  # True is an int as well
                raise SocketError("a placeholder for no attachment of this packet")
            yield _Slot(data, key, number)
        else:
            yield from _find_slots(item, attachments)  # no deeper than MAX_DEPTH


def _items(container: object) -> Iterator[tuple[int | str, object]]:
    if isinstance(container, dict):
        yield from container.items()
    elif isinstance(container, list):
        yield from enumerate(container)
