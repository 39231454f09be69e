"""Forms: `POST /api/upload` makes a session and stores its files, `POST …/files` adds files to one."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.protocol.errors import GatewayError, InvalidMessage
from penstock.protocol.multipart_form import parse_boundary
from penstock.server.http.answers import Response, json_answer, problem_answer
from penstock.server.http.application import Application, Request
from penstock.server.http.multipart_reader import READ_BYTES, PartReader
from penstock.server.http.multipart_upload import MAX_FIELDS, MultipartUpload
from penstock.server.http.requests import actor_of
from penstock.server.settings import Settings
from penstock.server.uploads.gateway import Gateway

UPLOAD = "/api/upload"
NO_FILE = "the form has no file: send parts with a file name (curl -F file=@movie.mp4)"


class MultipartRoutes:
    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._gateway = gateway
        self._settings = settings
        self._scratch = bytearray(READ_BYTES)

    def mount(self, app: Application) -> None:
        app.add("POST", UPLOAD, self.upload)

    async def upload(self, request: Request) -> Response:
        """Make the session when the first file comes."""
        return await self._answer(request, None)

    async def add_files(self, request: Request, sid: str) -> Response:
        """Each part with a file name is a file: the registered one of its field's name, or a new one."""
        return await self._answer(request, sid)

    async def _answer(self, request: Request, session_id: str | None) -> Response:
        boundary = parse_boundary(request.headers.get("Content-Type", ""))
        reader = PartReader(
            request.incoming.body(),
            boundary,
            self._scratch,
            max_parts=self._settings.max_session_files + MAX_FIELDS,
            idle_timeout_s=self._settings.body_idle_timeout_s,
        )
        upload = MultipartUpload(
            self._gateway, self._settings, actor_of(request), reader, request.args.get("category")
        )
        ended_by = await upload.run(session_id)
        return await self._result(request, upload, ended_by)

    async def _result(
        self, request: Request, upload: MultipartUpload, ended_by: GatewayError | None
    ) -> Response:
        """The outcome of each part, with 200 if one was stored and nothing ended the request early."""
        error = ended_by or upload.first_failure
        if upload.session is None:
            raise InvalidMessage(NO_FILE)
        body = {"sessionId": upload.session.session_id, "watchKey": upload.session.watch_key}
        results = {"results": upload.results}
        if ended_by is None and any(result.ok for result in upload.results):
            return json_answer({**body, "overallStatus": await self._status(request, upload), **results})
        error = error or InvalidMessage(NO_FILE)
        return problem_answer(with_details(error, {**body, **results}))

    async def _status(self, request: Request, upload: MultipartUpload) -> str:
        assert upload.session is not None
        event, _ = await self._gateway.progress(actor_of(request), upload.session.session_id)
        return event.overall_status


def with_details(error: GatewayError, more: Mapping[str, object]) -> GatewayError:
    """The same error, saying more."""
    error.details = {**error.details, **msgspec.to_builtins(more)}
    return error
