"""The IETF draft "Resumable Uploads for HTTP" on `/files`, in all its dialects.

draft-ietf-httpbis-resumable-upload. An offset once shown is a promise, in interim answers too, so all of them
are durable ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import trio

from penstock.protocol.errors import (
    GatewayError,
    InconsistentLength,
    OffsetMismatch,
    UploadAlreadyCompleted,
    UploadLocked,
    error_named,
)
from penstock.protocol.header_fields import Fields
from penstock.protocol.rufh import Append, Creation, check_bare, is_repetition, parse_append, parse_creation
from penstock.server.http.answers import Response, empty_answer, http_problem, json_answer
from penstock.server.http.application import Request
from penstock.server.http.content_digest import content_digest
from penstock.server.http.download import answer_finished
from penstock.server.http.locations import Locations
from penstock.server.http.requests import idempotency_key
from penstock.server.http.rufh_call import Call, has_failed
from penstock.server.settings import Settings
from penstock.server.uploads.admission import RETRY_AFTER_S, Claim
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.offsets import Manner, OffsetReport
from penstock.server.uploads.resources import NewUpload, Place

PROGRESS_EVERY_S = 1.0  # between two 104s of a request

View = Callable[[Call, Place], Awaitable[Response]]


class DraftRoutes:
    def __init__(self, gateway: Gateway, settings: Settings, locations: Locations) -> None:
        self._gateway = gateway
        self._resources = gateway.resources
        self._settings = settings
        self._locations = locations
        self._views: dict[str, View] = {
            "GET": self._get,
            "HEAD": self._head,
            "PATCH": self._append,
            "DELETE": self._cancel,
        }

    async def serve(self, request: Request, fields: Fields, upload_id: str | None) -> Response:
        """Answer a request for an upload, or (None) for a new one."""
        methods = ("POST", "PUT") if upload_id is None else tuple(self._views)
        if request.method not in methods:
            allow = {"Allow": ", ".join((*methods, "OPTIONS"))}
            return http_problem(405, "this address does not take this method", allow)
        call = Call(request, fields, self._gateway)
        try:
            if upload_id is None:
                return await self._create(call)
            call.place = await self._resources.find(call.actor, upload_id)
            return await self._views[request.method](call, call.place)
        except GatewayError as error:
            return await call.refusal(error)

    # Upload Creation

    async def _create(self, call: Call) -> Response:
        """Any representation becomes an upload resource. Its URL is told before its bytes are read."""
        most = self._settings.max_metadata_bytes
        creation = parse_creation(call.fields, call.dialect, call.body_bytes, most)
        claim = _claim(call, 0, creation)
        wanted = _new_upload(creation)
        key = idempotency_key(call.request, msgspec.to_builtins(wanted))
        made = await self._resources.create(call.actor, wanted, key)
        place = call.place = made.place
        call.location = self._locations.url(call.request, place.upload_id)
        await call.interim({**call.where, **call.limits(made.expires_at)})
        if not made.fresh:
            return await self._known(call, place, creation)
        if creation.complete or call.body_bytes != 0:
            await self._take(call, place, claim)
        return await self._final(call, place) if creation.complete else await self._created(call, place)

    async def _known(self, call: Call, place: Place, creation: Creation) -> Response:
        """The upload was there before, so this body is not its beginning, and is not read."""
        report = await self._report(call, place)
        if report.complete:
            return await self._final(call, place)
        if not creation.complete:
            return await self._created(call, place)
        call.offset = 0
        raise OffsetMismatch(
            f"the upload exists and has {report.offset} bytes; go on at its URL", offset=report.offset
        )

    async def _created(self, call: Call, place: Place) -> Response:
        report = await self._report(call, place)
        standing = call.standing(report.offset, complete=report.complete)
        return empty_answer(201, {**standing, **call.where, **call.limits(report.expires_at)})

    async def _final(self, call: Call, place: Place) -> Response:
        """What the address of creations answers to a whole file: also when the upload took several requests,
        and again when the answer was lost.

        Raises: what the file failed with; InconsistentLength, UploadLocked if it is not whole.
        """
        view = await self._gateway.file(call.actor, place.session_id, place.file_id)
        if view.error and has_failed(view):  # it came whole, and was not what it should have been
            raise error_named(view.error.code, view.error.message)
        report = await self._report(call, place)
        if not report.complete:
            raise _incomplete(report)
        view = msgspec.structs.replace(view, upload_url=msgspec.UNSET)  # it would tell the session's id
        location = {"Location": self._locations.url(call.request, place.upload_id)}
        standing = call.standing(report.offset, complete=True)
        return json_answer(view, 201, {**standing, **location, **_digest(report)})

    # Offset Retrieval

    async def _head(self, call: Call, place: Place) -> Response:
        """Stops whoever writes: the offset must hold until this client's next request."""
        check_bare(call.fields, call.dialect)
        return await self._state(call, place, Manner.FORCE)

    async def _get(self, call: Call, place: Place) -> Response:
        """The finished file; before that what HEAD says."""
        report = await self._report(call, place)
        if report.upload_path is not None:
            return await answer_finished(self._gateway, call.request, report.upload_path)
        return await self._state(call, place, Manner.PEEK)

    async def _state(self, call: Call, place: Place, manner: Manner) -> Response:
        report = await self._resources.report(call.actor, place, manner)
        headers = {
            **call.standing(report.offset, complete=report.complete),
            **call.limits(report.expires_at),
            **_digest(report),
        }
        if report.length is not None:
            headers["Upload-Length"] = str(report.length)
        return empty_answer(204, headers)

    # Upload Append

    async def _append(self, call: Call, place: Place) -> Response:
        append = parse_append(call.fields, call.dialect, call.body_bytes)
        call.offset = append.offset
        claim = _claim(call, append.offset, append)
        report = await self._report(call, place)
        if report.complete:
            return await self._again(call, place, append)
        _check(append, report)
        if _overruns(append, report):
            claim = claim._replace(body_bytes=None)  # not by what is announced: by the byte that is too many
        try:
            await self._take(call, place, claim)
        except UploadAlreadyCompleted:
            return await self._again(call, place, append)
        if append.complete:
            return await self._final(call, place)
        report = await self._report(call, place)
        return empty_answer(call.dialect.appended, call.standing(report.offset, complete=False))

    async def _again(self, call: Call, place: Place, append: Append) -> Response:
        """An append to a completed upload. Raises: OffsetMismatch, UploadAlreadyCompleted."""
        report = await self._report(call, place)
        if is_repetition(append, report.offset, report.final_offset):
            return await self._final(call, place)
        text = f"the upload is complete and has {report.offset} bytes"
        if call.dialect.compares_completed and append.offset != report.offset:
            raise OffsetMismatch(text, offset=report.offset)
        raise UploadAlreadyCompleted(text)

    async def _take(self, call: Call, place: Place, claim: Claim) -> None:
        """Append the body, and tell how far it got while it comes. Raises: as `Gateway.append` and `pump`."""
        refusal: GatewayError | None = None
        async with trio.open_nursery() as nursery:
            try:
                async with self._gateway.append(
                    call.actor, place.session_id, place.file_id, claim
                ) as transfer:
                    if call.hears_progress:
                        nursery.start_soon(self._tell_progress, call, place, claim.offset or 0)
                    await transfer.pump(call.request.incoming.body())
            except GatewayError as error:
                refusal = error  # as it is, not in the nursery's group
            nursery.cancel_scope.cancel(reason="the body is taken")
        if refusal is not None:
            raise refusal

    async def _tell_progress(self, call: Call, place: Place, told: int) -> None:
        """104s with the offset, whenever it has grown. They carry no Location: its place is the first one."""
        while True:
            await trio.sleep(PROGRESS_EVERY_S)
            try:
                view = await self._gateway.file(call.actor, place.session_id, place.file_id)
            except GatewayError:
                return  # the append finds out as well, and it can say so
            if view.durable_bytes > told:
                told = view.durable_bytes
                await call.interim({"Upload-Offset": str(told)})

    # Upload Cancellation

    async def _cancel(self, call: Call, place: Place) -> Response:
        check_bare(call.fields, call.dialect)
        await self._resources.terminate(call.actor, place)
        return empty_answer(204, call.version)

    async def _report(self, call: Call, place: Place) -> OffsetReport:
        """How the upload stands; stops nobody. Raises: as `Resources.report`."""
        return await self._resources.report(call.actor, place, Manner.PEEK)


def _new_upload(creation: Creation) -> NewUpload:
    described = creation.described
    return NewUpload(
        file_name=creation.file_name,
        file_type=creation.file_type,
        length=creation.length,
        session_id=described.session_id,
        file_id=described.file_id,
        category=described.category,
        metadata=dict(described.texts),
        upload_metadata=creation.upload_metadata,
        stays_open=not creation.complete,
        digest_wanted=creation.digest_wanted,
    )


def _claim(call: Call, offset: int, said: Creation | Append) -> Claim:
    """Raises: InvalidMessage."""
    values = call.fields.all("Content-Digest")
    return Claim(
        offset,
        call.body_bytes,
        said.length,
        length_field="Upload-Length",
        ends_file=said.complete,
        stays_open=not said.complete,
        clips=call.dialect.clips,
        digest=content_digest(", ".join(values) if values else None),
    )


def _check(append: Append, report: OffsetReport) -> None:
    """Raises: OffsetMismatch, InconsistentLength. In this order: a wrong offset makes a wrong length."""
    if report.busy:
        return  # who may take over, and from where, is decided with the lease in hand
    if append.offset != report.offset:
        raise OffsetMismatch(
            f"the request begins at {append.offset}, the upload has {report.offset} bytes",
            offset=report.offset,
        )
    if None not in (append.length, report.length) and append.length != report.length:
        raise InconsistentLength(f"the upload has {report.length} bytes, not {append.length}")


def _overruns(append: Append, report: OffsetReport) -> bool:
    """Whether the body is announced to go beyond the length that is known."""
    if append.body_bytes is None or report.length is None:
        return False
    return append.offset + append.body_bytes > report.length


def _incomplete(report: OffsetReport) -> GatewayError:
    """Why an upload is not complete, though its last request has come to its end."""
    if report.length is not None and report.offset < report.length:
        return InconsistentLength(f"the body ended at {report.offset}, the upload has {report.length} bytes")
    return UploadLocked("the upload is paused; resume it", headers={"Retry-After": str(RETRY_AFTER_S)})


def _digest(report: OffsetReport) -> dict[str, str]:
    return {"Repr-Digest": report.digest} if report.complete and report.digest else {}
