"""The resumable dialects' headers: tus 1.0.0 with its metadata, and the IETF draft in all its versions."""

from __future__ import annotations

import base64
from zlib import crc32

from penstock.protocol import rufh, tus
from penstock.protocol.errors import GatewayError
from penstock.protocol.header_fields import Fields
from penstock.protocol.names import MAX_FILE_NAME_BYTES, is_file_id
from penstock.protocol.tus_metadata import MAX_KEYS, Described, describe, parse_metadata
from penstock.protocol.upload_resources import is_draft, media_type
from tests.fuzz.promises import header_fields, header_text, refused
from tests.fuzz.target import Target

MAX_METADATA_BYTES = 4096  # the setting's default
BODIES_BYTES = (None, 0, 10)


def _check_described(described: Described) -> None:
    assert len(described.file_name.encode()) <= MAX_FILE_NAME_BYTES
    assert described.file_id is None or is_file_id(described.file_id)
    for text in (described.file_type, described.category or "", *described.texts.values()):
        text.encode()  # no lone surrogate


def _tus(data: bytes) -> str:
    fields = header_fields(data)
    return " | ".join(_tus_answer(step, fields) for step in (_creation, _append, _checksum, _manners))


def _tus_answer(step: object, fields: Fields) -> str:
    assert callable(step)
    try:
        return str(step(fields))
    except GatewayError as error:
        return refused(error)


def _creation(fields: Fields) -> str:
    found = tus.parse_creation(fields, MAX_METADATA_BYTES)
    assert found.length is None or 0 <= found.length < 2**63
    assert found.upload_metadata in (None, fields.one("Upload-Metadata")), "it is echoed as it came"
    assert not (found.is_final and (found.is_partial or found.length is not None))
    _check_described(found.described)
    return f"{found.length is None} {found.is_final} {found.is_partial}"


def _append(fields: Fields) -> str:
    found = tus.parse_append(fields)
    assert 0 <= found.offset < 2**63
    assert tus.parse_number(Fields([("Upload-Offset", str(found.offset))]), "Upload-Offset") == found.offset
    return f"{found.length is None}"


def _checksum(fields: Fields) -> str:
    found = tus.parse_checksum(fields)
    if found is None:
        return "none"
    assert len(found.digest) == tus.CHECKSUM_BYTES[found.algorithm]
    told = f"{found.algorithm} {base64.b64encode(found.digest).decode()}"
    assert tus.parse_checksum(Fields([("Upload-Checksum", told)])) == found
    return found.algorithm


def _manners(fields: Fields) -> str:
    method = tus.effective_method("POST", fields)
    assert method.isalpha()
    tus.check_version(method, fields)
    tus.check_content_type(fields)
    return method


def _metadata(data: bytes) -> str:
    value = header_text(data)
    try:
        found = parse_metadata(value, MAX_METADATA_BYTES)
        assert len(found) <= MAX_KEYS
        assert sum(map(len, found.values())) <= len(value)
        told = ",".join(f"{key} {base64.b64encode(text).decode()}".strip() for key, text in found.items())
        assert parse_metadata(told, len(told)) == found
        described = describe(found)
    except GatewayError as error:
        return refused(error)
    _check_described(described)
    return f"{[bool(one) for one in described]}"


def _draft(data: bytes) -> str:
    fields = header_fields(data)
    spoken = rufh.spoken_by(fields)
    assert spoken.dialect in rufh.DIALECTS.values()
    answers = [f"{spoken.dialect.version} {is_draft(fields)} {len(media_type(fields)) > 0}"]
    body_bytes = BODIES_BYTES[crc32(data) % len(BODIES_BYTES)]
    for dialect in rufh.DIALECTS.values():
        answers += [
            _draft_answer(step, fields, dialect, body_bytes)
            for step in (_draft_creation, _draft_append, _bare)
        ]
    return " | ".join(answers)


def _draft_answer(step: object, fields: Fields, dialect: rufh.Dialect, body_bytes: int | None) -> str:
    assert callable(step)
    try:
        return str(step(fields, dialect, body_bytes))
    except GatewayError as error:
        return refused(error)


def _draft_creation(fields: Fields, dialect: rufh.Dialect, body_bytes: int | None) -> str:
    found = rufh.parse_creation(fields, dialect, body_bytes, MAX_METADATA_BYTES)
    assert found.length is None or 0 <= found.length < 10**15
    if found.complete and body_bytes is not None:
        assert found.length == body_bytes, "a body that is all of it says how long it is"
    _check_completeness(fields, dialect, found.complete)
    _check_described(found.described)
    found.file_name.encode()
    assert found.digest_wanted.isascii()
    return f"{found.complete} {found.length is None} {found.digest_wanted[:7]}"


def _draft_append(fields: Fields, dialect: rufh.Dialect, body_bytes: int | None) -> str:
    found = rufh.parse_append(fields, dialect, body_bytes)
    assert 0 <= found.offset < 10**15
    if found.complete and body_bytes is not None:
        assert found.length == found.offset + body_bytes
    _check_completeness(fields, dialect, found.complete)
    return f"{found.complete} {found.length is None}"


def _check_completeness(fields: Fields, dialect: rufh.Dialect, complete: bool) -> None:
    """Only one readable value completes an upload, and it is what we would say ourselves."""
    said = fields.all(dialect.completeness)
    if said:
        assert said[0].strip(" ").startswith(rufh.completeness(dialect, complete)[dialect.completeness])
    else:
        assert complete
        assert dialect.omission_completes


def _bare(fields: Fields, dialect: rufh.Dialect, body_bytes: int | None) -> str:
    rufh.check_bare(fields, dialect)
    return "bare"


_METADATA = b"filename YS50eHQ=,filetype dGV4dC9wbGFpbg==,sessionId ,is_confidential"

TARGETS = (
    Target(
        "tus",
        "tus headers are numbers below 2^63, a digest of the right size and a described file, or an error",
        (
            *(tus.parse_creation, tus.parse_append, tus.parse_number, tus.parse_checksum),
            *(tus.effective_method, tus.check_version, tus.check_content_type),
        ),
        (
            b"Tus-Resumable: 1.0.0\nUpload-Length: 100\nUpload-Metadata: " + _METADATA,
            b"Tus-Resumable: 1.0.0\nUpload-Defer-Length: 1\nUpload-Concat: partial",
            b"Tus-Resumable: 1.0.0\nUpload-Concat: final;/files/0123456789abcdef0123456789abcdef",
            b"Tus-Resumable: 1.0.0\nUpload-Offset: 70\nContent-Type: application/offset+octet-stream\n"
            b"Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            b"Tus-Resumable: 1.0.0\nX-HTTP-Method-Override: PATCH\nUpload-Offset: 0\nUpload-Length: 5",
        ),
        _tus,
        (
            b"Upload-Length: ",
            b"Upload-Offset: ",
            b"Upload-Concat: ",
            b"final;",
            b"crc32c AAAAAA==",
            b"\n",
            b"=",
        ),
        (b"Upload-Length: " + b"9" * 10**6, b"Upload-Checksum: md5 " + b"A" * 10**6),
    ),
    Target(
        "tus-metadata",
        "Upload-Metadata is at most 100 keys whose values read the same when told again, or an error",
        (parse_metadata, describe),
        (_METADATA, b"name 4oKsLnR4dA==", b"fileId YS0x,category c2NlbmljIA==", b"a AAE=,b /w=="),
        _metadata,
        (b",", b" ", b"=", b"filename ", b"fileId ", b"sessionId ", b"Li4v", b"7aCA", b"AA=="),
        (b"a" * 4096, b"," * 4096, b"a " + b"A" * 10**6, b",".join(b"k%d AA==" % at for at in range(200))),
    ),
    Target(
        "draft",
        "the draft's fields are numbers of 15 digits and a plain yes or no, in each version, or an error; "
        "what cannot be read completes nothing",
        (
            *(rufh.spoken_by, rufh.check_bare, rufh.parse_creation, rufh.parse_append),
            *(rufh.completeness, is_draft, media_type),
        ),
        (
            b"Upload-Draft-Interop-Version: 8\nUpload-Complete: ?1\nUpload-Length: 10",
            b"Upload-Draft-Interop-Version: 3\nUpload-Incomplete: ?1\nUpload-Offset: 5",
            b"Upload-Complete: ?0\nUpload-Offset: 0\nContent-Type: application/partial-upload",
            b"Upload-Complete: ?1\nContent-Disposition: attachment; filename=a\nWant-Repr-Digest: sha-256=1",
            b"Upload-Complete: ?0\nUpload-Metadata: " + _METADATA + b"\nContent-Type: text/plain",
        ),
        _draft,
        (
            b"?0",
            b"?1",
            b"Upload-Complete: ",
            b"Upload-Offset: ",
            b"Upload-Length: ",
            b";x",
            b", ",
            b"\n",
            b"1.0",
        ),
        (b"Upload-Complete: ?0\nUpload-Length: " + b"9" * 10**6, b"Upload-Complete: " + b"(" * 10**5),
    ),
)
