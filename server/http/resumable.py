"""`/files`: uploads with a URL of their own, over tus 1.0.0 and the IETF's resumable-upload draft.

One view takes every method, because which protocol a request speaks is in its header fields, not in its path.
"""

from __future__ import annotations

from typing import Protocol

from penstock.protocol.header_fields import Fields
from penstock.protocol.rufh import PARTIAL_UPLOAD, limits
from penstock.protocol.tus import CONTENT_TYPE, discovery, effective_method
from penstock.protocol.upload_resources import UPLOADS, is_draft, is_upload_id
from penstock.server.http.answers import Response, empty_answer, http_problem
from penstock.server.http.application import Application, Request
from penstock.server.settings import Settings

METHODS = "GET POST PUT PATCH DELETE OPTIONS"


class Dialect(Protocol):
    """One of the two protocols."""

    async def serve(self, request: Request, fields: Fields, upload_id: str | None) -> Response:
        """Answer any method but OPTIONS, on an upload or (None) on the address that makes them."""


class ResumableRoutes:
    def __init__(self, settings: Settings, *, tus: Dialect, draft: Dialect) -> None:
        self._settings = settings
        self._tus = tus
        self._draft = draft

    def mount(self, app: Application) -> None:
        for path in (UPLOADS, f"{UPLOADS}/", f"{UPLOADS}/<path:upload_id>"):
            app.add(METHODS, path, self.serve)

    async def serve(self, request: Request, upload_id: str | None = None) -> Response:
        """Decide what is spoken; an address that cannot be an upload's is 404 in both."""
        fields = Fields(request.headers.items())
        effective_method(request.method, fields)  # it has been applied; here a wrong one is refused
        if upload_id is not None and not is_upload_id(upload_id):
            return http_problem(404, "there is no such upload")
        if request.method == "OPTIONS":
            return self._discovery()
        dialect = self._draft if is_draft(fields) else self._tus
        return await dialect.serve(request, fields, upload_id)

    def _discovery(self) -> Response:
        """What both protocols can do here; asked of any upload, whether it exists or not."""
        most = self._settings.max_file_bytes
        limit = limits(most, self._settings.retention_s)
        patches = f"{CONTENT_TYPE}, {PARTIAL_UPLOAD}"  # RFC 5789 §3.1
        return empty_answer(204, {**discovery(most), "Upload-Limit": limit, "Accept-Patch": patches})
