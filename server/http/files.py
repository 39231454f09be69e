"""One file over REST: PUT its bytes, HEAD for the offset, GET its state, DELETE to cancel."""

from __future__ import annotations

from penstock.protocol.commands import UploadCancel
from penstock.protocol.content_range import parse_content_range
from penstock.protocol.errors import FileNotFound, InvalidMessage
from penstock.protocol.names import is_file_id
from penstock.server.http.answers import Response, empty_answer, json_answer
from penstock.server.http.application import Application, Request
from penstock.server.http.content_digest import content_digest
from penstock.server.http.exact_body import ExactBody
from penstock.server.http.requests import actor_of
from penstock.server.http.sessions import SESSIONS
from penstock.server.peer import Body
from penstock.server.uploads.admission import Claim
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.offsets import Manner


class FileRoutes:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def mount(self, app: Application) -> None:
        path = f"{SESSIONS}/<sid>/files/<fid>"
        app.add("PUT", path, self.put)
        app.add("GET", path, self.show)
        app.add("DELETE", path, self.cancel)

    async def put(self, request: Request, sid: str, fid: str) -> Response:
        """All of the file, or with `Content-Range` the part that comes next."""
        _check_listed(fid)
        actor, claim = actor_of(request), _claim(request)
        async with self._gateway.append(actor, sid, fid, claim) as transfer:
            await transfer.pump(_measured(request.incoming.body(), claim))
        view = await self._gateway.file(actor, sid, fid)
        if view.status == "completed":
            return json_answer(view)
        return json_answer(view, 202, {"Upload-Offset": str(view.durable_bytes)})

    async def show(self, request: Request, sid: str, fid: str) -> Response:
        _check_listed(fid)
        if request.method == "HEAD":
            return await self.head(request, sid, fid)
        return json_answer(await self._gateway.file(actor_of(request), sid, fid))

    async def head(self, request: Request, sid: str, fid: str) -> Response:
        """Where to go on. Ends requests that hang, not healthy ones (423); for a watch key it ends none."""
        report = await self._gateway.offset(actor_of(request), sid, fid, Manner.POLITE)
        headers = {
            "Upload-Offset": str(report.offset),
            "Upload-State": report.status,
            "Upload-Attempt": str(report.attempt),
        }
        if report.length is not None:
            headers["Upload-Length"] = str(report.length)
        return empty_answer(200, headers)

    async def cancel(self, request: Request, sid: str, fid: str) -> Response:
        await self._gateway.command(actor_of(request), UploadCancel(session_id=sid, file_id=fid))
        return empty_answer()


def _check_listed(fid: str) -> None:
    """A partial's id is no client's: it has its upload URL, and none here. Raises: FileNotFound."""
    if not is_file_id(fid):
        raise FileNotFound("fileId: there is no such file in this session")


def _claim(request: Request) -> Claim:
    """What the headers say about the body. Raises: InvalidMessage."""
    said, digest = request.headers.get("Content-Range"), content_digest(request.headers.get("Content-Digest"))
    if said is None:
        return Claim(None, request.content_length, ends_file=True, retry_limit=True, digest=digest)
    part = parse_content_range(said)
    if request.content_length not in (None, part.length):
        raise InvalidMessage(
            f"Content-Range: {part.length} bytes are named, Content-Length says {request.content_length}"
        )
    return Claim(part.first, part.length, part.total, digest=digest)


def _measured(body: Body, claim: Claim) -> Body:
    """A chunked body must be as long as its Content-Range says, too."""
    if body.length is not None or claim.body_bytes is None:
        return body
    return ExactBody(body, claim.body_bytes)
