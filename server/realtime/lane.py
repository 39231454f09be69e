"""The short way to WebSockets, see `server/uploads/fanout.py`: messages framed as they are on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.protocol.engineio.packets import PacketType
from penstock.protocol.websocket_frames import text_frame
from penstock.server.uploads.ring import Encoder


class WireLane:
    """See `Lane`. `send_nowait` is the connection's, which must be idle."""

    __slots__ = ("encoder", "framed", "send_nowait")

    def __init__(
        self, encoder: Encoder[Any], framed: Callable[[Any], bytes], send_nowait: Callable[[bytes], bool]
    ) -> None:
        self.encoder = encoder
        self.framed = framed
        self.send_nowait = send_nowait


def engineio_frame(message: str) -> bytes:
    """A message of Engine.IO on a WebSocket."""
    return text_frame((PacketType.MESSAGE + message).encode())
