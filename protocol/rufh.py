"""The IETF draft "Resumable Uploads for HTTP": its dialects, and requests as values.

draft-ietf-httpbis-resumable-upload. Interop version 8 (-09 and later) is the model; 3 (-01), 5 (-03) and 6
(-04, -05) are what phones and browsers send. Named sections are those of version 8.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.protocol.digest_fields import most_wanted, strongest
from penstock.protocol.errors import InconsistentLength, InvalidMessage, UnsupportedFormat
from penstock.protocol.header_fields import Fields
from penstock.protocol.header_parameters import file_name
from penstock.protocol.structured_fields import parse_boolean, parse_integer
from penstock.protocol.tus_metadata import Described, describe, parse_metadata
from penstock.protocol.upload_resources import media_type

PARTIAL_UPLOAD = "application/partial-upload"
VERSION = "Upload-Draft-Interop-Version"

_LARGEST = 10**15 - 1  # of a structured field's integer, RFC 9651 §3.3.1
_OF_AN_UPLOAD = ("Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length")


class Dialect(NamedTuple):
    """What an interop version has of its own."""

    version: int
    completeness: str  # the field that says whether the upload is complete
    inverted: bool  # ... or rather whether it is not
    omission_completes: bool  # without that field a request brings the end of the upload
    typed_patch: bool  # an append is application/partial-upload
    bare_requests: bool  # HEAD and DELETE with fields of an upload are refused
    appended: int  # the status of an append after which more is expected
    reports_progress: bool  # 104 with the offset while a body is taken
    clips: bool  # bytes beyond the length are refused; else they also make the upload invalid
    overrun: int  # the status of that
    compares_completed: bool  # an append to a completed upload is 409 at another offset; else always 400
    gone: int  # the status of an upload that is known to be no more
    lifetime: str  # the key of Upload-Limit for the seconds it is still there


_3 = Dialect(
    version=3,
    completeness="Upload-Incomplete",
    inverted=True,
    omission_completes=True,
    typed_patch=False,
    bare_requests=True,
    appended=201,
    reports_progress=False,
    clips=True,
    overrun=400,
    compares_completed=False,
    gone=404,
    lifetime="expires",
)
_5 = _3._replace(version=5, completeness="Upload-Complete", inverted=False, reports_progress=True)
_6 = _5._replace(version=6, omission_completes=False, typed_patch=True)
_8 = _6._replace(
    version=8,
    bare_requests=False,
    appended=204,
    clips=False,
    overrun=413,
    compares_completed=True,
    gone=410,
    lifetime="max-age",
)
DIALECTS = {dialect.version: dialect for dialect in (_3, _5, _6, _8)}


class Spoken(NamedTuple):
    """The dialect a request is served in, and whether it named it."""

    dialect: Dialect
    named: bool
    """Else there is no 104 for it, and no answer names a version (Draft Version Identification)."""


class Creation(NamedTuple):
    """What a request says that begins an upload."""

    complete: bool  # its body is all of it
    length: int | None
    described: Described  # by Upload-Metadata, as tus clients do it
    upload_metadata: str | None
    file_name: str
    file_type: str
    digest_wanted: str  # of the whole: "", the algorithm, or that with the digest it must have


class Append(NamedTuple):
    """What a PATCH says of its body."""

    offset: int
    complete: bool  # its end is the end of the upload
    length: int | None  # of the upload
    body_bytes: int | None  # None where it is not announced


def spoken_by(fields: Fields) -> Spoken:
    """Version 8 where none we know is named, or version 3 if its field is there."""
    version = _integer(fields, VERSION)
    if version in DIALECTS:
        return Spoken(DIALECTS[version], named=True)
    old = "Upload-Incomplete" in fields and "Upload-Complete" not in fields
    return Spoken(_3 if old else _8, named=False)


def check_bare(fields: Fields, dialect: Dialect) -> None:
    """Of HEAD and DELETE. Raises: InvalidMessage."""
    found = [name for name in _OF_AN_UPLOAD if name in fields]
    if dialect.bare_requests and found:
        raise InvalidMessage(f"{found[0]}: has no place in this request; leave it out")


def parse_creation(
    fields: Fields, dialect: Dialect, body_bytes: int | None, max_metadata_bytes: int
) -> Creation:
    """`body_bytes` as Content-Length says. Raises: InvalidMessage, InvalidSession, InconsistentLength."""
    complete = _complete(fields, dialect)
    if _integer(fields, "Upload-Offset"):
        raise InvalidMessage("Upload-Offset: an upload is gone on with at its own URL, by PATCH")
    length = _length(fields, 0, body_bytes, complete=complete)
    if length is not None and body_bytes is not None and body_bytes > length:
        raise InconsistentLength(f"Content-Length: {body_bytes} bytes are more than Upload-Length's {length}")
    metadata = fields.one("Upload-Metadata") or None
    described = describe(parse_metadata(metadata, max_metadata_bytes)) if metadata else Described()
    return Creation(
        complete=complete,
        length=length,
        described=described,
        upload_metadata=metadata,
        file_name=file_name(fields.one("Content-Disposition") or "") or described.file_name,
        file_type=_file_type(fields) or described.file_type,
        digest_wanted=_digest_wanted(fields),
    )


def parse_append(fields: Fields, dialect: Dialect, body_bytes: int | None) -> Append:
    """`body_bytes` as Content-Length says. Raises: UnsupportedFormat, InvalidMessage, InconsistentLength."""
    if dialect.typed_patch and media_type(fields) != PARTIAL_UPLOAD:
        raise UnsupportedFormat(
            f"Content-Type: {PARTIAL_UPLOAD} is expected", headers={"Accept-Patch": PARTIAL_UPLOAD}
        )
    offset = _integer(fields, "Upload-Offset")
    if offset is None:
        raise InvalidMessage("Upload-Offset: a number is expected; HEAD on the upload's URL says which")
    complete = _complete(fields, dialect)
    return Append(offset, complete, _length(fields, offset, body_bytes, complete=complete), body_bytes)


def is_repetition(append: Append, length: int, final_offset: int | None) -> bool:
    """Whether an append to a completed upload is the one that completed it, or one that asks for nothing: its
    client lost the answer. `final_offset` is where the append that completed it began."""
    fits = append.body_bytes is None or append.offset + append.body_bytes == length
    again = append.offset == final_offset or (append.offset == length and append.body_bytes == 0)
    return append.complete and fits and again and append.length in (None, length)


def limits(max_bytes: int, seconds_left: float | None = None, dialect: Dialect = _8) -> str:
    """The value of Upload-Limit: never empty, as that is no structured field (Limits). 0 bytes: no limit."""
    found = {"max-size": max_bytes} if max_bytes else {}
    if seconds_left is not None:
        found[dialect.lifetime] = max(int(seconds_left), 0)
    found = found or {"min-size": 0}
    return ", ".join(f"{key}={min(value, _LARGEST)}" for key, value in found.items())


def completeness(dialect: Dialect, complete: bool) -> dict[str, str]:
    """The header field that says so."""
    return {dialect.completeness: f"?{int(complete != dialect.inverted)}"}


def _integer(fields: Fields, name: str) -> int | None:
    """What is no such number counts as absent (Offset, Length), and so does what comes twice."""
    found = parse_integer(", ".join(fields.all(name)))
    return None if found is None or found < 0 else found


def _complete(fields: Fields, dialect: Dialect) -> bool:
    """Raises: InvalidMessage. A value that cannot be read must not complete an upload."""
    name = dialect.completeness
    said = parse_boolean(", ".join(fields.all(name)))
    if said is not None:
        return said != dialect.inverted
    if dialect.omission_completes and name not in fields:
        return True
    raise InvalidMessage(f"{name}: ?0 or ?1 is expected")


def _length(fields: Fields, offset: int, body_bytes: int | None, *, complete: bool) -> int | None:
    """By Upload-Length, or by the end of a body that is the last (Length). Raises: InconsistentLength."""
    said = _integer(fields, "Upload-Length")
    implied = offset + body_bytes if complete and body_bytes is not None else None
    if said is not None and implied is not None and said != implied:
        raise InconsistentLength(f"Upload-Length: is {said}, but the body ends at {implied}")
    return implied if said is None else said


def _file_type(fields: Fields) -> str:
    """Of the file, not of the piece that this request brings."""
    return "" if media_type(fields) == PARTIAL_UPLOAD else ", ".join(fields.all("Content-Type")).strip()


def _digest_wanted(fields: Fields) -> str:
    """Raises: InvalidMessage. A digest that must fit comes first (RFC 9530 §3, §4)."""
    said = ", ".join(fields.all("Repr-Digest"))
    demanded = strongest(said, "Repr-Digest") if said else None
    return str(demanded) if demanded else most_wanted(", ".join(fields.all("Want-Repr-Digest"))) or ""
