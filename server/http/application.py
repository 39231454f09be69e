"""Quart, with what it lacks for uploads: bodies that are pulled, one place for errors, one that cleans up.

Quart's own body buffers whatever arrives while the handler sleeps, without limit; here the handler pulls it
from `request.incoming`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack
from typing import Any, NoReturn, cast

import quart
import structlog
import trio
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from penstock.protocol.errors import ServerError
from penstock.server.http.answers import Response, http_problem, problem_answer
from penstock.server.http.body import Receive
from penstock.server.http.incoming import Incoming
from penstock.server.uploads import trouble

CLEANUP_S = 5.0  # to give back what an answer held; it waits for the disk only
INTERIM_S = 5.0  # to send an interim answer; a peer that takes none for this long has stopped reading

# The ASGI extension by which the edge sends 1xx answers, and its message's type. Other servers have none.
_INFORMATIONAL = "penstock.response.informational"

log = structlog.get_logger()

View = Callable[..., Awaitable[Response]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _NoBody:
    """In the place of Quart's body, which nobody fills: waiting for it would never end."""

    def __init__(self, *_: object) -> None: ...

    def __await__(self) -> Generator[Any, None, NoReturn]:
        raise RuntimeError("bodies are pulled: use request.incoming")

    __aiter__ = __await__


class Request(TrioRequest):
    """`resources`: what is entered here is left when the exchange is over, however it ends."""

    body_class: Any = _NoBody
    incoming: Incoming
    resources: AsyncExitStack
    send: Send
    exchange: trio.CancelScope

    async def interim(self, status: int, headers: Mapping[str, str]) -> None:
        """Send a 1xx answer ahead of the final one where the server can (RFC 9110 §15.2); else do nothing.

        It goes out whole, also if the caller is cancelled meanwhile. If the peer turns out to be gone, the
        handler is cancelled as always.
        """
        if _INFORMATIONAL not in self.scope.get("extensions", {}):
            await trio.lowlevel.checkpoint()
            return
        lines = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        try:
            with trio.move_on_after(INTERIM_S, shield=True):
                await self.send({"type": _INFORMATIONAL, "status": status, "headers": lines})
        except OSError:  # as ASGI has it: the peer is gone
            self.exchange.cancel(reason="peer gone")
        await trio.lowlevel.checkpoint()


class _Connection(TrioASGIHTTPConnection):
    """One request and its answer. If the peer goes, the handler is cancelled."""

    async def __call__(self, receive: Receive, send: Send) -> None:  # type: ignore[override]  # narrower
        request = cast("Request", self._create_request_from_scope(cast("Any", send)))
        request.incoming = Incoming(self.scope, receive, request.content_length)
        request.resources = AsyncExitStack()
        try:
            async with trio.open_nursery() as nursery:
                request.send, request.exchange = send, nursery.cancel_scope
                nursery.start_soon(self._watch, request.incoming, nursery.cancel_scope)
                response = await self.app.handle_request(request)
                if not request.incoming.broken:
                    await self._send_response(cast("Any", send), response)
                nursery.cancel_scope.cancel(reason="answered")
        finally:
            with trio.move_on_after(CLEANUP_S, shield=True):
                await request.resources.aclose()

    async def _watch(self, incoming: Incoming, scope: trio.CancelScope) -> None:
        await incoming.wait_gone()
        scope.cancel(reason="peer gone")


class Application(QuartTrio):
    """Routes are added with `add`; a view takes the request and the parts of its path."""

    asgi_http_class = _Connection
    request_class = Request
    response_class = Response

    def __init__(self) -> None:
        super().__init__(__name__, static_folder=None)
        self.url_map.merge_slashes = False  # what is not an address of ours is 404, never a redirect
        self.config.update(MAX_CONTENT_LENGTH=None, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=None)

    def add(self, methods: str, path: str, view: View) -> None:
        """Several methods are separated by spaces; GET brings HEAD along."""

        async def run(**parts: str) -> Response:
            return await view(quart.request._get_current_object(), **parts)  # type: ignore[attr-defined]

        self.add_url_rule(path, endpoint=f"{methods} {path}", view_func=run, methods=methods.split())

    async def handle_user_exception(self, error: BaseException) -> Response:
        """The one place where errors become answers."""
        if isinstance(error, BaseExceptionGroup) and error.split(Exception)[1] is not None:
            raise error  # a cancellation in it goes on its way
        return _answer_to(error)


def _answer_to(error: BaseException) -> Response:
    if isinstance(error, HTTPException):
        return _http_answer(error)
    leaves = _leaves(error)
    known = [told for leaf in leaves if (told := trouble.known(leaf)) is not None]
    if len(known) != 1 or len(leaves) != 1:
        log.error("handler-failed", path=quart.request.path, exc_info=error)
    return problem_answer(known[0] if known else ServerError("internal error; the server's log says more"))


def _http_answer(error: HTTPException) -> Response:
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    what = {404: "there is nothing at this address", 405: "this address does not take this method"}
    status = error.code or 500
    return http_problem(status, what.get(status, error.description or error.name), headers)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
