"""The reading half of one HTTP/1.1 exchange: the request's body, pulled, and then the peer's disconnect.

The socket is read when the application calls `receive()`, never before, so the kernel's window is the
back-pressure. Past the body's end at most `READ_AHEAD_BYTES` are read, only to see the peer's FIN.
"""

from __future__ import annotations

import h11
import trio

from penstock.server.edge.asgi import ConnectionInfo, Message
from penstock.server.edge.direct import DirectBody
from penstock.server.edge.transport import Transport
from penstock.server.peer import Body, PeerGone
from penstock.server.settings import KIB, Settings

READ_AHEAD_BYTES = 64 * KIB  # enough for any pipelined head; a client that pipelines bodies waits its turn
DISCONNECT = "http.disconnect"


class Incoming:
    """What is read for one request. It is also the application's handle (`HttpHandle`)."""

    def __init__(
        self,
        connection: ConnectionInfo,
        transport: Transport,
        settings: Settings,
        parser: h11.Connection,
        request: h11.Request,
    ) -> None:
        self.ahead = b""  # read past the request's end: the next one's first bytes
        self.gone = False  # nothing more will be read from the peer
        self.peer_lost = False  # and it cannot be answered either: FIN or RST
        self.failure = (500, "the application gave no answer")  # what to answer if it indeed gives none
        self._connection = connection
        self._transport = transport
        self._settings = settings
        self._parser = parser
        self._length = _content_length(request)
        self._left = self._length  # bytes of the body not yet taken from h11; None: chunked
        self._ended = False  # the body is whole
        self._told_end = False  # and the application knows it
        self._answered = False
        self._pulled = False  # receive() was called: too late for the direct path
        self._parsed: h11.Data | None = None  # one event that was parsed too early
        # h11 would forget it with the first 1xx that goes out, but a 104 stands for no 100.
        self._owes_continue = parser.they_are_waiting_for_100_continue
        self._direct: DirectBody | None = None
        self._watch: trio.CancelScope | None = None
        if self._left == 0:
            self._body_event()  # h11 wants its EndOfMessage taken

    def take_body(self) -> Body | None:
        """See `HttpHandle`. Possible once, before the first `receive()`."""
        length = self._length
        possible = self._settings.fast_path and self._transport.plain and not self._pulled
        if not possible or not length or self._direct:
            return None
        buffered, _ = self._parser.trailing_data
        self.ahead = buffered[length:]
        self._direct = DirectBody(
            self._transport, buffered[:length], length, ask=self._ask_for_body, lost=self.lost_peer
        )
        return self._direct

    async def receive(self) -> Message:
        """The next piece of the body (at most 64 KiB), then, when the peer is gone, the disconnect.

        Cancelling it loses no byte.
        """
        self._pulled = True
        if self._direct:
            await self._until_settled(self._direct)
        elif not self._told_end and not self.gone:
            message = await self._next_piece()
            if message:
                return message
        await self._until_gone()
        return {"type": DISCONNECT}

    async def _next_piece(self) -> Message | None:
        if self._ended:
            return self._piece(b"")
        try:
            await self._ask_for_body()
            event = self._body_event()
            while event is h11.NEED_DATA:
                self._parser.receive_data(await self._read_body())
                event = self._body_event()
            return self._piece(bytes(event.data) if isinstance(event, h11.Data) else b"")
        except PeerGone:
            self.lost_peer()
        except TimeoutError:
            self._unreadable("body timeout", 408, "no byte of the body came for too long")
        except h11.RemoteProtocolError as error:
            self._unreadable("broken body", 400, str(error))
        return None

    async def _read_body(self) -> bytes:
        data = b""
        with trio.move_on_after(self._settings.body_idle_timeout_s) as deadline:
            data = await self._transport.receive_some()
        if deadline.cancelled_caught:
            raise TimeoutError
        if not data:
            raise PeerGone("the peer closed in mid-body")
        return data

    def _body_event(self) -> object:
        event, self._parsed = self._parsed or self._parser.next_event(), None
        if event is not h11.NEED_DATA:
            self._owes_continue = False  # it did not wait
        if isinstance(event, h11.EndOfMessage):
            self._ended = True
            self.ahead, _ = self._parser.trailing_data
        return event

    def _piece(self, data: bytes) -> Message:
        if self._left is not None:
            self._left -= len(data)
        if not self._ended:
            self._peek_end()
        self._told_end = self._ended
        return {"type": "http.request", "body": data, "more_body": not self._ended}

    def _peek_end(self) -> None:
        # Saves the application a call, and lets an answer after exactly the last byte keep the connection.
        following = self._body_event()
        if isinstance(following, h11.Data):
            self._parsed = following

    async def _until_settled(self, direct: DirectBody) -> None:
        with trio.CancelScope() as self._watch:
            if self._answered:
                self._watch.cancel()
            await direct.settled.wait()

    async def _until_gone(self) -> None:
        with trio.CancelScope() as self._watch:
            if self.gone or self._answered:
                self._watch.cancel()
            await self._read_ahead()

    async def _read_ahead(self) -> None:
        # FIN counts as gone: a peer that shuts down its half and still waits is not served.
        while len(self.ahead) < READ_AHEAD_BYTES:
            try:
                data = await self._transport.receive_some(READ_AHEAD_BYTES - len(self.ahead))
            except PeerGone:
                data = b""
            if not data:
                self.lost_peer()
                return
            self.ahead += data
        await trio.sleep_forever()

    async def _ask_for_body(self) -> None:
        if self._owes_continue and self._parser.our_state is h11.SEND_RESPONSE:
            self._owes_continue = False
            go_on = self._parser.send(
                h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            )
            # Once h11 has counted it as sent it must go out; `send_all` has a deadline of its own.
            with trio.CancelScope(shield=True):
                await self._transport.send_all(go_on)

    def _unreadable(self, reason: str, status: int, message: str) -> None:
        self.gone = True
        self._connection.reason = reason
        self.failure = (status, message)

    def lost_peer(self, reason: str = "peer gone") -> None:
        self.gone = self.peer_lost = True
        self._connection.reason = reason

    def answered(self) -> None:
        """The answer is out: a `receive()` that still waits has nothing more to wait for."""
        self._answered = True
        if self._watch:
            self._watch.cancel()

    def in_hand(self) -> bool:
        """Whether the rest of the body, if any, needs no further read: then the connection can go on."""
        if self._direct:
            return self._direct.complete
        buffered = len(self._parser.trailing_data[0])
        return self._ended or (self._left is not None and self._left <= buffered)

    def drop_rest(self) -> bool:
        """Throw away what is `in_hand` of the body; False where the connection ends with this request."""
        if self.gone or not self.in_hand():
            return False
        while not self._ended and not self._direct:
            try:
                self._body_event()
            except h11.RemoteProtocolError:
                return False
        return True


def _content_length(request: h11.Request) -> int | None:
    headers = dict(request.headers)  # h11 has checked both, and merged equal Content-Length lines
    if b"transfer-encoding" in headers:
        return None
    return int(headers.get(b"content-length", b"0"))
