"""What a request's query says, which requests are refused and how, and the open packet."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec

from penstock.protocol.engineio.packets import PacketType

VERSION = "4"
MAX_PARAMETERS = 50


class Transport(Enum):
    POLLING = "polling"
    WEBSOCKET = "websocket"


class Refusal(Enum):
    """(code, message, HTTP status) of the error body."""

    UNKNOWN_TRANSPORT = (0, "Transport unknown", 400)
    UNKNOWN_SID = (1, "Session ID unknown", 400)
    BAD_METHOD = (2, "Bad handshake method", 400)
    BAD_REQUEST = (3, "Bad request", 400)
    UNSUPPORTED_VERSION = (5, "Unsupported protocol version", 400)
    BUSY = (3, "No new sessions now; come back in a moment", 503)  # ours: the protocol knows no limit

    @property
    def status(self) -> int:
        return self.value[2]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Beside those of its body."""
        return [(b"retry-after", b"5")] if self is Refusal.BUSY else []

    @property
    def body(self) -> bytes:
        code, message, _ = self.value
        return msgspec.json.encode({"code": code, "message": message})


class Refused(Exception):
    """The request cannot be served; `refusal` says what it is answered."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value[1])
        self.refusal = refusal


class Query(NamedTuple):
    """A request's parameters. `values` holds all of them, the last of each name."""

    transport: Transport
    sid: str | None
    version: str | None
    only_text: bool  # b64=1: binary is base64 on either transport
    values: dict[str, str]

    def check_handshake(self, method: str, *, upgrades: bool) -> None:
        """Raises: Refused, unless the request may open a session. `upgrades`: it is a WebSocket handshake."""
        if method != "GET":
            raise Refused(Refusal.BAD_METHOD)
        if (self.transport is Transport.WEBSOCKET) is not upgrades:
            raise Refused(Refusal.BAD_REQUEST)
        if self.version != VERSION:
            raise Refused(Refusal.UNSUPPORTED_VERSION)


def read_query(query_string: bytes) -> Query:
    """Raises: Refused."""
    try:
        pairs = parse_qsl(
            query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise Refused(Refusal.BAD_REQUEST) from None
    values = dict(pairs)
    try:
        transport = Transport(values.get("transport"))
    except ValueError:
        raise Refused(Refusal.UNKNOWN_TRANSPORT) from None
    return Query(transport, values.get("sid"), values.get("EIO"), values.get("b64") == "1", values)


class Timing(NamedTuple):
    """Of the heartbeat."""

    ping_interval_s: float
    ping_timeout_s: float


def open_frame(sid: str, transport: Transport, timing: Timing, max_payload_bytes: int) -> str:
    """The packet that a session begins with."""
    opening = {
        "sid": sid,
        "upgrades": ["websocket"] if transport is Transport.POLLING else [],
        "pingInterval": round(timing.ping_interval_s * 1000),
        "pingTimeout": round(timing.ping_timeout_s * 1000),
        "maxPayload": max_payload_bytes,
    }
    return PacketType.OPEN + msgspec.json.encode(opening).decode()
