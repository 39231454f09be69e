"""The other side of a connection as every part of the server sees it: its body, and how it can let us down.

Bodies are pulled, never pushed: the edge provides them (straight from the socket, or out of ASGI messages),
dialects hand them to an append.
"""

from __future__ import annotations

from typing import Protocol


class PeerGone(OSError):
    """The connection is closed or broken. An `OSError`, because ASGI's `send` promises one."""


class PeerTooSlow(PeerGone):
    """The kernel took no byte for `send_timeout_s`: the peer does not read, its connection is closed."""


class BodyBroken(Exception):
    """The peer is gone, sent too little, or broke the protocol in mid-body. No more bytes will come."""


class Body(Protocol):
    """One request's bytes, taken in steps the taker chooses.

    `length` is the announced number of bytes, None where none was announced.
    """

    length: int | None

    async def wait_readable(self) -> None:
        """Wait until `receive_nowait` has something to say: bytes, the end, or `BodyBroken`.

        Cancel-safe: cancelling it loses no byte. Callers put a deadline around it.
        Nothing beyond one read (at most 64 KiB) is taken from the socket while nobody takes bytes from here.
        """

    def receive_nowait(self, into: memoryview) -> int:
        """Move up to `len(into)` bytes into the buffer and say how many; 0 is the end of the body.

        Raises: `trio.WouldBlock` when nothing is there yet; `BodyBroken`.
        """
