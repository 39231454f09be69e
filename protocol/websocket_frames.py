"""WebSocket frames (RFC 6455 section 5.2) as a server sends them: never masked, never in pieces."""

from __future__ import annotations

_FINAL_TEXT = 0x81
_TWO_MORE, _EIGHT_MORE = 126, 127  # bytes of the length follow


def text_frame(payload: bytes) -> bytes:
    """One whole text message. `payload` is UTF-8."""
    length = len(payload)
    if length < _TWO_MORE:
        return bytes((_FINAL_TEXT, length)) + payload
    if length < 1 << 16:
        return bytes((_FINAL_TEXT, _TWO_MORE)) + length.to_bytes(2, "big") + payload
    return bytes((_FINAL_TEXT, _EIGHT_MORE)) + length.to_bytes(8, "big") + payload
