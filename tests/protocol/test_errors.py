"""Errors: one type a code, and each looks on every wire as the table below says."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from penstock.protocol import errors
from penstock.protocol.errors import (
    WIRE,
    ChecksumMismatch,
    GatewayError,
    OffsetMismatch,
    UploadLocked,
    described,
    error_named,
    problem,
)

# code, number on the envelope, HTTP status: written down apart from the code.
TABLE = """
INVALID_MESSAGE           2000  400
MESSAGE_TOO_LARGE         2001  413
RATE_LIMIT_EXCEEDED       2002  429
INVALID_SESSION           2000  400
SESSION_NOT_FOUND         3000  404
FILE_NOT_FOUND            3000  404
TOPIC_NOT_FOUND           3000  404
UPLOAD_NOT_STARTED        3002  409
UPLOAD_ALREADY_COMPLETED  3002  409
UPLOAD_CANCELLED          3002  410
OFFSET_MISMATCH           3002  409
UPLOAD_LOCKED             3002  423
UPLOAD_FAILED             3002  409
IDEMPOTENCY_KEY_REUSED    3002  422
INSUFFICIENT_PERMISSIONS  3001  403
AUTH_FAILED               1001  401
CONNECTION_TIMEOUT        1000  408
UNSUPPORTED_PROTOCOL      1002  400
FILE_SIZE_EXCEEDED        3002  413
UNSUPPORTED_FORMAT        3002  415
CHECKSUM_MISMATCH         3002  422
INSUFFICIENT_STORAGE      3002  507
SERVER_BUSY               2002  503
NETWORK_ERROR             3002  400
SERVER_ERROR              3002  500
SESSION_TIMEOUT           3002  500
"""
ROWS = {code: (int(number), int(status)) for code, number, status in map(str.split, TABLE.split("\n")[1:-1])}


def made(kind: type[GatewayError]) -> GatewayError:
    return OffsetMismatch("text", offset=7) if kind is OffsetMismatch else kind("text")


def test_no_type_is_missing_from_the_table_and_none_is_made_up() -> None:
    ours = {kind for kind in GatewayError.__subclasses__() if kind.__module__ == errors.__name__}
    assert ours == set(WIRE)


def test_codes_are_unique() -> None:
    assert [code for code, count in Counter(wire.code for wire in WIRE.values()).items() if count > 1] == []


def test_numbers_and_statuses() -> None:
    assert {wire.code: (wire.envelope, wire.http) for wire in WIRE.values()} == ROWS


@pytest.mark.parametrize("kind", WIRE, ids=lambda kind: kind.__name__)
def test_a_type_is_named_as_its_code(kind: type[GatewayError]) -> None:
    assert WIRE[kind].code.replace("_", "").lower() == kind.__name__.lower()


@pytest.mark.parametrize("kind", WIRE, ids=lambda kind: kind.__name__)
def test_a_problem(kind: type[GatewayError]) -> None:
    error = made(kind)
    body = problem(error)
    assert body == {
        "type": "about:blank",
        "title": body["title"],
        "status": WIRE[kind].http,
        "detail": "text",
        "code": WIRE[kind].code,
        "details": error.details,
    }
    assert isinstance(body["title"], str)
    assert body["title"].upper().replace(" ", "_") == body["code"]
    assert msgspec.json.decode(msgspec.json.encode(body)) == body


def test_described_has_details_only_if_there_are_any() -> None:
    assert described(UploadLocked("busy")) == {"code": "UPLOAD_LOCKED", "message": "busy"}
    assert described(UploadLocked("busy", details={"status": "paused"})) == {
        "code": "UPLOAD_LOCKED",
        "message": "busy",
        "details": {"status": "paused"},
    }


def test_a_wrong_offset_comes_with_the_right_one() -> None:
    error = OffsetMismatch("text", offset=7)
    assert (error.offset, error.details, error.headers) == (7, {"offset": 7}, {"Upload-Offset": "7"})


def test_errors_share_no_details() -> None:
    one, other = UploadLocked("one"), UploadLocked("other")
    one.details["status"] = "paused"
    one.headers["Retry-After"] = "5"
    assert (other.details, other.headers) == ({}, {})


def test_a_finer_type_looks_like_the_one_it_refines() -> None:
    class Finer(UploadLocked): ...

    assert Finer("text").wire == WIRE[UploadLocked]


def test_an_error_by_its_name() -> None:
    error = error_named("CHECKSUM_MISMATCH", "other bytes")
    assert type(error) is ChecksumMismatch
    assert described(error) == {"code": "CHECKSUM_MISMATCH", "message": "other bytes"}
