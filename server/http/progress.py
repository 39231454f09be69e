"""Progress for those who can only ask: one request, or one that is held until something changes."""

from __future__ import annotations

import re
from typing import NamedTuple

import trio

from penstock.protocol.conditions import weak_match
from penstock.protocol.decoding import to_builtins
from penstock.protocol.events import UploadProgress
from penstock.protocol.messages import in_language
from penstock.server.http.answers import Response, empty_answer, json_answer
from penstock.server.http.application import Application, Request
from penstock.server.http.requests import actor_of, language_of
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.watch import Wakeup

MAX_WAIT_S = 50  # below the 60 s after which proxies give up by default

_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:$|[,;])', re.IGNORECASE)


class _Seen(NamedTuple):
    event: UploadProgress
    etag: str


class ProgressRoutes:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def mount(self, app: Application) -> None:
        app.add("GET", "/api/upload/progress/<sid>", self.show)

    async def show(self, request: Request, sid: str) -> Response:
        wait_s = _wanted_wait_s(request)
        known = request.headers.get("If-None-Match")
        seen = await self._look(request, sid)
        if wait_s and request.method == "GET" and (known is None or weak_match(known, seen.etag)):
            seen = await self._wait_change(request, sid, seen, wait_s)
        headers = {"ETag": seen.etag, "Cache-Control": "no-cache", "Vary": "Accept-Language, Prefer"}
        if wait_s:
            headers["Preference-Applied"] = f"wait={wait_s}"
        if known is not None and weak_match(known, seen.etag):
            return empty_answer(304, headers)
        page = await self._gateway.snapshot(actor_of(request), sid)
        event = in_language(seen.event, language_of(request))
        body = {
            **to_builtins(event),
            "files": page.files,
            "filesTotal": page.files_total,
            "cursor": page.cursor,
        }
        return json_answer(body, 200, headers)

    async def _look(self, request: Request, sid: str) -> _Seen:
        event, validator = await self._gateway.progress(actor_of(request), sid)
        # Weak: timestamp and message differ between answers that mean the same.
        return _Seen(event, f'W/"{validator}:{language_of(request)}"')

    async def _wait_change(self, request: Request, sid: str, seen: _Seen, wait_s: float) -> _Seen:
        """The first state other than `seen`, or the last one when the time is over or the server goes."""
        wakeup, current = Wakeup(), seen
        async with self._gateway.watch(actor_of(request), sid, wakeup), trio.open_nursery() as nursery:
            nursery.start_soon(self._wake_at_drain, wakeup)
            with trio.move_on_after(wait_s):
                while current.etag == seen.etag and not self._gateway.draining.is_set():
                    await wakeup.wait()
                    current = await self._look(request, sid)
            nursery.cancel_scope.cancel(reason="answered")
        return current

    async def _wake_at_drain(self, wakeup: Wakeup) -> None:
        await self._gateway.draining.wait()
        wakeup.set()


def _wanted_wait_s(request: Request) -> int:
    """`Prefer: wait=N` (RFC 7240 §4.3), at most 50; 0 where it is absent or not understood."""
    found = _WAIT.search(",".join(request.headers.getlist("Prefer")))
    return min(int(found[1]), MAX_WAIT_S) if found else 0
