"""The bytes a tus request brings, and their way into an upload."""

from __future__ import annotations

from typing import NamedTuple

from penstock.protocol.errors import InvalidMessage
from penstock.protocol.header_fields import Fields
from penstock.protocol.tus import CONTENT_TYPE, check_content_type, parse_checksum
from penstock.protocol.upload_resources import media_type
from penstock.server.http.application import Request
from penstock.server.http.requests import actor_of, announced_bytes
from penstock.server.uploads.admission import Claim
from penstock.server.uploads.digests import Digest
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.resources import Place


class Data(NamedTuple):
    """`body_bytes` is None where only the body's end will tell."""

    body_bytes: int | None
    digest: Digest | None


def data_of(request: Request, fields: Fields) -> Data | None:
    """What a request brings for an upload; None: nothing.

    Raises: UnsupportedFormat for a body of another type; InvalidMessage.
    """
    checksum, body_bytes = parse_checksum(fields), announced_bytes(request)
    if media_type(fields) == CONTENT_TYPE:
        return Data(body_bytes, Digest(*checksum) if checksum else None)
    if body_bytes or (body_bytes is None and _seems_to_have_body(fields)):
        check_content_type(fields)
    if checksum is not None:
        raise InvalidMessage(f"Upload-Checksum: needs a body of Content-Type {CONTENT_TYPE}")
    return None


def _seems_to_have_body(fields: Fields) -> bool:
    """On HTTP/2 an empty body need not be announced."""
    return "Transfer-Encoding" in fields or "Content-Type" in fields


async def take(
    gateway: Gateway, request: Request, place: Place, data: Data, offset: int, length: int | None = None
) -> None:
    """Append the body; it is durable when this returns. Raises: what `Gateway.append` and `pump` raise."""
    claim = Claim(
        offset, data.body_bytes, length, length_field="Upload-Length", clips=True, digest=data.digest
    )
    async with gateway.append(actor_of(request), place.session_id, place.file_id, claim) as transfer:
        await transfer.pump(request.incoming.body())
