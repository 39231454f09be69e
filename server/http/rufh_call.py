"""One request of the IETF draft: what it said about itself, and what every answer to it says in turn."""

from __future__ import annotations

from penstock.protocol.errors import (
    FileSizeExceeded,
    GatewayError,
    UploadAlreadyCompleted,
    UploadCancelled,
    UploadFailed,
)
from penstock.protocol.header_fields import Fields
from penstock.protocol.rufh import VERSION, Dialect, completeness, limits, spoken_by
from penstock.protocol.rufh_problems import problem_members
from penstock.protocol.snapshot import FileView
from penstock.server.http.answers import Response, problem_answer
from penstock.server.http.application import Request
from penstock.server.http.requests import actor_of, announced_bytes
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.resources import Place

RESUMPTION_SUPPORTED = 104

_WITH_BODY = ("POST", "PUT", "PATCH")


class Call:
    """`place`, `location` and `offset` are filled in as they become known."""

    def __init__(self, request: Request, fields: Fields, gateway: Gateway) -> None:
        self.request = request
        self.fields = fields
        self.actor = actor_of(request)
        self.body_bytes = announced_bytes(request)
        self.place: Place | None = None  # of the upload
        self.location: str | None = None  # of an upload that this request makes
        self.offset: int | None = None  # where the request says its body goes
        self._spoken = spoken_by(fields)
        self._gateway = gateway

    @property
    def dialect(self) -> Dialect:
        return self._spoken.dialect

    @property
    def hears_progress(self) -> bool:
        return self._spoken.named and self.dialect.reports_progress

    async def interim(self, headers: dict[str, str]) -> None:
        """A 104, if the client said which version of the draft it would understand."""
        if self._spoken.named:
            await self.request.interim(RESUMPTION_SUPPORTED, {**self.version, **headers})

    # What answers say

    @property
    def version(self) -> dict[str, str]:
        return {VERSION: str(self.dialect.version)} if self._spoken.named else {}

    @property
    def where(self) -> dict[str, str]:
        return {} if self.location is None else {"Location": self.location}

    def limits(self, expires_at: float | None = None) -> dict[str, str]:
        """`expires_at` in Unix seconds, of an upload that does."""
        most = self._gateway.settings.max_file_bytes
        seconds_left = None if expires_at is None else expires_at - self._gateway.clock.now()
        return {"Upload-Limit": limits(most, seconds_left, self.dialect)}

    def standing(self, offset: int, *, complete: bool) -> dict[str, str]:
        return {**self.version, **completeness(self.dialect, complete), "Upload-Offset": str(offset)}

    async def refusal(self, error: GatewayError) -> Response:
        """An error, and what it means for the upload."""
        answer = problem_answer(error, self._status(error), problem_members(error, self.offset))
        gone = isinstance(error, UploadCancelled | UploadFailed)
        answer.headers.update(self.version)
        if answer.status_code == 413:
            answer.headers.update(self.limits())
        if self.request.method in _WITH_BODY:
            view = await self._view()
            answer.headers.update(completeness(self.dialect, _is_over(view, gone=gone)))
            if view is not None and not gone and not has_failed(view):
                answer.headers.update({**self.where, "Upload-Offset": str(view.durable_bytes)})
        return answer

    def _status(self, error: GatewayError) -> int | None:
        """Where the draft has another one than the table of errors."""
        match error:
            case UploadCancelled() | UploadFailed():
                return self.dialect.gone
            case FileSizeExceeded() if "fileSize" in error.details:
                return self.dialect.overrun
            case UploadAlreadyCompleted() if self.request.method == "PATCH":
                return 400
            case _:
                return None

    async def _view(self) -> FileView | None:
        """The upload's file as it is now; None if there is none."""
        if self.place is None:
            return None
        try:
            return await self._gateway.file(self.actor, self.place.session_id, self.place.file_id)
        except GatewayError:
            return None


def has_failed(view: FileView) -> bool:
    """Whether the file failed for good."""
    return view.status == "failed" and not view.can_retry


def _is_over(view: FileView | None, *, gone: bool) -> bool:
    """Whether all that the client could still do would be in vain, though its upload is not just away."""
    return view is not None and (has_failed(view) or (view.status == "completed" and not gone))
