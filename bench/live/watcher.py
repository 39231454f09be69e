"""One watcher: connects, joins, answers pings, and counts events without looking into them."""

from __future__ import annotations

import os
import socket
from enum import Enum, auto

from bench.live import wire

BUFFER_BYTES = 1024 * 1024
_SLACK = 16  # what is read behind the end of the data may be stale, but must be there
_EVENT_0, _EVENT_1 = b"42"
_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: the port is chosen by `connect`, so each address has all of them


class Lost(Exception):
    """The server refused or ended the connection."""


class Step(Enum):
    CONNECTING = auto()
    UPGRADING = auto()
    OPENING = auto()  # frames from here on
    JOINING = auto()
    JOINED = auto()


class Buffer:
    """One for all watchers: they are read one after the other, and keep next to nothing."""

    def __init__(self) -> None:
        self.data = bytearray(BUFFER_BYTES + _SLACK)
        self.view = memoryview(self.data)[:BUFFER_BYTES]


class Watcher:
    """Counts `events`: text frames that begin with `42`, and compressed ones that are no ping."""

    __slots__ = (
        *("_buffer", "_receive", "_rest", "_skip", "_upgrade"),
        *("bytes", "events", "socket", "step"),
    )

    def __init__(self, buffer: Buffer, address: tuple[str, int], source: str, upgrade: bytes) -> None:
        self.events = self.bytes = 0
        self.step = Step.CONNECTING
        self._buffer = buffer
        self._rest = b""
        self._skip = 0  # bytes of a frame that is still coming
        self._upgrade = upgrade
        self.socket = socket.socket()
        self._receive = self.socket.recv_into
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        self.socket.bind((source, 0))
        self.socket.connect_ex(address)

    def writable(self) -> None:
        """The connection is there, or is not to be had. Raises: OSError."""
        if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.send(self._upgrade)
        self.step = Step.UPGRADING

    def readable(self) -> int:
        """Take what has come; how many events were in it. Raises: Lost, OSError."""
        if self._rest:
            return self._readable_on()
        if not (got := self._receive(self._buffer.view)):
            raise Lost("the server ended the connection")
        self.bytes += got
        return self._walk(self._skip, got)

    def _readable_on(self) -> int:
        """The same, behind what was kept."""
        kept, self._rest = self._rest, b""
        self._buffer.data[: len(kept)] = kept
        if not (got := self._receive(self._buffer.view[len(kept) :])):
            raise Lost("the server ended the connection")
        self.bytes += got
        return self._walk(0, len(kept) + got)

    def _answered(self, end: int) -> int:
        """Where frames begin; `end`, with all of it kept, while the answer is not whole. Raises: Lost."""
        head = bytes(self._buffer.data[:end])
        behind = head.find(wire.HEAD_END) + len(wire.HEAD_END)
        if behind < len(wire.HEAD_END):
            self._rest = head
            return end
        if not head.startswith(wire.CONNECTED):
            raise Lost(head[:300].decode("latin-1"))
        self.step = Step.OPENING
        return behind

    def _walk(self, at: int, end: int) -> int:
        """From header to header; the number of events."""
        data, found = self._buffer.data, 0
        if self.step is Step.UPGRADING:
            at = self._answered(end)
        while at < end:
            length, body = data[at + 1], at + 2
            if length == 126:
                length, body = data[at + 2] << 8 | data[at + 3], at + 4
            elif length == 127:
                length, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            behind = body + length
            if body + 2 > end and behind > end:
                break
            if data[body] == _EVENT_0 and data[body + 1] == _EVENT_1 and length > 1 and data[at] == wire.TEXT:
                found += 1
            elif behind > end:
                break  # rare and short: looked at when it is whole
            else:
                found += self._said(data[at], bytes(data[body:behind]))
            at = behind
        self.events += found
        self._skip = at - end if at > end else 0
        if at < end:
            self._rest = bytes(data[at:end])
        return found

    def _said(self, first: int, payload: bytes) -> int:
        """Anything but a plain event; 1 if it is a compressed one. Raises: Lost."""
        if first == wire.CLOSE:
            raise Lost(f"closed: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}")
        if first == wire.PING:
            self.socket.send(wire.frame(payload, wire.PONG))
        elif payload == b"2" or (first == wire.COMPRESSED and payload == wire.COMPRESSED_PING):
            self.socket.send(wire.PONG_PACKET)
        elif self.step is Step.JOINED:
            if first != wire.COMPRESSED:
                raise Lost(f"said {payload[:100]!r}")
            return 1
        else:
            self._next_step(payload[:1] if first == wire.TEXT else b"")
        return 0

    def _next_step(self, kind: bytes) -> None:
        """Open packet, then the namespace: compressed ones are told by their order. Raises: Lost."""
        if kind not in (b"", b"0" if self.step is Step.OPENING else b"4"):
            raise Lost(f"said {kind!r} while {self.step.name}")
        if self.step is Step.OPENING:
            self.socket.send(wire.NAMESPACE)
        self.step = Step(self.step.value + 1)
