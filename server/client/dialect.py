"""The one place that knows how bytes travel: `PUT` with `Content-Range`, `HEAD` for the offset.

Another dialect is another class with `where` and `append`; nothing else of the client would change.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import httpx2
import trio

from penstock.protocol.snapshot import FileView
from penstock.server.client.api import (
    CONNECT_S,
    Api,
    decoded,
    problem_of,
    refusal,
    retry_after_s,
)
from penstock.server.client.errors import Again, Locked, Refused, Stopped
from penstock.server.client.sources import Piece

STALL_S = 30.0  # a running request that moves no byte this long is given up, and tried anew
HOLD_S = 75.0  # the same for a paused one: the server holds it (50 s by default), then answers
FINISH_S = 120.0  # after the last byte: the server syncs, verifies, puts the file into its place


class Where(NamedTuple):
    """How far a file is. `view` once it is complete."""

    offset: int
    paused: bool = False
    view: FileView | None = None


class Append:
    """One request that carries bytes, and its deadline: re-armed by every chunk that gets away."""

    def __init__(self) -> None:
        self.paused = False
        self.scope = trio.CancelScope()
        self._sent_all = False

    def keep_alive(self) -> None:
        """Something moved, or a pause began or ended."""
        allowed_s = HOLD_S if self.paused else FINISH_S if self._sent_all else STALL_S
        self.scope.deadline = trio.current_time() + allowed_s

    def set_paused(self, paused: bool) -> None:
        if paused is not self.paused:
            self.paused = paused
            self.keep_alive()

    def note_end(self) -> None:
        self._sent_all = True
        self.keep_alive()


class _Body:
    """A piece as the body of a request; asked for more when the kernel has taken what it gave."""

    def __init__(self, piece: Piece, append: Append) -> None:
        self._piece = piece
        self._append = append
        self._offset = piece.first

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        left = self._piece.first + self._piece.length - self._offset
        if left == 0:
            self._append.note_end()
            raise StopAsyncIteration
        self._append.keep_alive()
        chunk = (await self._piece.read(self._offset))[:left]
        self._offset += len(chunk)
        return chunk


class PutDialect:
    """Every method may raise Again or Locked (try later), Stopped (cancelled), Refused, SourceError."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def where(self, url: str) -> Where:
        """How far the file is. Ends a request of ours that hangs, so that this one is the only one."""
        answer = await self._api.exchange("HEAD", url)
        if answer.status_code != 200:
            raise _trouble(answer)
        offset = _offset(answer)
        if offset is None:
            raise Refused(
                f"{answer.url} does not answer like a Penstock server (no Upload-Offset)",
                "check the address (--to, or PENSTOCK_URL)",
                status=answer.status_code,
            )
        state = answer.headers.get("Upload-State")
        view = await self._view(url) if state == "completed" else None
        return Where(offset, state == "paused", view)

    async def append(self, url: str, piece: Piece, append: Append) -> Where:
        """Send a piece."""
        if piece.length == 0 and piece.first > 0:
            raise Again("the server has all bytes and is not done yet")
        append.keep_alive()
        with append.scope:
            answer = await self._api.exchange(
                "PUT",
                url,
                content=_Body(piece, append),
                headers=_headers(piece),
                # The scope has the deadlines of the body; these are for connecting and a pool of ours.
                timeout=httpx2.Timeout(None, connect=CONNECT_S, pool=HOLD_S),
                within_s=float("inf"),
            )
            return await self._outcome(url, answer)
        raise Again("the server takes no bytes and does not answer")

    async def _outcome(self, url: str, answer: httpx2.Response) -> Where:
        offset = _offset(answer)
        match answer.status_code:
            case 200:
                view = decoded(answer, FileView)
                return Where(view.durable_bytes, view=view)
            case 202 if offset is not None:
                return Where(offset)
        if problem_of(answer).code == "UPLOAD_ALREADY_COMPLETED":
            view = await self._view(url)
            return Where(view.durable_bytes, view=view)
        raise _trouble(answer)

    async def _view(self, url: str) -> FileView:
        return decoded(await self._api.call("GET", url), FileView)


def _headers(piece: Piece) -> dict[str, str]:
    headers = {"Content-Length": str(piece.length)}
    if piece.length:  # RFC 9110 §14.4 has no way to say "no bytes": an empty file goes without a range
        total = "*" if piece.total is None else piece.total
        headers["Content-Range"] = f"bytes {piece.first}-{piece.first + piece.length - 1}/{total}"
    return headers


def _offset(answer: httpx2.Response) -> int | None:
    said = answer.headers.get("Upload-Offset", "")
    return int(said) if said.isascii() and said.isdigit() else None


def _trouble(answer: httpx2.Response) -> Exception:
    problem = problem_of(answer)
    said = problem.detail or f"HTTP status {answer.status_code}"
    if answer.status_code == 410:
        return Stopped(said)
    if answer.status_code == 423:
        return Locked(said, after_s=retry_after_s(answer))
    if problem.code == "OFFSET_MISMATCH":
        return Again(said, offset=_offset(answer))
    if problem.code == "NETWORK_ERROR":  # the body broke off before it was here
        return Again(said)
    return refusal(answer)
