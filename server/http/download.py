"""Finished files: whole or in parts, to whoever has the link, and never as something of ours."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from email.utils import formatdate
from types import TracebackType
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from quart.wrappers.response import ResponseBody

from penstock.protocol.conditions import Outcome, Validators, evaluate, range_holds
from penstock.protocol.downloads import content_disposition, is_shown, media_type
from penstock.protocol.errors import ServerError
from penstock.protocol.http_ranges import Span, Unsatisfiable, parse_range
from penstock.server.http.answers import Response, empty_answer, http_problem
from penstock.server.http.application import Application, Request
from penstock.server.settings import KIB
from penstock.server.uploads.gateway import Gateway

READ_BYTES = 256 * KIB  # one thread hop each: smaller steps cost speed, larger ones memory per download


class Reader(Protocol):
    async def read_at(self, offset: int, max_bytes: int) -> bytes: ...


class _Plan(NamedTuple):
    """An answer's body: literal bytes and spans of the file, in order."""

    status: int
    headers: dict[str, str]
    parts: Sequence[bytes | Span]


class DownloadRoutes:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def mount(self, app: Application) -> None:
        app.add("GET", "/upload/<category>/<name>", self.download)

    async def download(self, request: Request, category: str, name: str) -> Response:
        return await _answer(self._gateway, request, category, name)


async def answer_finished(gateway: Gateway, request: Request, upload_path: str) -> Response:
    """A finished file at another address than its own, its `uploadPath`. Raises: FileNotFound."""
    category, name = unquote(upload_path).removeprefix("/upload/").split("/", 1)
    return await _answer(gateway, request, category, name)


async def _answer(gateway: Gateway, request: Request, category: str, name: str) -> Response:
    row, reader = await gateway.open_finished(category, name)
    request.resources.push_async_callback(reader.aclose)
    if reader.size != row.file_size:
        raise ServerError("the stored file is damaged")
    # The public id in the name is of this attempt's bytes alone: a strong validator.
    current = Validators(f'"{name.partition("_")[0]}"', int(row.completed_at))
    outcome = evaluate(request.headers, current)
    headers = _headers(row.file_name, row.file_type, current)
    if outcome is Outcome.NOT_MODIFIED:
        return empty_answer(304, {key: headers[key] for key in ("ETag", "Last-Modified", "Cache-Control")})
    if outcome is Outcome.FAILED:
        return http_problem(412, "If-Match: the file is another one by now")
    try:
        plan = _plan(_spans(request, reader.size, current), reader.size, headers)
    except Unsatisfiable:
        return http_problem(
            416, f"Range: the file has {reader.size} bytes", {"Content-Range": f"bytes */{reader.size}"}
        )
    body = _FileBody(reader, () if request.method == "HEAD" else plan.parts)
    return Response(body, plan.status, plan.headers)


def _headers(file_name: str, file_type: str, current: Validators) -> dict[str, str]:
    kind = media_type(file_type, file_name)
    return {
        "Content-Type": kind,
        "Content-Disposition": content_disposition(file_name, shown=is_shown(kind)),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        "ETag": current.etag,
        "Last-Modified": formatdate(current.modified_at, usegmt=True),
        "Cache-Control": "private, no-cache",  # may be kept, but is asked about: files can be removed
    }


def _spans(request: Request, size: int, current: Validators) -> list[Span] | None:
    """Raises: Unsatisfiable."""
    wanted = request.headers.get("Range")
    if request.method != "GET" or wanted is None or not range_holds(request.headers.get("If-Range"), current):
        return None
    return parse_range(wanted, size)


def _plan(spans: list[Span] | None, size: int, headers: dict[str, str]) -> _Plan:
    if spans is None:
        return _Plan(200, {**headers, "Content-Length": str(size)}, [Span(0, size)])
    if len(spans) > 1:
        return _multipart(spans, size, headers)
    (span,) = spans
    ranged = {"Content-Range": span.content_range(size), "Content-Length": str(span.length)}
    return _Plan(206, {**headers, **ranged}, spans)


def _multipart(spans: Sequence[Span], size: int, headers: dict[str, str]) -> _Plan:
    """RFC 9110 §14.6."""
    boundary = secrets.token_hex(16)
    parts: list[bytes | Span] = []
    for span in spans:
        lines = f"Content-Type: {headers['Content-Type']}\r\nContent-Range: {span.content_range(size)}\r\n"
        parts += [f"\r\n--{boundary}\r\n{lines}\r\n".encode("ascii"), span]
    parts.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    length = sum(part.length if isinstance(part, Span) else len(part) for part in parts)
    kind = f"multipart/byteranges; boundary={boundary}"
    return _Plan(206, {**headers, "Content-Type": kind, "Content-Length": str(length)}, parts)


class _FileBody(ResponseBody):
    """Reads as the peer takes; closing the reader is the request's business (`resources`)."""

    def __init__(self, reader: Reader, parts: Sequence[bytes | Span]) -> None:
        self._reader = reader
        self._parts = deque(parts)

    async def __aenter__(self) -> _FileBody:
        return self

    async def __aexit__(self, kind: type, error: BaseException, trace: TracebackType) -> None: ...

    def __aiter__(self) -> _FileBody:
        return self

    async def __anext__(self) -> bytes:
        while self._parts:
            part = self._parts.popleft()
            if isinstance(part, bytes):
                return part
            if part.length:
                return await self._read(part)
        raise StopAsyncIteration

    async def _read(self, span: Span) -> bytes:
        data = await self._reader.read_at(span.start, min(span.length, READ_BYTES))
        if not data:
            raise RuntimeError(f"the file ends at {span.start}, {span.end} bytes were announced")
        self._parts.appendleft(Span(span.start + len(data), span.end))
        return data
