"""The direct path: a request's body straight from the socket into the taker's buffer, around h11.

Only for HTTP/1.1 without TLS and with a Content-Length: then the end of the body is known without parsing.
h11 has already read past the head; that prefix is part of the body, and what follows it in the same segment
is the next request. h11 never sees a byte of a body taken here, so it must not be asked for another event:
the answer goes out through the same `h11.Connection`, the next request gets a fresh one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import trio

from penstock.server.edge.transport import Transport
from penstock.server.peer import BodyBroken, PeerGone, Take


class DirectBody:
    """A `Body` of known length on a plain socket. One task takes it."""

    def __init__(
        self,
        transport: Transport,
        prefix: bytes,
        length: int,
        *,
        ask: Callable[[], Awaitable[None]],
        lost: Callable[[], None],
    ) -> None:
        """`ask` sends the 100 Continue that is due, if one is; `lost` is told when the peer is."""
        self.length: int | None = length
        self.settled = trio.Event()  # taken to its end, or broken
        self._transport = transport
        self._prefix = memoryview(prefix)
        self._left = length
        self._ask = ask
        self._lost = lost
        self._broken: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every byte has been taken, so that the connection can go on to its next request."""
        return self._left == 0

    async def wait_readable(self) -> None:
        """Wait for bytes or the end; applies no deadline. Cancel-safe. Sends `100 Continue` first if due."""
        if self._prefix or not self._left or self._broken:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._ask()
            await self._transport.wait_readable()
        except PeerGone as error:
            self._break(str(error))
            self._settle()

    def receive_nowait(self, into: memoryview) -> int:
        """Move up to `len(into)` bytes, exactly `length` in all; 0 is the end.

        Raises: `trio.WouldBlock`; `BodyBroken` when the peer is gone before the end.
        """
        if self._broken:
            raise BodyBroken(self._broken)
        if not self._left:
            return 0
        try:
            return self._receive(into)
        finally:
            self._settle()

    @contextmanager
    def in_thread(self) -> Iterator[Take]:
        """See `ThreadedBody`. Nobody is told of the end before this is left: that is for the body's task."""
        try:
            with self._transport.lent():
                yield self._receive_waiting
        finally:
            self._settle()

    def _receive_waiting(self, into: memoryview, wait_s: float) -> int:
        with suppress(BodyBroken):
            if self._left and not self._broken:
                with suppress(trio.WouldBlock):  # mostly there is something, and a poll is not free
                    return self._receive(into)
                if self._transport.is_readable(wait_s):
                    return self._receive(into)
        return 0

    def _settle(self) -> None:
        """Tell who waits for it that the body is at its end, or broken. Idempotent."""
        if self.settled.is_set() or not (self._broken or self.complete):
            return
        self.settled.set()
        if self._broken:
            self._lost()

    def _receive(self, into: memoryview) -> int:
        """In any thread, so nobody is told of the end yet."""
        count = self._from_prefix(into) if self._prefix else self._from_socket(into[: self._left])
        self._left -= count
        return count

    def _from_prefix(self, into: memoryview) -> int:
        count = min(len(into), len(self._prefix))
        into[:count] = self._prefix[:count]
        self._prefix = self._prefix[count:]
        return count

    def _from_socket(self, into: memoryview) -> int:
        try:
            count = self._transport.receive_nowait(into)
        except PeerGone as error:
            raise BodyBroken(self._break(str(error))) from error
        if not count:
            raise BodyBroken(self._break(f"the peer closed {self._left} bytes before the end"))
        return count

    def _break(self, why: str) -> str:
        self._broken = why
        return why
