"""tus 1.0.0: its header fields as values, and the rules that need nothing but them.

https://tus.io/protocols/resumable-upload, version 1.0.0. Named sections are that page's.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from email.utils import formatdate
from typing import NamedTuple

from penstock.protocol.errors import InvalidMessage, UnsupportedFormat, UnsupportedProtocol
from penstock.protocol.header_fields import Fields
from penstock.protocol.times import LAST_S
from penstock.protocol.tus_metadata import Described, describe, parse_metadata
from penstock.protocol.upload_resources import media_type, upload_id_in

VERSION = "1.0.0"
# No checksum-trailer: ASGI has no trailers. No concatenation-unfinished: a final answers when it is complete.
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
)
CHECKSUM_BYTES = {"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16, "crc32": 4, "crc32c": 4}
"""Algorithms by name, with the size of their digest."""

CONTENT_TYPE = "application/offset+octet-stream"
OVERRIDE = "X-HTTP-Method-Override"

_OVERRIDES = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
_UNVERSIONED = ("GET", "HEAD")  # browsers come by, and who only looks needs no version
_NUMBER = re.compile(r"[0-9]{1,19}")  # as many digits as 2^63 has
_PARTIAL = "partial"
_FINAL = "final;"


class VersionMismatch(UnsupportedProtocol):
    """Answered with 412 and the versions that are spoken here."""


class Creation(NamedTuple):
    """What a POST asks for. `length` is None where it will be said later, and for a final."""

    length: int | None
    described: Described
    upload_metadata: str | None  # the header, to be echoed byte by byte
    concat: str | None  # the header: "partial" or "final;…"

    @property
    def is_partial(self) -> bool:
        return self.concat == _PARTIAL

    @property
    def is_final(self) -> bool:
        return is_final(self.concat)


class Append(NamedTuple):
    """What a PATCH says of its body. `length` is the file's, where this request sets it."""

    offset: int
    length: int | None


class Checksum(NamedTuple):
    algorithm: str
    digest: bytes


def effective_method(method: str, fields: Fields) -> str:
    """The method a request means (X-HTTP-Method-Override). Raises: InvalidMessage."""
    said = fields.one(OVERRIDE)
    if said is None:
        return method
    if said not in _OVERRIDES:
        raise InvalidMessage(f"{OVERRIDE}: one of {', '.join(_OVERRIDES)} is expected")
    return said


def check_version(method: str, fields: Fields) -> None:
    """Of every request but OPTIONS (Tus-Resumable). Raises: VersionMismatch."""
    said = fields.all("Tus-Resumable")
    if said == [VERSION] or (not said and method in _UNVERSIONED):
        return
    raise VersionMismatch(
        f"Tus-Resumable: {VERSION} is expected; say so in a header", headers={"Tus-Version": VERSION}
    )


def check_content_type(fields: Fields) -> None:
    """Of a request that brings bytes of an upload. Raises: UnsupportedFormat."""
    if media_type(fields) != CONTENT_TYPE:
        raise UnsupportedFormat(f"Content-Type: {CONTENT_TYPE} is expected for bytes of an upload")


def parse_creation(fields: Fields, max_metadata_bytes: int) -> Creation:
    """Raises: InvalidMessage, InvalidSession."""
    concat = fields.one("Upload-Concat")
    if concat not in (None, _PARTIAL) and not is_final(concat):
        raise InvalidMessage("Upload-Concat: partial, or final;URL URL … is expected")
    metadata = fields.one("Upload-Metadata") or None
    values = parse_metadata(metadata, max_metadata_bytes) if metadata else {}
    return Creation(_length(fields, final=is_final(concat)), describe(values), metadata, concat)


def _length(fields: Fields, *, final: bool) -> int | None:
    length, deferred = parse_number(fields, "Upload-Length"), fields.one("Upload-Defer-Length")
    if final and (length is not None or deferred is not None):
        raise InvalidMessage("Upload-Length: a final upload is as long as its parts; leave it out")
    if deferred not in (None, "1"):
        raise InvalidMessage("Upload-Defer-Length: must be 1; leave it out if the length is known")
    if not final and (length is None) == (deferred is None):
        raise InvalidMessage("Upload-Length: exactly one of it and Upload-Defer-Length: 1 is expected")
    return length


def parse_append(fields: Fields) -> Append:
    """Raises: InvalidMessage."""
    offset = parse_number(fields, "Upload-Offset")
    if offset is None:
        raise InvalidMessage("Upload-Offset: is missing; HEAD on the upload's URL says what it is")
    return Append(offset, parse_number(fields, "Upload-Length"))


def parse_number(fields: Fields, name: str) -> int | None:
    """A count of bytes; None where the field is absent. Raises: InvalidMessage."""
    said = fields.one(name)
    if said is None:
        return None
    if not _NUMBER.fullmatch(said) or int(said) >= 2**63:
        raise InvalidMessage(f"{name}: decimal digits are expected, at most {2**63 - 1}")
    return int(said)


def parse_checksum(fields: Fields) -> Checksum | None:
    """Of this request's body (Checksum). Raises: InvalidMessage."""
    said = fields.one("Upload-Checksum")
    if said is None:
        return None
    algorithm, _, encoded = said.partition(" ")
    size = CHECKSUM_BYTES.get(algorithm)
    if size is None:
        raise InvalidMessage(f"Upload-Checksum: one of {', '.join(CHECKSUM_BYTES)} and base64 is expected")
    try:
        digest = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        raise InvalidMessage(f"Upload-Checksum: what follows {algorithm} is not base64") from None
    if len(digest) != size:
        raise InvalidMessage(f"Upload-Checksum: {algorithm} has {size} bytes, not {len(digest)}")
    return Checksum(algorithm, digest)


def is_final(concat: str | None) -> bool:
    """Whether an upload was put together from partials."""
    return concat is not None and concat.startswith(_FINAL)


def parts_of(concat: str, answers_for: Callable[[str], bool]) -> list[str]:
    """The upload ids a final names, in order. Raises: InvalidMessage. See `upload_id_in`."""
    urls = concat.removeprefix(_FINAL).split(" ")
    found = [upload_id_in(url, answers_for) for url in urls if url]
    parts = [upload_id for upload_id in found if upload_id is not None]
    if not parts or len(parts) < len(found):
        raise InvalidMessage("Upload-Concat: final;URL URL … is expected, all of them uploads of this server")
    return parts


def is_repetition(append: Append, body_bytes: int | None, length: int, final_offset: int | None) -> bool:
    """Whether a PATCH to a completed upload is the one that completed it, or one that asks for nothing.

    Its client lost the answer; nothing of it needs to be read again. `final_offset` is where the append that
    completed the upload began, `body_bytes` is None where the body's size is not announced.
    """
    fits = body_bytes is None or append.offset + body_bytes == length
    return fits and (append.offset == final_offset or (append.offset == length and body_bytes == 0))


def upload_expires(unix_s: float) -> str:
    """The value of `Upload-Expires`: an IMF-fixdate (RFC 9110 §5.6.7), whatever the locale."""
    return formatdate(min(unix_s, LAST_S), usegmt=True)


def discovery(max_file_bytes: int) -> dict[str, str]:
    """What OPTIONS says; 0 bytes: there is no limit."""
    headers = {
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUM_BYTES),
    }
    if max_file_bytes:
        headers["Tus-Max-Size"] = str(max_file_bytes)
    return headers
