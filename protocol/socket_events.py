"""How events look on Socket.IO: `["upload-progress", {…}]`, and what refusals look like there."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.protocol.errors import GatewayError, described
from penstock.protocol.events import Event
from penstock.protocol.messages import as_seen
from penstock.protocol.names import is_watch_key
from penstock.protocol.socketio.packets import event_text
from penstock.protocol.times import iso


class SocketEncoder:
    """Encodes the events of one session for those who know it by one reference, in one language.

    `key` is the same where the frames are.
    """

    def __init__(self, reference: str, language: str) -> None:
        self.key = ("socketio", language, is_watch_key(reference))
        self._reference = reference
        self._language = language

    def encode(self, event: Event) -> str:
        """One Socket.IO frame."""
        return event_text(event.NAME, msgspec.json.encode(as_seen(event, self._reference, self._language)))


def refused(error: GatewayError) -> dict[str, Any]:
    """The ack of a command that failed."""
    return {"ok": False, "error": described(error)}


def error_event(error: GatewayError, event: str, now: float) -> dict[str, Any]:
    """The payload of `error`, for a command without an ack."""
    told = described(error)
    return {
        "event": event,
        "code": told["code"],
        "message": told["message"],
        "error": told,
        "timestamp": iso(now),
    }
