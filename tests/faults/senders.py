"""One registered file, sent in any of the dialects that move bytes, and what its sender was told of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import trio

from penstock.server.settings import KIB
from tests.acceptance.api import SESSIONS, Answer, Api
from tests.acceptance.content import Content
from tests.running import PATIENCE_S
from tests.server.http.forms import FORM, file, form
from tests.server.http.tus_client import OCTET, TUS

BIG = Content(5 * 64 * KIB + 1234)  # several buffers, and more than a form keeps for one small file
SMALL = Content(10 * KIB)
SMALL_FORM = "form of small files"
DRAFT = {"Upload-Draft-Interop-Version": "8"}


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class File:
    """A registered file and its content. `told` is the highest offset anybody was told."""

    def __init__(self, api: Api, created: dict[str, Any], content: Content) -> None:
        (self.registered,) = created["files"]
        self.session_id: str = created["sessionId"]
        self.file_id: str = self.registered["fileId"]
        self.url: str = self.registered["uploadUrl"]
        self.tus_url: str = self.registered["tusUrl"]
        self.content = content
        self.told = 0
        self._api = api

    @property
    def upload_id(self) -> str:
        return self.tus_url.rpartition("/")[2]

    def bytes_from(self, start: int) -> bytes:
        return b"".join(self.content.pieces(start))

    async def view(self) -> Any:
        return await self._api.get(self.url)

    def tell(self, offset: int) -> None:
        """Somebody was told this offset."""
        assert self.told <= offset <= self.content.size, f"{offset} after {self.told}"
        self.told = offset


async def registered(api: Api, content: Content, file_id: str = "a") -> File:
    created = await api.create({"fileName": "a.bin", "fileId": file_id, "fileSize": content.size})
    return File(api, created, content)


def put(upload: File, start: int = 0) -> Request:
    """All of it; the rest of it as `ranged`."""
    if start:
        return ranged(upload, start)
    return Request("PUT", upload.url, {}, upload.bytes_from(0))


def ranged(upload: File, start: int = 0) -> Request:
    size = upload.content.size
    headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
    return Request("PUT", upload.url, headers, upload.bytes_from(start))


def in_form(upload: File, start: int = 0) -> Request:
    """A form with this file alone. What is left of one goes on with PUT, as forms cannot."""
    if start:
        return ranged(upload, start)
    body = form(file(upload.file_id, upload.bytes_from(0)))
    return Request("POST", f"{SESSIONS}/{upload.session_id}/files", FORM, body)


def tus(upload: File, start: int = 0) -> Request:
    return Request("PATCH", upload.tus_url, {**OCTET, "Upload-Offset": str(start)}, upload.bytes_from(start))


def draft(upload: File, start: int = 0) -> Request:
    headers = {
        **DRAFT,
        "Upload-Offset": str(start),
        "Upload-Complete": "?1",
        "Content-Type": "application/partial-upload",
    }
    return Request("PATCH", upload.tus_url, headers, upload.bytes_from(start))


class Dialect(NamedTuple):
    """How a file is sent from an offset, how its offset is asked for, and what a success is."""

    name: str
    request: Callable[[File, int], Request]
    head: Callable[[File], Request]
    done: int


def _head_put(upload: File) -> Request:
    return Request("HEAD", upload.url, {}, b"")


def _head_tus(upload: File) -> Request:
    return Request("HEAD", upload.tus_url, TUS, b"")


def _head_draft(upload: File) -> Request:
    return Request("HEAD", upload.tus_url, DRAFT, b"")


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("PUT", put, _head_put, 200),
        Dialect("PUT with Content-Range", ranged, _head_put, 200),
        Dialect("form", in_form, _head_put, 200),
        Dialect(SMALL_FORM, in_form, _head_put, 200),
        Dialect("tus", tus, _head_tus, 204),
        Dialect("draft", draft, _head_draft, 201),
    )
}


async def ask(api: Api, request: Request) -> Answer:
    """One whole exchange. The answer may come before the body is sent, and ends it."""
    headers = {**request.headers, "Content-Length": str(len(request.body))}
    answer: Answer | None = None
    with trio.fail_after(PATIENCE_S):
        async with api.exchange(request.method, request.path, headers) as exchange:

            async def send() -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await exchange.send(request.body)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                answer = await exchange.answer()
                nursery.cancel_scope.cancel(reason="answered")
    assert answer is not None
    return answer


def code_of(answer: Answer) -> str:
    """Of a problem; nothing of a success, or where HEAD shows no problem's body."""
    return answer.json()["code"] if answer.status >= 400 and answer.body else ""


async def first_half(api: Api, upload: File) -> None:
    """Bring the first half of a file, as somebody who speaks tus."""
    cut = upload.content.size // 2
    request = tus(upload)
    answer = await ask(api, request._replace(body=request.body[:cut]))
    assert (answer.status, answer.offset) == (204, cut), answer
    upload.tell(cut)
