"""The REST API from the client's side: one method a call, typed answers, errors that say what to do next."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx2
import msgspec
import trio

import penstock
from penstock.protocol.commands import FileSpec
from penstock.protocol.snapshot import Snapshot
from penstock.server.client.errors import Again, ClientError, Refused, in_one_line
from penstock.server.exits import Exit

CONNECT_S = 10.0
ANSWER_S = 30.0  # for the next byte of an answer, and for the next one to be taken
CALL_S = 90.0  # for a call as a whole; uploads have deadlines of their own
CONNECTIONS = 16  # uploads at once, a poll, commands

_ADVICE = {
    "SESSION_NOT_FOUND": "it has expired or never was here: see `penstock sessions`, or upload again",
    "FILE_NOT_FOUND": "`penstock watch SESSION` shows the files it has",
    "INSUFFICIENT_PERMISSIONS": "a watch key can only watch: use the session id",
    "INSUFFICIENT_STORAGE": "free space on the server, then upload again",
    "FILE_SIZE_EXCEEDED": "the operator can raise the setting max_file_bytes",
    "UNSUPPORTED_FORMAT": "the operator can extend the setting allowed_formats",
    "UPLOAD_ALREADY_COMPLETED": "there is nothing left to do",
    "UPLOAD_CANCELLED": "upload the file again",
    "UPLOAD_FAILED": "upload the file again",
    "INVALID_SESSION": "a session id or a watch key (w_…) is expected, or the beginning of one that "
    "`penstock sessions` lists",
}
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


class Registered(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    file_id: str
    upload_url: str
    tus_url: str


class Created(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`watch_key` is empty where files were added to a session that was there before."""

    session_id: str
    watch_key: str = ""
    files: list[Registered]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457, as far as it is needed here."""

    code: str = ""
    detail: str = ""
    details: dict[str, Any] = {}  # Any: free JSON


def check_url(url: str) -> str:
    """The server's address, without a slash at its end. Raises: ClientError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClientError(
            f"{url!r} is no address of a server",
            "use one such as http://127.0.0.1:8005 (--to, or PENSTOCK_URL)",
            Exit.USAGE,
        )
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Api:
    """Calls to one server. Every one may raise Again (try later) or Refused; all are cancel-safe."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self.url = url
        self._client = client

    def absolute(self, address: str) -> str:
        """An address the server named, which may be relative to it."""
        return self.url + address if address.startswith("/") else urljoin(self.url + "/", address)

    # Sessions

    async def create(
        self, category: str | None, files: Sequence[FileSpec], *, is_open: bool, key: str
    ) -> Created:
        """`key` makes it safe to ask again."""
        body = {"files": files, "open": is_open}
        if category is not None:
            body["category"] = category
        return await self._json(Created, "POST", "/api/upload/sessions", body, {"Idempotency-Key": key})

    async def register(self, session: str, files: Sequence[FileSpec], key: str) -> Created:
        path = f"/api/upload/sessions/{session}/files"
        return await self._json(Created, "POST", path, {"files": files}, {"Idempotency-Key": key})

    async def complete(self, session: str) -> None:
        await self.call("POST", f"/api/upload/sessions/{session}/complete")

    async def snapshot(self, session: str, cursor: str | None = None) -> Snapshot:
        """One page of the session."""
        query = f"?cursor={cursor}" if cursor else ""
        return await self._json(Snapshot, "GET", f"/api/upload/sessions/{session}{query}")

    async def pages(self, session: str) -> list[Snapshot]:
        """The whole session, page by page."""
        pages = [await self.snapshot(session)]
        while cursor := pages[-1].cursor:
            pages.append(await self.snapshot(session, cursor))
        return pages

    async def progress(self, session: str, etag: str, wait_s: int) -> tuple[Any, str]:
        """The latest numbers once they differ from those of `etag`, or None after `wait_s`; their ETag.
        Without an `etag`: the numbers now."""
        headers = {"Prefer": f"wait={wait_s}", "If-None-Match": etag} if etag else {}
        timeout = httpx2.Timeout(ANSWER_S, connect=CONNECT_S, read=ANSWER_S + wait_s)
        path = f"/api/upload/progress/{session}"
        answer = await self.call("GET", path, headers=headers, timeout=timeout, within_s=CALL_S + wait_s)
        known = answer.status_code == 304
        return (None if known else msgspec.json.decode(answer.content)), answer.headers.get("ETag", "")

    async def command(
        self, session: str, command: str, file_id: str | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """`upload-pause`, `upload-resume` or `upload-cancel`, of one file or of all."""
        body = {"type": command, "fileId": file_id, "reason": reason}
        wanted = {name: value for name, value in body.items() if value is not None}
        path = f"/api/upload/sessions/{session}/commands"
        return await self._json(dict[str, Any], "POST", path, wanted)

    # How it is done

    async def _json(
        self,
        kind: type[T],
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        content = None if body is None else msgspec.json.encode(body)
        answer = await self.call(method, path, content=content, headers=headers)
        return decoded(answer, kind)

    async def call(
        self,
        method: str,
        address: str,
        *,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        within_s: float = CALL_S,
    ) -> httpx2.Response:
        """An answer below 400. Raises: Again, Refused."""
        answer = await self.exchange(
            method, address, content=content, headers=headers, timeout=timeout, within_s=within_s
        )
        if answer.status_code >= 400:
            raise refusal(answer)
        return answer

    async def exchange(
        self,
        method: str,
        address: str,
        *,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        within_s: float = CALL_S,
    ) -> httpx2.Response:
        """Any answer. Raises: Again where there is none."""
        url = self.absolute(address)
        with trio.move_on_after(within_s):
            try:
                return await self._client.request(
                    method, url, content=content, headers=headers, timeout=timeout or self._client.timeout
                )
            except httpx2.TransportError as error:
                raise Again(f"the connection to {self.url} broke ({in_one_line(error)})") from error
        raise Again(f"{self.url} did not answer within {within_s:g} s")


def decoded(answer: httpx2.Response, kind: type[T]) -> T:
    """Raises: Refused if it is not what our server answers."""
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError as error:
        raise Refused(
            f"{answer.url} does not answer like a Penstock server ({in_one_line(error)})",
            "check the address (--to, or PENSTOCK_URL)",
            status=answer.status_code,
        ) from error


def refusal(answer: httpx2.Response) -> Again | Refused:
    """What an answer of 400 or more means: come back later, or no."""
    problem = problem_of(answer)
    said = problem.detail or f"HTTP status {answer.status_code}"
    if answer.status_code in PASSING:
        return Again(f"the server says: {said}", after_s=retry_after_s(answer))
    advice = advice_for(problem.code)
    if not problem.code:
        said, advice = f"{said} of {answer.url}", "check the address (--to, or PENSTOCK_URL)"
    return Refused(said, advice, status=answer.status_code, problem=problem.code)


def advice_for(problem: str) -> str:
    """What to do about an error of the server, by its code."""
    return _ADVICE.get(problem, "correct that and try again")


def problem_of(answer: httpx2.Response) -> Problem:
    try:
        return msgspec.json.decode(answer.content, type=Problem)
    except msgspec.MsgspecError:
        return Problem()


def retry_after_s(answer: httpx2.Response) -> float:
    """`Retry-After` in seconds (RFC 9110 §10.2.3); our server sends no dates. At most a minute."""
    said = answer.headers.get("Retry-After", "")
    return min(float(said), 60.0) if said.isascii() and said.isdigit() else 0.0


@asynccontextmanager
async def open_api(url: str) -> AsyncIterator[Api]:
    """Raises: ClientError for an address that is none."""
    url = check_url(url)
    # Proxies from the environment are for other hosts, whatever NO_PROXY says.
    async with httpx2.AsyncClient(
        headers={"User-Agent": f"penstock/{penstock.__version__}"},
        timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S),
        limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        trust_env=not is_loopback(url),
        verify=ssl.create_default_context() if url.startswith("https:") else False,
    ) as client:
        yield Api(url, client)
