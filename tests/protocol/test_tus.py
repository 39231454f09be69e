"""tus 1.0.0: header fields as values; numbers, checksums and lists that are none are refused by name."""

from __future__ import annotations

import hashlib
import locale
from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.errors import InvalidMessage, UnsupportedFormat
from penstock.protocol.header_fields import Fields
from penstock.protocol.tus import (
    CHECKSUM_BYTES,
    EXTENSIONS,
    Append,
    Checksum,
    VersionMismatch,
    check_content_type,
    check_version,
    discovery,
    effective_method,
    is_final,
    is_repetition,
    parse_append,
    parse_checksum,
    parse_creation,
    parse_number,
    parts_of,
    upload_expires,
)
from penstock.protocol.tus_metadata import Described

ID = "0123456789abcdef" * 2
OTHER = "f" * 32


def fields(**values: str) -> Fields:
    return Fields((name.replace("_", "-"), value) for name, value in values.items())


# Numbers

NO_NUMBERS = [
    *("", " ", "-1", "+1", "-0", "1.0", "0x10", "1e3", "1_000", " 1", "1 ", "1,1", "NaN", "１", "٣", "²"),
    *(str(2**63), str(2**64), "9" * 19, "1" * 200, "0" * 20, "1\n"),
]


@pytest.mark.parametrize(("said", "number"), [("0", 0), ("007", 7), ("5", 5), (str(2**63 - 1), 2**63 - 1)])
def test_tus_G7_numbers(said: str, number: int) -> None:
    assert parse_number(fields(Upload_Length=said), "Upload-Length") == number


@pytest.mark.parametrize("said", NO_NUMBERS)
@pytest.mark.parametrize("name", ["Upload-Length", "Upload-Offset"])
def test_tus_G7_no_numbers(name: str, said: str) -> None:
    with pytest.raises(InvalidMessage, match=rf"^{name}: decimal digits"):
        parse_number(Fields([(name, said)]), name)


def test_tus_G7_once() -> None:
    twice = Fields([("Upload-Offset", "1"), ("upload-offset", "1")])
    with pytest.raises(InvalidMessage, match=r"^Upload-Offset: came 2 times"):
        parse_append(twice)
    assert parse_number(twice, "Upload-Length") is None


@given(st.text())
def test_any_text_is_a_number_or_refused(said: str) -> None:
    with suppress(InvalidMessage):
        assert str(parse_number(fields(Upload_Length=said), "Upload-Length")) == (said.lstrip("0") or "0")


# Versions and methods


@pytest.mark.parametrize(
    ("method", "said", "understood"),
    [
        ("POST", ["1.0.0"], True),
        ("HEAD", ["1.0.0"], True),
        ("HEAD", [], True),
        ("GET", [], True),
        ("POST", [], False),
        ("PATCH", [], False),
        ("DELETE", [], False),
        ("HEAD", ["0.2.2"], False),
        ("GET", ["2.0.0"], False),
        ("PATCH", [""], False),
        ("PATCH", ["1.0.0", "1.0.0"], False),
        ("PATCH", ["1.0.0, 1.0.0"], False),
    ],
)
def test_tus_G2_G3_versions(method: str, said: list[str], understood: bool) -> None:
    asked = Fields(("Tus-Resumable", value) for value in said)
    if understood:
        return check_version(method, asked)
    with pytest.raises(VersionMismatch) as refused:
        check_version(method, asked)
    assert refused.value.headers == {"Tus-Version": "1.0.0"}
    return None


@pytest.mark.parametrize("meant", ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("method", ["POST", "GET", "PROPFIND"])
def test_tus_G5_the_override_is_the_method(method: str, meant: str) -> None:
    assert effective_method(method, fields(X_HTTP_Method_Override=meant)) == meant
    assert effective_method(method, fields(Other=meant)) == method


@pytest.mark.parametrize("meant", ["", "PUT", "TRACE", "CONNECT", "patch", "PATCH ", "PATCH,HEAD", "FOO"])
def test_tus_G6_other_overrides_are_refused(meant: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^X-HTTP-Method-Override: one of GET"):
        effective_method("POST", fields(X_HTTP_Method_Override=meant))


def test_tus_G6_two_overrides_are_refused() -> None:
    twice = Fields([("X-HTTP-Method-Override", "PATCH"), ("x-http-method-override", "DELETE")])
    with pytest.raises(InvalidMessage, match="came 2 times"):
        effective_method("POST", twice)


# Creation


def test_tus_C1_a_length() -> None:
    made = parse_creation(fields(Upload_Length="5", Upload_Metadata="filename YQ==,b"), 100)
    assert (made.is_partial, made.is_final) == (False, False)
    assert made == (5, Described("a", texts={"b": ""}), "filename YQ==,b", None)


def test_tus_D1_a_deferred_length() -> None:
    assert parse_creation(fields(Upload_Defer_Length="1"), 0) == (None, Described(), None, None)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "Upload-Length: exactly one"),
        ({"Upload_Length": "1", "Upload_Defer_Length": "1"}, "Upload-Length: exactly one"),
        ({"Upload_Defer_Length": "0"}, "Upload-Defer-Length: must be 1"),
        ({"Upload_Defer_Length": "2"}, "Upload-Defer-Length: must be 1"),
        ({"Upload_Defer_Length": "x"}, "Upload-Defer-Length: must be 1"),
        ({"Upload_Defer_Length": ""}, "Upload-Defer-Length: must be 1"),
        ({"Upload_Length": "1", "Upload_Defer_Length": "0"}, "Upload-Defer-Length: must be 1"),
    ],
)
def test_tus_C2_exactly_one_length(asked: dict[str, str], words: str) -> None:
    for concat in ({}, {"Upload_Concat": "partial"}):
        with pytest.raises(InvalidMessage, match=rf"^{words}"):
            parse_creation(fields(**asked, **concat), 0)


def test_an_empty_metadata_field_is_none() -> None:
    assert parse_creation(fields(Upload_Length="1", Upload_Metadata=""), 0).upload_metadata is None


def test_tus_C5_malformed_metadata_is_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"^Upload-Metadata: "):
        parse_creation(fields(Upload_Length="1", Upload_Metadata="a !"), 100)
    with pytest.raises(InvalidMessage, match=r"^Upload-Metadata: came 2 times"):
        parse_creation(
            Fields([("Upload-Length", "1"), ("Upload-Metadata", "a"), ("Upload-Metadata", "b")]), 9
        )


# Append


def test_an_append() -> None:
    assert parse_append(fields(Upload_Offset="3")) == Append(3, None)
    assert parse_append(fields(Upload_Offset="0", Upload_Length="9")) == Append(0, 9)


def test_tus_P4_an_append_without_an_offset() -> None:
    with pytest.raises(InvalidMessage, match=r"^Upload-Offset: is missing"):
        parse_append(fields(Upload_Length="9"))


@pytest.mark.parametrize("kind", ["application/offset+octet-stream", "Application/Offset+Octet-Stream; a=b"])
def test_the_type_of_bytes(kind: str) -> None:
    check_content_type(fields(Content_Type=kind))


@pytest.mark.parametrize("asked", [{}, {"Content_Type": "application/octet-stream"}, {"Content_Type": ""}])
def test_tus_P2_other_types(asked: dict[str, str]) -> None:
    with pytest.raises(UnsupportedFormat, match=r"application/offset\+octet-stream is expected"):
        check_content_type(fields(**asked))


LENGTH, FINAL_OFFSET = 10, 6


@pytest.mark.parametrize(
    ("offset", "body_bytes", "again"),
    [
        (6, 4, True),  # the same request
        (6, None, True),
        (10, 0, True),  # asks for nothing
        (6, 3, False),
        (6, 5, False),
        (6, 0, False),
        (5, 5, False),  # ends there, but is another one
        (5, None, False),
        (10, 1, False),
        (10, None, False),  # who knows
        (11, 0, False),
        (0, 10, False),
    ],
)
def test_tus_P10_repetitions(offset: int, body_bytes: int | None, again: bool) -> None:
    assert is_repetition(Append(offset, None), body_bytes, LENGTH, FINAL_OFFSET) is again


def test_tus_P10_an_empty_append_may_have_been_the_last() -> None:
    assert is_repetition(Append(LENGTH, None), None, LENGTH, LENGTH)
    assert not is_repetition(Append(6, None), 4, LENGTH, None)


# Checksums


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
def test_tus_K1_checksums(algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"x").digest()
    said = f"{algorithm} {b64encode(digest).decode()}"
    assert parse_checksum(fields(Upload_Checksum=said)) == Checksum(algorithm, digest)


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c"])
def test_tus_K1_short_checksums(algorithm: str) -> None:
    assert parse_checksum(fields(Upload_Checksum=f"{algorithm} AAECAw==")) == (algorithm, bytes(range(4)))


def test_without_a_checksum() -> None:
    assert parse_checksum(fields()) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "one of sha1, "),
        ("sha1", "sha1 has 20 bytes, not 0"),
        ("sha1 ", "sha1 has 20 bytes, not 0"),
        ("sha1 AAECAw==", "sha1 has 20 bytes, not 4"),
        ("crc32 AAECAw", "what follows crc32 is not base64"),
        ("crc32  AAECAw==", "what follows crc32 is not base64"),
        ("crc32 AAECAw== ", "what follows crc32 is not base64"),
        ("crc32 ?", "what follows crc32 is not base64"),
        ("crc32 ١", "what follows crc32 is not base64"),
        ("SHA1 AAECAw==", "one of sha1, "),  # names are lower case
        ("sha3 AAECAw==", "one of sha1, "),
        ("AAECAw==", "one of sha1, "),
        (" sha1 AAECAw==", "one of sha1, "),
    ],
)
def test_tus_K4_K6_malformed_checksums(said: str, words: str) -> None:
    with pytest.raises(InvalidMessage, match=f"^Upload-Checksum: {words}"):
        parse_checksum(fields(Upload_Checksum=said))


# Concatenation


def test_tus_X1_a_partial() -> None:
    made = parse_creation(fields(Upload_Concat="partial", Upload_Length="1"), 0)
    assert (made.is_partial, made.is_final, made.concat) == (True, False, "partial")


def test_tus_X2_a_final() -> None:
    concat = f"final;/files/{ID} https://up.example/files/{OTHER} /files/{ID}"
    made = parse_creation(fields(Upload_Concat=concat), 0)
    assert (made.is_partial, made.is_final, made.length) == (False, True, None)
    assert is_final(made.concat)
    assert parts_of(concat, lambda host: host == "up.example") == [ID, OTHER, ID]


@pytest.mark.parametrize("more", [{"Upload_Length": "5"}, {"Upload_Defer_Length": "1"}])
def test_tus_X3_a_final_has_no_length(more: dict[str, str]) -> None:
    with pytest.raises(InvalidMessage, match=r"^Upload-Length: a final"):
        parse_creation(fields(Upload_Concat=f"final;/files/{ID}", **more), 0)


@pytest.mark.parametrize("concat", ["", "Partial", "final", "FINAL;/files/x", "partial;", " partial", "x"])
def test_other_concatenations(concat: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^Upload-Concat: partial, or final"):
        parse_creation(fields(Upload_Concat=concat, Upload_Length="1"), 0)
    assert not is_final(concat)
    assert not is_final(None)


@pytest.mark.parametrize(
    "concat",
    [
        "final;",
        "final; ",
        f"final;/files/{ID} /files/nothing",
        f"final;/files/{ID},/files/{OTHER}",
        f"final;https://evil.example/files/{ID}",
        "final;/files/../../etc/passwd",
    ],
)
def test_tus_X4_only_uploads_of_ours(concat: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^Upload-Concat: final;URL URL"):
        parts_of(concat, lambda host: host == "up.example")


# Discovery and expiry


def test_tus_O1_discovery() -> None:
    assert discovery(0) == {
        "Tus-Version": "1.0.0",
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Checksum-Algorithm": "sha1,sha256,sha512,md5,crc32,crc32c",
    }
    assert discovery(7)["Tus-Max-Size"] == "7"
    assert "checksum-trailer" not in EXTENSIONS  # there are no trailers behind ASGI
    assert "concatenation-unfinished" not in EXTENSIONS


def test_tus_O5_names_of_algorithms() -> None:
    assert "sha1" in CHECKSUM_BYTES
    assert all(name.isascii() and name == name.lower() for name in CHECKSUM_BYTES)


def test_tus_E3_expiry_is_an_imf_fixdate() -> None:
    assert upload_expires(1403712000.9) == "Wed, 25 Jun 2014 16:00:00 GMT"
    assert upload_expires(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert upload_expires(1e30) == "Fri, 31 Dec 9999 23:59:59 GMT"


def test_tus_E3_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    before = locale.setlocale(locale.LC_TIME)
    for name in ("de_DE.UTF-8", "zh_CN.UTF-8", "C.UTF-8"):
        with suppress(locale.Error):
            locale.setlocale(locale.LC_TIME, name)
            break
    try:
        assert upload_expires(1403712000) == "Wed, 25 Jun 2014 16:00:00 GMT"
    finally:
        locale.setlocale(locale.LC_TIME, before)
