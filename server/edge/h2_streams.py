"""One HTTP/2 stream as an ASGI application sees it: `receive` pulls the body, `send` writes the response.

The driver says what came in (`body_arrived`, `body_ended`, `lost`, `window_opened`) and never waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

import structlog
import trio
from h2.errors import ErrorCodes

from penstock.server.edge.answers import problem_answer, standard_headers
from penstock.server.edge.asgi import INFORMATIONAL, ASGIApp, Headers, Message, Scope
from penstock.server.edge.h2_link import DATA_BACKLOG, FIRST_WINDOW, LARGEST_WINDOW, Link
from penstock.server.peer import PeerGone, PeerTooSlow
from penstock.server.settings import KIB, Settings

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")  # RFC 9110 §5.1, in lower case (RFC 9113 §8.2.1)
_VALUE = re.compile(rb"[^\x00\r\n]*")
# They speak of one HTTP/1.1 connection; HTTP/2 forbids them (RFC 9113 §8.2.2).
_CONNECTION_HEADERS = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
}
_BODILESS = {204, 304}
PIECE_BYTES = 16 * KIB

log = structlog.get_logger()


class Pieces:
    """Bytes that wait; in few pieces, however small they came: two neighbours exceed `PIECE_BYTES`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def __len__(self) -> int:
        """How many pieces."""
        return len(self._pieces)

    def add(self, data: bytes) -> None:
        if self._pieces and len(self._pieces[-1]) + len(data) <= PIECE_BYTES:
            self._pieces[-1] += data
        elif data:
            self._pieces.append(data)

    def take(self) -> bytes:
        """All of them, in one."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Stream:
    """One request and its response.

    The body waits here, at most the stream's window of it: 64 KiB at first, doubled whenever the application
    has consumed a whole window, up to 1 MiB. Taking bytes is what gives window back, so a stream that nobody
    reads holds only itself.
    """

    def __init__(self, link: Link, stream_id: int, scope: Scope, settings: Settings) -> None:
        headers = dict(scope["headers"])
        self.id = stream_id
        self._link = link
        self._scope = scope
        self._settings = settings
        self._length = int(headers[b"content-length"]) if b"content-length" in headers else None
        self._expects_continue = headers.get(b"expect", b"").lower() == b"100-continue"
        self._failure = (500, "the application gave no answer")  # sent if it indeed gives none

        self._body = Pieces()
        self._arrived = 0
        self._ended = False
        self._end_told = False
        self._stalled = False  # the rest of the body is not waited for any more
        self._readable = trio.lowlevel.ParkingLot()
        self._window = FIRST_WINDOW
        self._consumed = 0  # since the window last grew
        self._uncredited = 0

        self._head: tuple[int, Headers] | None = None
        self._head_sent = False
        self._answered = False
        self._lost = False
        self._writable = trio.lowlevel.ParkingLot()

    # What the driver saw

    def body_arrived(self, data: bytes, padding: int) -> None:
        """A DATA frame; its padding is consumed already."""
        if self._answered:
            return
        self._arrived += len(data)
        self._body.add(data)
        self._expects_continue = False
        if padding:
            self._credit(padding)
        self._readable.unpark_all()

    def body_ended(self) -> None:
        """END_STREAM. h2 checks the length on DATA frames only; HEADERS may end it short."""
        if self._length not in (None, self._arrived) and not self._closed:
            self._link.reset(self.id, ErrorCodes.PROTOCOL_ERROR)  # RFC 9113 §8.1.1
            self.lost()
            return
        self._ended = True
        self._expects_continue = False
        self._readable.unpark_all()

    def lost(self) -> None:
        """The stream was reset, or the connection is gone. What arrived before can still be received."""
        self._lost = True
        self._readable.unpark_all()
        self._writable.unpark_all()
        self._link.drained.unpark_all()

    def window_opened(self) -> None:
        """The peer may be ready to take more."""
        self._writable.unpark_all()

    # What the application does

    async def run(self, app: ASGIApp) -> None:
        """Run the application to its end and answer in its stead where it failed."""
        try:
            await app(self._scope, self.receive, self.send)
        except* PeerGone:
            pass
        except* Exception as errors:
            self._failure = (500, "internal error")
            log.error("handler-failed", path=self._scope["path"], exc_info=errors)
        if not self._closed:
            await self._answer_failure()
        self._body = Pieces()
        self._link.return_growth(self._window - FIRST_WINDOW)

    async def receive(self) -> Message:
        """ASGI's receive: all of the body that is here, at most 1 MiB.

        Cancelling it loses no byte.
        """
        await trio.lowlevel.checkpoint()
        self._ask_for_body()
        with trio.move_on_after(self._settings.body_idle_timeout_s) as deadline:
            while not (self._body or self._ended or self._closed or self._stalled):
                await self._readable.park()
        if deadline.cancelled_caught:
            self._stalled = True
            self._failure = (408, "no byte of the body came for too long")
        if not self._stalled and (self._body or self._end_is_due):
            return self._take_body()
        while not (self._closed or self._stalled):
            await self._readable.park()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI's send. Returns when the bytes are on their way to the socket, at most 128 KiB before it.

        Raises: `PeerGone`; `PeerTooSlow` when the peer opened no window for `send_timeout_s` (the stream is
        reset then); `ValueError` for headers that cannot be sent, `RuntimeError` for a message out of turn.
        """
        if self._answered:
            raise RuntimeError(f"{message['type']} after the answer's end")
        await self._wait_backlog()
        match message["type"]:
            case "http.response.start" if self._head is None:
                # Held until the first piece of the body, as ASGI prescribes.
                self._head = (message["status"], _clean(message.get("headers", ())))
            case "http.response.body" if self._head is not None:
                await self._send_body(
                    *self._head, message.get("body", b""), not message.get("more_body", False)
                )
            case kind if kind == INFORMATIONAL:
                self._send_informational(message["status"], _clean(message.get("headers", ())))
            case kind:
                raise RuntimeError(f"{kind} is not possible here")
        await trio.lowlevel.checkpoint()

    @property
    def _closed(self) -> bool:
        return self._answered or self._lost

    @property
    def _end_is_due(self) -> bool:
        return self._ended and not self._end_told and not self._closed

    # The request's body

    def _ask_for_body(self) -> None:
        if self._expects_continue and not self._head_sent and not self._closed:
            self._link.send_headers(self.id, 100, [])
        self._expects_continue = False

    def _take_body(self) -> Message:
        body = self._body.take()
        self._end_told = self._ended
        self._credit(len(body))
        return {"type": "http.request", "body": body, "more_body": not self._ended}

    def _credit(self, size: int) -> None:
        """Give consumed bytes back to the peer, in steps of a quarter window: fewer frames, never a stall."""
        if self._ended or self._closed:
            return
        self._consumed += size
        self._uncredited += size
        if self._consumed >= self._window:
            self._grow()
        if self._uncredited >= self._window // 4:
            self._link.credit_stream(self.id, self._uncredited)
            self._uncredited = 0

    def _grow(self) -> None:
        growth = self._link.borrow_growth(min(self._window, LARGEST_WINDOW - self._window))
        self._window += growth
        self._uncredited += growth
        self._consumed = 0

    # The response

    async def _send_body(self, status: int, headers: Headers, body: bytes, end: bool) -> None:
        bodiless = self._scope["method"] == "HEAD" or status in _BODILESS
        rest = memoryview(b"" if bodiless else body)
        if not self._head_sent:
            self._head_sent = True
            self._link.send_headers(self.id, status, standard_headers() + headers, end=end and not rest)
        elif end and not rest:
            self._link.send_data(self.id, rest, end=True)
        while rest:
            rest = rest[self._link.send_data(self.id, rest, end=end) :]
            if rest:
                await self._wait_backlog()
                await self._wait_window()
        if end:
            self._complete()

    def _send_informational(self, status: int, headers: Headers) -> None:
        if not 100 <= status < 200 or status == 101:
            raise RuntimeError(f"{status} is no informational answer")
        if not self._head_sent:
            self._link.send_headers(self.id, status, headers)

    async def _answer_failure(self) -> None:
        if self._head_sent:
            self._link.reset(self.id, ErrorCodes.INTERNAL_ERROR)
            self.lost()
            return
        status, reason = self._failure
        headers, body = problem_answer(status, reason)
        with suppress(PeerGone):
            await self._send_body(status, headers, body, end=True)

    async def _wait_backlog(self) -> None:
        # No deadline: the socket's write has one.
        while self._link.backlog >= DATA_BACKLOG and not self._lost:
            await self._link.drained.park()
        self._check_open()

    async def _wait_window(self) -> None:
        with trio.move_on_after(self._settings.send_timeout_s) as deadline:
            while self._link.window(self.id) <= 0:
                await self._writable.park()
                self._check_open()
        if deadline.cancelled_caught:
            self._link.reset(self.id, ErrorCodes.CANCEL)
            self.lost()
            raise PeerTooSlow(f"no window for {self._settings.send_timeout_s} s")

    def _complete(self) -> None:
        self._answered = True
        self._body = Pieces()
        self._link.stop_request(self.id)
        self._readable.unpark_all()

    def _check_open(self) -> None:
        if self._lost:
            raise PeerGone("the stream was reset or its connection is gone")


def _clean(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Response headers as HTTP/2 has them. Raises: `ValueError`."""
    fields = [(bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in headers]
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"not a header field: {name!r}: {value!r}")
    return [(name, value) for name, value in fields if name not in _CONNECTION_HEADERS]
