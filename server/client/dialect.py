"""The one place that knows how bytes travel: tus 1.0.0, each registered file being an upload of its own.

HEAD says how far it is, but not whether it is paused or why it cannot be resumed: that says the file's view.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import httpx2
import trio

from penstock.protocol.snapshot import FileView
from penstock.protocol.tus import CONTENT_TYPE, VERSION
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


class Target(NamedTuple):
    """Where a file's bytes go, and where one can look at it: addresses as the server names them."""

    tus_url: str
    view_url: str
    is_deferred: bool  # registered without a size: whoever sends the last byte says it


class Where(NamedTuple):
    """How far a file is. `paused` is None where the answer does not say; `view` once the file is complete."""

    offset: int
    paused: bool | None = None
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


class TusDialect:
    """Every method may raise Again or Locked (try later), Stopped (cancelled), Refused, SourceError."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def where(self, target: Target) -> Where:
        """How far the file is. Ends a request of ours that hangs, so that the next one is the only one."""
        answer = await self._api.exchange("HEAD", target.tus_url, headers={"Tus-Resumable": VERSION})
        view = await self._view(target)
        if view.status == "completed":
            return _where(view.durable_bytes, view)
        if view.status == "cancelled":
            raise Stopped("the file was cancelled")
        if answer.status_code == 200:
            return _where(_offset(answer), view)
        if answer.status_code == 423 and view.durable_bytes == view.file_size:
            return _where(view.durable_bytes, view)  # an empty request will end it, as it does an empty file
        if answer.status_code == 410 and view.error:
            raise Refused(view.error.message, "upload the file again", status=410, problem="UPLOAD_FAILED")
        raise _trouble(answer)

    async def append(self, target: Target, piece: Piece, append: Append) -> Where:
        """Send a piece, which may be empty."""
        append.keep_alive()
        with append.scope:
            answer = await self._api.exchange(
                "PATCH",
                target.tus_url,
                content=_Body(piece, append),
                headers=_headers(target, piece),
                # The scope has the deadlines of the body; these are for connecting and a pool of ours.
                timeout=httpx2.Timeout(None, connect=CONNECT_S, pool=HOLD_S),
                within_s=float("inf"),
            )
            if answer.status_code != 204:
                raise _trouble(answer)
            return await self._outcome(target, piece, _offset(answer))
        raise Again("the server takes no bytes and does not answer")

    async def _outcome(self, target: Target, piece: Piece, offset: int) -> Where:
        if offset != piece.total:
            return Where(offset)
        where = _where(offset, await self._view(target))
        if where.view is None and not where.paused and piece.length == 0:
            raise Again("the server has all bytes and is not done yet")
        return where

    async def _view(self, target: Target) -> FileView:
        return decoded(await self._api.call("GET", target.view_url), FileView)


def _where(offset: int, view: FileView) -> Where:
    return Where(offset, view.status == "paused", view if view.status == "completed" else None)


def _headers(target: Target, piece: Piece) -> dict[str, str]:
    headers = {
        "Tus-Resumable": VERSION,
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(piece.length),
        "Upload-Offset": str(piece.first),
    }
    if target.is_deferred and piece.total is not None:
        headers["Upload-Length"] = str(piece.total)
    return headers


def _offset(answer: httpx2.Response) -> int:
    """Raises: Refused if it does not say."""
    said = answer.headers.get("Upload-Offset", "")
    if said.isascii() and said.isdigit():
        return int(said)
    raise Refused(
        f"{answer.url} does not answer like a Penstock server (no Upload-Offset)",
        "check the address (--to, or PENSTOCK_URL)",
        status=answer.status_code,
    )


# The body broke off on its way; or the disk is full, and may not be for long: what fitted is kept.
_PASSING = frozenset({"NETWORK_ERROR", "INSUFFICIENT_STORAGE"})


def _trouble(answer: httpx2.Response) -> Exception:
    problem = problem_of(answer)
    said = problem.detail or f"HTTP status {answer.status_code}"
    if problem.code == "FILE_NOT_FOUND":
        return Refused(said, "upload the file again", status=answer.status_code, problem=problem.code)
    if answer.status_code == 410 and problem.code != "UPLOAD_FAILED":
        return Stopped(said)
    if answer.status_code == 423:
        return Locked(said, after_s=retry_after_s(answer))
    if answer.status_code == 409 or problem.code in _PASSING:
        return Again(said)
    return refusal(answer)
