"""What every request below `/files` passes that the guard has let in, and every answer the application gives
to one: by the routes, by the router (404, 405), or where unforeseen errors end.

* `X-HTTP-Method-Override` decides the method before anything else looks at it.
* Every answer but a draft's says `Tus-Resumable`.
* HEAD never says 5xx or 429: tus clients take those for "the upload is gone" and begin again from zero.
"""

from __future__ import annotations

from contextlib import suppress

from penstock.protocol.errors import InvalidMessage
from penstock.protocol.header_fields import Fields
from penstock.protocol.tus import VERSION, effective_method
from penstock.protocol.upload_resources import UPLOADS, is_draft
from penstock.server.edge.asgi import ASGIApp, Headers, Message, Receive, Scope, Send

_LOCKED = 423
_RETRY_AFTER = (b"retry-after", b"5")
_TUS_RESUMABLE = (b"tus-resumable", VERSION.encode("ascii"))
_BODILESS = (204, 304)


class UploadFront:
    """An application with this in front of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_below(scope["path"]):
            return await self._app(scope, receive, send)
        fields, method = _fields(scope), scope["method"]
        with suppress(InvalidMessage):  # the routes refuse it
            method = effective_method(method, fields)
        answer = _Answer(send, [] if is_draft(fields) else [_TUS_RESUMABLE], method, scope["method"])
        # A copy: how the edge frames the answer goes by the method on the wire.
        return await self._app({**scope, "method": method}, receive, answer.send)


class _Answer:
    """One answer on its way out."""

    def __init__(self, send: Send, added: Headers, method: str, wire_method: str) -> None:
        self._send = send
        self._added = added
        self._is_head = method == "HEAD"
        self._is_framed = wire_method != "HEAD"  # as the edge sees it, the answer's length means its body

    async def send(self, message: Message) -> None:
        """ASGI's send."""
        if message["type"] == "http.response.start":
            message = self._started(message)
        elif message["type"] == "http.response.body" and self._is_head:
            message = {**message, "body": b""}
        await self._send(message)

    def _started(self, message: Message) -> Message:
        status = message["status"]
        headers = [*message.get("headers", ()), *self._added]
        names = {name.lower() for name, _ in headers}
        if self._is_head and (status == 429 or status >= 500):
            status = _LOCKED
            headers += [] if b"retry-after" in names else [_RETRY_AFTER]
        if self._is_head and self._is_framed and status not in _BODILESS:
            headers = [line for line in headers if line[0].lower() != b"content-length"]
            headers.append((b"content-length", b"0"))
        return {**message, "status": status, "headers": headers}


def _is_below(path: str) -> bool:
    return path == UPLOADS or path.startswith(f"{UPLOADS}/")


def _fields(scope: Scope) -> Fields:
    """A request's header fields, a character for each byte."""
    return Fields((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
