"""The close codes of our WebSockets: the number alone tells a client whether coming back makes sense.

4000 to 4499: come back (with what you saw last); 4500 to 4999: do not, the same again would end the same way.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    NORMAL = 1000
    INTERNAL_ERROR = 1011
    DRAINING = 4001
    TOO_SLOW = 4002
    HEARTBEAT = 4003
    SESSION_TIMEOUT = 4004
    AUTH = 4500
    PROTOCOL = 4501
    INVALID_MESSAGES = 4502
    FORBIDDEN = 4503

    @property
    def come_back(self) -> bool:
        """Whether a client should connect again."""
        return self is CloseCode.INTERNAL_ERROR or 4000 <= self <= 4499
