"""One HTTP/1.1 request and its answer: runs the application over one `h11.Connection`.

Every exchange has its own `h11.Connection`; bytes read past its request are handed on to the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import h11
import structlog

from penstock.server.edge.answers import leaves, problem_answer, standard_headers
from penstock.server.edge.asgi import INFORMATIONAL, ASGIApp, ConnectionInfo, Headers, Message, http_scope
from penstock.server.edge.incoming import Incoming
from penstock.server.edge.transport import Transport
from penstock.server.peer import PeerGone, PeerTooSlow
from penstock.server.settings import Settings

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_PHRASES |= {
    104: "Upload Resumption Supported",
    460: "Checksum Mismatch",
}  # the IETF draft's and tus's own

log = structlog.get_logger()


class Exchange:
    """Runs the application for one request and writes its answer."""

    def __init__(
        self,
        connection: ConnectionInfo,
        transport: Transport,
        settings: Settings,
        parser: h11.Connection,
        request: h11.Request,
        *,
        last: bool = False,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._parser = parser
        self._request = request
        self._last = last  # no further request on this connection
        self._incoming = Incoming(connection, transport, settings, parser, request)
        self._start: Message | None = None
        self._answering = False  # the head of the answer is out
        self._answered = False

    @property
    def ahead(self) -> bytes:
        """What was read past this request: the next one's first bytes."""
        return self._incoming.ahead

    async def run(self, app: ASGIApp) -> bool:
        """Run the application to its end and answer in its stead where it failed.

        Returns whether the connection can take another request; if not, it has been closed.
        """
        scope = http_scope(
            self._connection,
            method=self._request.method,
            target=self._request.target,
            headers=self._request.headers,
            http_version=self._request.http_version.decode("ascii"),
            handle=self._incoming,
        )
        try:
            await app(scope, self._incoming.receive, self.send)
        except Exception as error:
            self._failed(error)
        return await self._finish()

    # What the application writes

    async def send(self, message: Message) -> None:
        """ASGI's send. Raises: `PeerGone` (an `OSError`); `RuntimeError` for messages out of order."""
        if self._answered:
            raise RuntimeError(f"{message['type']} after the answer's end")
        match message["type"]:
            case "http.response.start" if self._start is None:
                self._start = message  # held until the first piece of the body, as ASGI prescribes
            case "http.response.body" if self._start is not None:
                await self._send_piece(message.get("body", b""), message.get("more_body", False))
            case kind if kind == INFORMATIONAL:
                await self._send_informational(message)
            case kind:
                raise RuntimeError(f"{kind} is not possible here")

    async def _send_piece(self, data: bytes, more: bool) -> None:
        # Rendered first, then written in one go: if h11 refuses a later event nothing has been sent.
        out = list(self._render(data, more))
        self._answering = True
        await self._write(b"".join(out))
        if not more:
            self._answered = True
            self._incoming.answered()

    async def _write(self, data: bytes) -> None:
        # h11 has counted it as sent: if it does not leave whole (cancelled), nothing may follow it.
        written = False
        try:
            await self._transport.send_all(data)
            written = True
        finally:
            if not written:
                self._transport.abort()

    def _render(self, data: bytes, more: bool) -> Iterator[bytes]:
        if not self._answering and self._start:
            yield self._parser.send(self._head(self._start["status"], self._start.get("headers", [])))
        if data and self._carries_body:
            yield self._parser.send(h11.Data(data=data))
        if not more:
            yield self._parser.send(h11.EndOfMessage())

    @property
    def _carries_body(self) -> bool:
        status = self._start["status"] if self._start else 0
        return self._request.method != b"HEAD" and status not in (204, 304)

    def _head(self, status: int, headers: Headers) -> h11.Response:
        lines = [*standard_headers(), *((bytes(name), bytes(value)) for name, value in headers)]
        if status == 204:  # must not carry one, RFC 9110 §8.6
            lines = [line for line in lines if line[0].lower() != b"content-length"]
        if self._last or self._incoming.gone or not self._incoming.in_hand():
            lines.append((b"connection", b"close"))
        return h11.Response(status_code=status, headers=lines, reason=_reason(status))

    async def _send_informational(self, message: Message) -> None:
        status = message["status"]
        if not 100 <= status < 200 or status == 101:
            raise RuntimeError(f"{status} is no informational answer")
        if self._answering or self._request.http_version < b"1.1":  # RFC 9110 §15.2: never to HTTP/1.0
            return
        lines = [(bytes(name), bytes(value)) for name, value in message.get("headers", [])]
        response = h11.InformationalResponse(status_code=status, headers=lines, reason=_reason(status))
        # h11 counts nothing here: cancelled before the first byte leaves, it just was not sent.
        await self._transport.send_all(self._parser.send(response))

    # How it ends

    def _failed(self, error: Exception) -> None:
        gone = [leaf for leaf in leaves(error) if isinstance(leaf, PeerGone)]
        others = [leaf for leaf in leaves(error) if not isinstance(leaf, PeerGone)]
        if gone:
            slow = any(isinstance(leaf, PeerTooSlow) for leaf in gone)
            self._incoming.lost_peer("peer too slow" if slow else "peer gone")
        if others:
            self._connection.reason = "handler error"
            self._incoming.failure = (500, "internal error")
            log.error(
                "handler-failed",
                path=self._request.target.partition(b"?")[0].decode("latin-1"),
                exc_info=error,
            )

    async def _finish(self) -> bool:
        if not self._answering:
            await self._answer_failure()
        if not self._answered:
            self._transport.abort()
        elif self._parser.our_state is h11.DONE and self._incoming.drop_rest():
            return True
        else:
            await self._transport.linger_close()
        return False

    async def _answer_failure(self) -> None:
        if self._incoming.peer_lost or self._transport.closed or self._parser.our_state is h11.ERROR:
            return
        status, message = self._incoming.failure
        headers, body = problem_answer(status, message)
        self._start = None  # the application's own head, if any, was never sent
        try:
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})
        except PeerGone:
            self._incoming.lost_peer()


def _reason(status: int) -> bytes:
    return _PHRASES.get(status, "").encode("ascii")
