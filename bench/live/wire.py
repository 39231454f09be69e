"""What a Socket.IO client says over a WebSocket, by hand.

Masked with zeros: a server has the same work to do.
"""

from __future__ import annotations

import zlib
from urllib.parse import quote

PATH = "/socket.io/?EIO=4&transport=websocket"
CONNECTED = b"HTTP/1.1 101 "
HEAD_END = b"\r\n\r\n"

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
COMPRESSED = 0xC1  # a text frame with RSV1: permessage-deflate, RFC 7692 section 6
_MASKED = 0x80
_NO_MASK = bytes(4)

# As browsers offer it.
_DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


def watch_target(session: str) -> str:
    """What a client asks for that joins `session` while it connects."""
    return f"{PATH}&sessionId={quote(session)}" if session else PATH


def upgrade(target: str, port: int, *, deflate: bool) -> bytes:
    return (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"{_DEFLATE if deflate else ''}\r\n"
    ).encode("ascii")


def frame(payload: bytes, first: int = TEXT) -> bytes:
    """From a client. Raises: ValueError if it is longer than anything said here."""
    length = len(payload)
    if length < 126:
        size = bytes((_MASKED | length,))
    elif length < 65536:
        size = bytes((_MASKED | 126,)) + length.to_bytes(2, "big")
    else:
        raise ValueError(f"{length} bytes")
    return bytes((first,)) + size + _NO_MASK + payload


def server_frame(payload: bytes) -> bytes:
    """From a server: not masked."""
    length = len(payload)
    size = bytes((length,)) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
    return bytes((TEXT,)) + size + payload


def _deflated(payload: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


NAMESPACE = frame(b"40")
PONG_PACKET = frame(b"3")
# One byte has nothing before it to refer to: a compressed ping always looks the same.
COMPRESSED_PING = _deflated(b"2")
