"""`Content-Digest`, `Repr-Digest` and `Want-Repr-Digest` of RFC 9530."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.digest_fields import FieldDigest, most_wanted, parse_digest_field, strongest
from penstock.protocol.errors import InvalidMessage

SHA256, SHA512 = hashlib.sha256(b"x").digest(), hashlib.sha512(b"x").digest()


def member(algorithm: str, value: bytes) -> str:
    return f"{algorithm}=:{base64.b64encode(value).decode()}:"


def test_every_digest_is_found() -> None:
    value = f"{member('sha-256', SHA256)}, {member('sha-512', SHA512)};p=1,md5=:AAAA:"
    assert parse_digest_field(value, "X") == {"sha-256": SHA256, "sha-512": SHA512, "md5": b"\0\0\0"}


def test_padding_may_be_missing() -> None:
    unpadded = base64.b64encode(SHA256).decode().rstrip("=")
    assert parse_digest_field(f"sha-256=:{unpadded}:", "X") == {"sha-256": SHA256}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=abc",
        "sha-256=:?:",
        'sha-256="AAAA"',
        "sha-256=(:AAAA:)",
        "sha-256=:AAAA:",
        "sha-512=:" + "A" * 43 + "=:",
        "md5=:AAAA:,",
        "md5=:AAAA:; :BBBB:",
        "md5=1",
        "SHA-256=:AAAA:",
        "AAAA",
        "md5=:A:",
    ],
)
def test_malformed_ones_are_refused_by_name(value: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^Repr-Digest: "):
        parse_digest_field(value, "Repr-Digest")


@given(st.text())
def test_any_text_is_digests_or_refused(value: str) -> None:
    try:
        found = parse_digest_field(value, "X")
    except InvalidMessage:
        return
    assert found


def test_the_strongest_that_is_known() -> None:
    both = f"{member('sha-256', SHA256)}, {member('sha-512', SHA512)}"
    assert strongest(both, "X") == FieldDigest("sha-512", SHA512)
    assert strongest(f"crc32c=:AAAAAA==:, {member('sha-256', SHA256)}", "X") == FieldDigest("sha-256", SHA256)
    assert strongest("md5=:AAAA:", "X") is None


def test_a_digest_reads_as_it_is_written() -> None:
    digest = FieldDigest("sha-512", SHA512)
    assert str(digest) == member("sha-512", SHA512)
    assert strongest(str(digest), "X") == digest


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("sha-256=1", "sha-256"),
        ("sha-256=3, sha-512=5", "sha-512"),
        ("sha-256=10, sha-512=9;q=1", "sha-256"),
        ("sha-256=5, sha-512=5", "sha-512"),
        ("md5=10, sha-256=1", "sha-256"),
        ("md5=10", None),
        ("sha-256=0", None),
        ("sha-256=11", None),
        ("sha-256=-1", None),
        ("sha-256", None),
        ("sha-256=1.5", None),
        ("sha-256=1,", None),
        ("", None),
    ],
)
def test_what_is_wanted_most(value: str, wanted: str | None) -> None:
    assert most_wanted(value) == wanted
