"""tus 1.0.0 on `/files`: core, creation, creation-with-upload, creation-defer-length, expiration, checksum,
termination, concatenation.

tus clients go by the status alone: 409, 423 and 5xx they try again, at any other 4xx they give up, and a HEAD
that is refused with anything but 423 makes them begin a new upload. The statuses here are chosen for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from penstock.protocol.errors import (
    ChecksumMismatch,
    ConnectionTimeout,
    FileSizeExceeded,
    GatewayError,
    InsufficientPermissions,
    OffsetMismatch,
    UploadAlreadyCompleted,
    UploadFailed,
    UploadLocked,
)
from penstock.protocol.header_fields import Fields
from penstock.protocol.rufh import DIALECTS, completeness, limits
from penstock.protocol.tus import (
    Append,
    VersionMismatch,
    check_content_type,
    check_version,
    is_final,
    is_repetition,
    parse_append,
    upload_expires,
)
from penstock.server.http.answers import Response, empty_answer, http_problem, problem_answer
from penstock.server.http.application import Request
from penstock.server.http.download import answer_finished
from penstock.server.http.locations import Locations
from penstock.server.http.requests import actor_of
from penstock.server.http.tus_creation import TusCreation
from penstock.server.http.tus_data import Data, data_of, take
from penstock.server.settings import Settings
from penstock.server.uploads.admission import RETRY_AFTER_S
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.offsets import Manner, OffsetReport
from penstock.server.uploads.resources import Place

STATUS: dict[type[GatewayError], int] = {
    VersionMismatch: 412,
    ChecksumMismatch: 460,
    UploadFailed: 410,  # it will not come back: 409 would be tried again
    ConnectionTimeout: 503,  # it may: 408 would not
}
"""Where tus has another status than the table of errors."""

View = Callable[[Request, Fields, Place], Awaitable[Response]]


class TusRoutes:
    def __init__(self, gateway: Gateway, settings: Settings, locations: Locations) -> None:
        self._gateway = gateway
        self._resources = gateway.resources
        self._creation = TusCreation(gateway, settings, locations)
        self._views: dict[str, View] = {
            "GET": self._get,
            "HEAD": self._head,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }

    async def serve(self, request: Request, fields: Fields, upload_id: str | None) -> Response:
        """Answer a request for an upload, or (None) for a new one."""
        methods = ("POST",) if upload_id is None else tuple(self._views)
        if request.method not in methods:
            allow = {"Allow": ", ".join((*methods, "OPTIONS"))}
            return http_problem(405, "this address does not take this method", allow)
        try:
            check_version(request.method, fields)
            if upload_id is None:
                return await self._creation.create(request, fields)
            place = await self._resources.find(actor_of(request), upload_id)
            return await self._views[request.method](request, fields, place)
        except GatewayError as error:
            return problem_answer(error, STATUS.get(type(error)))

    async def _head(self, request: Request, fields: Fields, place: Place) -> Response:
        """The offset. Who names the version is about to write: a writer that hangs is stopped for it."""
        resumes = "Tus-Resumable" in fields
        report = await self._resources.report(
            actor_of(request), place, Manner.POLITE if resumes else Manner.PEEK
        )
        if report.busy and not is_final(report.upload_concat):
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise UploadLocked("the upload is busy; ask again soon", headers=headers)
        answer = empty_answer(200, _state(report) if resumes else self._bare_state(report))
        if report.upload_path is not None:
            answer.headers["Content-Length"] = str(report.length)  # as GET has it, RFC 9110 §8.6
        return answer

    async def _get(self, request: Request, fields: Fields, place: Place) -> Response:
        """The finished file; before that what HEAD says. Stops nobody."""
        report = await self._resources.report(actor_of(request), place, Manner.PEEK)
        if report.upload_path is not None:
            return await answer_finished(self._gateway, request, report.upload_path)
        return empty_answer(204, self._bare_state(report))

    def _bare_state(self, report: OffsetReport) -> dict[str, str]:
        """For those who name no protocol: the IETF draft's fields as well, which will have no version once it
        is an RFC."""
        now = self._gateway.clock.now()
        seconds_left = None if report.expires_at is None else report.expires_at - now
        limit = limits(self._gateway.settings.max_file_bytes, seconds_left)
        return {
            **_state(report),
            **completeness(DIALECTS[8], report.complete),
            "Upload-Limit": limit,
        }

    async def _patch(self, request: Request, fields: Fields, place: Place) -> Response:
        check_content_type(fields)
        wanted, data = parse_append(fields), data_of(request, fields)
        assert data is not None
        try:
            await take(self._gateway, request, place, data, wanted.offset, wanted.length)
        except (UploadAlreadyCompleted, OffsetMismatch) as refusal:
            await self._check_repetition(request, place, wanted, data, refusal)
        report = await self._resources.report(actor_of(request), place, Manner.PEEK)
        return empty_answer(204, {"Upload-Offset": str(report.offset), **_expiry(report)})

    async def _check_repetition(
        self, request: Request, place: Place, wanted: Append, data: Data, refusal: GatewayError
    ) -> None:
        """Return if the request completed the upload before, and its client only lost the answer.

        Raises: the refusal, or the one that says more.
        """
        report = await self._resources.report(actor_of(request), place, Manner.PEEK)
        if not report.complete:
            raise refusal
        if is_final(report.upload_concat):
            raise InsufficientPermissions("Upload-Concat: a final upload takes no bytes")
        if is_repetition(wanted, data.body_bytes, report.offset, report.final_offset):
            return
        if wanted.offset == report.offset:
            raise FileSizeExceeded("the upload has all its bytes", details={"fileSize": report.offset})
        refusal.headers["Upload-Offset"] = str(report.offset)
        raise refusal

    async def _delete(self, request: Request, fields: Fields, place: Place) -> Response:
        await self._resources.terminate(actor_of(request), place)
        return empty_answer()


def _state(report: OffsetReport) -> dict[str, str]:
    """How an upload stands. A final has no offset before it is complete."""
    final = is_final(report.upload_concat)
    headers = {} if final and not report.complete else {"Upload-Offset": str(report.offset)}
    if report.length is not None:
        headers["Upload-Length"] = str(report.length)
    elif not final:
        headers["Upload-Defer-Length"] = "1"
    if report.upload_metadata is not None:
        headers["Upload-Metadata"] = report.upload_metadata
    if report.upload_concat is not None:
        headers["Upload-Concat"] = report.upload_concat
    return {**headers, **_expiry(report)}


def _expiry(report: OffsetReport) -> dict[str, str]:
    return {} if report.expires_at is None else {"Upload-Expires": upload_expires(report.expires_at)}
