"""The other side of a connection as every part of the server sees it: its body, and how it can let us down.

Bodies are pulled, never pushed: the edge provides them (straight from the socket, or out of ASGI messages),
dialects hand them to an append.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable


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


Take = Callable[[memoryview, float], int]
"""Blocks, for worker threads: moves bytes into the buffer and says how many, waiting for the first at most so
many seconds. 0: nothing came, the end, or a break; which one, `receive_nowait` says afterwards."""


@runtime_checkable
class ThreadedBody(Body, Protocol):
    """A body that can also be taken in a worker thread."""

    def in_thread(self) -> AbstractContextManager[Take]:
        """Around a hop into a thread that uses the `Take`. The body's task enters it, and does nothing else
        with the body until the thread is done."""
