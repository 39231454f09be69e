"""The only code that touches a connected socket: deadlines on writes, hard and lingering close.

A write that the kernel took only in part (cancelled or too slow) leaves the peer in mid-frame: such a stream
is closed at once and never used again.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from penstock.server.peer import PeerGone, PeerTooSlow
from penstock.server.settings import KIB, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_BYTES = 64 * KIB
_PLAIN_STEP = 64 * KIB
# trio.SSLStream shows no partial progress: one TLS record a step, so that a slow reader still counts as one.
_TLS_STEP = 16 * KIB
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close sends RST and frees the send queue
_DROPPED = bytearray(READ_BYTES)  # where lingering reads go; nobody looks at it


@dataclass(slots=True)
class Traffic:
    """Bytes moved by all connections, as read and written (plain text where there is TLS)."""

    bytes_read: int = 0
    bytes_written: int = 0


class Transport:
    """A connected stream. One task may read, any number may write (one after the other)."""

    def __init__(
        self,
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream],
        settings: Settings,
        traffic: Traffic | None = None,
    ) -> None:
        self._stream = stream
        self._socket = (
            stream.socket if isinstance(stream, trio.SocketStream) else stream.transport_stream.socket
        )
        self._settings = settings
        self._traffic = traffic or Traffic()
        self._write_lock = trio.Lock()
        self._closed = False
        self._broken: PeerGone | None = None  # what the next read has to say
        self._rest = b""  # of what `send_nowait` was given
        self._lent = False
        self._lent_bytes = 0

    @property
    def plain(self) -> bool:
        """Whether bytes on the socket are the peer's bytes: no TLS in between."""
        return isinstance(self._stream, trio.SocketStream)

    @property
    def closed(self) -> bool:
        """Whether this side has closed the stream, by `abort()` after a cut write for instance."""
        return self._closed

    async def receive_some(self, max_bytes: int = READ_BYTES) -> bytes:
        """The next bytes, b"" at the peer's FIN. No deadline of its own; cancelling it loses no byte.

        Raises: `PeerGone`.
        """
        with _peer_errors():
            if self._broken:
                raise self._broken
            data = bytes(await self._stream.receive_some(max_bytes))
        if data and isinstance(self._stream, trio.SSLStream):
            data = self._more_records(self._stream, data, max_bytes)
        self._traffic.bytes_read += len(data)
        return data

    def _more_records(self, stream: trio.SSLStream[trio.SocketStream], data: bytes, most: int) -> bytes:
        """`data`, and what else is here: Trio hands out one TLS record at a time, each for a task switch."""
        pieces, room = [data], most - len(data)
        try:
            while room > 0 and (piece := stream._ssl_object.read(room)):
                pieces.append(piece)
                room -= len(piece)
        except (ssl.SSLWantReadError, ssl.SSLEOFError):
            pass  # the next read waits, or says so
        except ssl.SSLError as error:
            self._broken = PeerGone(str(error))  # OpenSSL says it only once
        return b"".join(pieces)

    async def wait_readable(self) -> None:
        """Wait for bytes, FIN or an error on the socket (`plain` ones only). Raises: `PeerGone`."""
        with _peer_errors():
            await trio.lowlevel.wait_readable(self._socket)

    def receive_nowait(self, into: memoryview) -> int:
        """Read into a buffer (`plain` ones only); 0 at FIN. Raises: `trio.WouldBlock`, `PeerGone`."""
        with _peer_errors():
            try:
                count = os.readv(self._socket.fileno(), [into])
            except BlockingIOError:
                raise trio.WouldBlock from None
        if self._lent:
            self._lent_bytes += count
        else:
            self._traffic.bytes_read += count
        return count

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While a worker thread reads (`is_readable`, `receive_nowait`): the descriptor stays open, or the
        thread might find another connection's behind its number. What closes the stream meanwhile ends it for
        the peer and for the thread, and gives the descriptor back afterwards."""
        self._lent, self._lent_bytes = True, 0
        try:
            yield
        finally:
            self._lent = False
            self._traffic.bytes_read += self._lent_bytes  # here, since threads would lose some of it
            if self._closed:
                self._socket.close()

    def is_readable(self, wait_s: float) -> bool:
        """Blocks: whether bytes, FIN or an error come within that time (`plain` ones only)."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    def send_nowait(self, data: bytes) -> bool:
        """Write if nobody else does and the kernel takes it; False: nothing of it was written.

        If it took only the beginning, the stream `is_behind`: the next `send_all`, be it of nothing, writes
        the rest first. Somebody must call it soon.
        """
        if self._rest or self._closed or not self.plain or self._write_lock.locked():
            return False
        try:
            sent = os.write(self._socket.fileno(), data)
        except OSError:  # it takes nothing, or the peer is gone: the reader sees that
            return False
        self._traffic.bytes_written += sent
        self._rest = data[sent:]
        return True

    @property
    def is_behind(self) -> bool:
        """Whether something is left of what `send_nowait` was given."""
        return bool(self._rest)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write everything; the deadline is `send_timeout_s` from the last moment the kernel took a byte.

        Cancelled before the first byte it leaves the stream as it was; after it, the stream is closed.

        Raises: `PeerTooSlow`, `PeerGone`; the stream is closed then.
        """
        async with self._write_lock:
            if self._closed:
                raise PeerGone("the stream is closed")
            try:
                if self._rest:
                    await self._send_steps(memoryview(self._rest), begun=True)
                    self._rest = b""
                await self._send_steps(memoryview(data))
            except PeerGone:
                self.abort()
                raise

    async def _send_steps(self, rest: memoryview, *, begun: bool = False) -> None:
        whole = len(rest)
        try:
            while rest:
                with trio.move_on_after(self._settings.send_timeout_s) as deadline:
                    sent = await self._send_step(rest)
                    rest = rest[sent:]
                    self._traffic.bytes_written += sent
                if deadline.cancelled_caught:
                    raise PeerTooSlow(f"no byte taken for {self._settings.send_timeout_s} s")
        finally:
            if rest and (begun or len(rest) < whole or not self.plain):
                self.abort()

    async def _send_step(self, rest: memoryview) -> int:
        with _peer_errors():
            if isinstance(self._stream, trio.SocketStream):
                return await self._stream.socket.send(rest[:_PLAIN_STEP])
            await self._stream.send_all(rest[:_TLS_STEP])
            return min(len(rest), _TLS_STEP)

    def abort(self) -> None:
        """Close at once with a reset: what the peer has not taken is thrown away. Never blocks or fails."""
        if not self._closed:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._close()

    async def aclose(self) -> None:
        """Close; what was written is still delivered if the peer has nothing unread here. Never blocks."""
        self._close()
        await trio.lowlevel.checkpoint()

    async def linger_close(self) -> None:
        """FIN, then read and drop for at most `linger_s` and `linger_bytes`, then close.

        Closing with unread bytes sends RST, which can destroy an answer the peer has not read yet
        (RFC 9112 §9.6). Shielded and bounded, so it also works in a cancelled scope.
        """
        if not self._closed:
            with trio.move_on_after(self._settings.linger_s, shield=True), suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
                await self._drop(self._settings.linger_bytes)
            self._close()

    async def _drop(self, most: int) -> None:
        while most > 0:
            with _peer_errors():
                count = await self._socket.recv_into(_DROPPED)
            if not count:
                return
            self._traffic.bytes_read += count
            most -= count

    def _close(self) -> None:
        self._closed = True
        if self._lent:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        else:
            self._socket.close()


@contextmanager
def _peer_errors() -> Iterator[None]:
    """The one place where Trio's and the kernel's words for a lost connection become ours."""
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise PeerGone(str(error) or "the connection is broken") from error
    except PeerGone:
        raise
    except OSError as error:
        raise PeerGone(str(error)) from error
