"""tus creation: a POST makes an upload, perhaps with its first bytes, or puts one together from partials."""

from __future__ import annotations

from contextlib import suppress

from penstock.protocol.errors import (
    FileSizeExceeded,
    GatewayError,
    InsufficientPermissions,
    ServerBusy,
    UploadLocked,
)
from penstock.protocol.header_fields import Fields
from penstock.protocol.tus import Creation, parse_creation, parts_of, upload_expires
from penstock.server.http.answers import Response, empty_answer
from penstock.server.http.application import Request
from penstock.server.http.locations import Locations
from penstock.server.http.requests import actor_of, announced_bytes, idempotency_key
from penstock.server.http.tus_data import Data, data_of, take
from penstock.server.settings import Settings
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.resources import Made, NewUpload

_IDENTITY = ("Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat")
"""What makes two creations the same request."""


class TusCreation:
    def __init__(self, gateway: Gateway, settings: Settings, locations: Locations) -> None:
        self._gateway = gateway
        self._settings = settings
        self._locations = locations

    async def create(self, request: Request, fields: Fields) -> Response:
        """201 with the upload's URL, once its bytes, if it came with some, are stored."""
        wanted = parse_creation(fields, self._settings.max_metadata_bytes)
        if wanted.is_final:
            data, made = None, await self._concatenate(request, wanted)
        else:
            data = _fitting(data_of(request, fields), wanted.length)
            key = idempotency_key(request, {name: fields.one(name) for name in _IDENTITY})
            made = await self._gateway.resources.create(actor_of(request), _new_upload(wanted), key)
        location = self._locations.url(request, made.place.upload_id)
        try:
            offset, expires_at = await self._fill(request, made, data)
        except GatewayError as error:
            error.headers["Location"] = location  # it exists, with what could be kept
            raise
        headers = {"Location": location, "Upload-Offset": str(offset)}
        if expires_at is not None:
            headers["Upload-Expires"] = upload_expires(expires_at)
        return empty_answer(201, headers)

    async def _concatenate(self, request: Request, wanted: Creation) -> Made:
        if announced_bytes(request) or "Transfer-Encoding" in request.headers:
            raise InsufficientPermissions(
                "Upload-Concat: a final upload is made of its parts; it takes no bytes"
            )
        concat = wanted.concat or ""
        parts = parts_of(concat, self._locations.answers_for(request))
        return await self._gateway.concatenation.run(actor_of(request), _new_upload(wanted), concat, parts)

    async def _fill(self, request: Request, made: Made, data: Data | None) -> tuple[int, float | None]:
        """The new upload's offset and expiry (Unix seconds), after it took what came with the request."""
        if data is None or not made.fresh:
            return made.offset, made.expires_at
        with suppress(UploadLocked, ServerBusy):  # paused, draining: what came is kept, the rest follows
            await take(self._gateway, request, made.place, data, 0)
        report = await self._gateway.resources.report(actor_of(request), made.place, Manner.PEEK)
        return report.offset, report.expires_at


def _fitting(data: Data | None, length: int | None) -> Data | None:
    """Refused before anything is made. Raises: FileSizeExceeded."""
    if data is not None and length is not None and (data.body_bytes or 0) > length:
        raise FileSizeExceeded(
            f"Content-Length: {data.body_bytes} bytes go beyond the upload's {length}",
            details={"fileSize": length},
        )
    return data


def _new_upload(wanted: Creation) -> NewUpload:
    described = wanted.described
    return NewUpload(
        file_name=described.file_name,
        file_type=described.file_type,
        length=wanted.length,
        session_id=described.session_id,
        file_id=described.file_id,
        category=described.category,
        metadata=dict(described.texts),
        upload_metadata=wanted.upload_metadata,
        partial=wanted.is_partial,
    )
