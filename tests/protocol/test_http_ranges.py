"""`Range` of downloads, conditions, names and types, digests."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.protocol.conditions import Outcome, Validators, evaluate, range_holds
from penstock.protocol.digest_fields import parse_digest_field
from penstock.protocol.downloads import content_disposition, is_shown, media_type
from penstock.protocol.errors import InvalidMessage
from penstock.protocol.http_ranges import MAX_RANGES, Span, Unsatisfiable, parse_range


# The examples of RFC 9110 §14.1.2, for 10 000 bytes.
@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-999", [(500, 1000)]),
        ("bytes=-500", [(9500, 10000)]),
        ("bytes=9500-", [(9500, 10000)]),
        ("bytes=0-0,-1", [(0, 1), (9999, 10000)]),
        ("bytes= 0-999, 4500-5499, -1000", [(0, 1000), (4500, 5500), (9000, 10000)]),
        ("bytes=500-600,601-999", [(500, 601), (601, 1000)]),
        ("bytes=,5-6,,", [(5, 7)]),
    ],
)
def test_ranges(value: str, spans: list[tuple[int, int]]) -> None:
    assert parse_range(value, 10_000) == spans


@given(st.text() | st.from_regex(r"bytes=[0-9, -]*", fullmatch=True), st.integers(0, 100))
def test_whatever_is_asked_for_lies_in_the_file(value: str, size: int) -> None:
    try:
        spans = parse_range(value, size)
    except Unsatisfiable:
        assert size
        return
    if spans is not None:
        assert 0 < len(spans) <= MAX_RANGES
        assert all(0 <= span.start < span.end <= size for span in spans)
        assert sum(span.length for span in spans) <= size


def test_content_range() -> None:
    assert Span(2, 5).content_range(9) == "bytes 2-4/9"


CURRENT = Validators('"e"', 784111777)  # Sun, 06 Nov 1994 08:49:37 GMT
DATE, BEFORE, AFTER = (f"Sun, 06 Nov 1994 08:49:{second} GMT" for second in (37, 36, 38))


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, Outcome.GO_ON),
        ({"If-Match": '"x", "e"'}, Outcome.GO_ON),
        ({"If-Match": "*"}, Outcome.GO_ON),
        ({"If-Match": 'W/"e"'}, Outcome.FAILED),
        ({"If-Match": '"x"', "If-None-Match": '"e"'}, Outcome.FAILED),
        ({"If-Match": '"e"', "If-Unmodified-Since": BEFORE}, Outcome.GO_ON),
        ({"If-Unmodified-Since": DATE}, Outcome.GO_ON),
        ({"If-Unmodified-Since": BEFORE}, Outcome.FAILED),
        ({"If-None-Match": 'W/"e"'}, Outcome.NOT_MODIFIED),
        ({"If-None-Match": "e"}, Outcome.GO_ON),
        ({"If-None-Match": '"x"', "If-Modified-Since": AFTER}, Outcome.GO_ON),
        ({"If-Modified-Since": DATE}, Outcome.NOT_MODIFIED),
        ({"If-Modified-Since": BEFORE}, Outcome.GO_ON),
        ({"If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}, Outcome.NOT_MODIFIED),
        ({"If-Modified-Since": "nonsense"}, Outcome.GO_ON),
        ({"If-Modified-Since": ""}, Outcome.GO_ON),
    ],
)
def test_conditions(headers: dict[str, str], outcome: Outcome) -> None:
    assert evaluate(headers, CURRENT) is outcome


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (None, True),
        ('"e"', True),
        ('W/"e"', False),
        ('"x"', False),
        (DATE, True),
        (AFTER, False),
        ("", False),
    ],
)
def test_if_range(value: str | None, holds: bool) -> None:
    assert range_holds(value, CURRENT) is holds


@given(st.text())
@example(f"Sun, 06 Nov {10**19} 08:49:37 GMT")  # beyond a C long
@example(f"Sun, 06 Nov 1994 08:49:37 +{10**19}")
def test_any_date_is_survived(value: str) -> None:
    evaluate({"If-Modified-Since": value, "If-Unmodified-Since": value}, CURRENT)
    range_holds(value, CURRENT)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_disposition_is_one_ascii_header_line(name: str) -> None:
    value = content_disposition(name, shown=False)
    found = re.fullmatch(r'attachment; filename="([ !#-~]*)"(?:; filename\*=UTF-8\'\'([!-~]+))?', value)
    assert found
    assert "%" not in found[1]
    told = unquote(found[2]) if found[2] else found[1]
    assert len(told) == len(name)
    assert not set(told) & set("/\\\r\n\0")
    assert told not in (".", "..")


@pytest.mark.parametrize("name", [".", ".."])
def test_a_disposition_names_no_directory(name: str) -> None:
    assert set(re.findall('="([^"]*)"', content_disposition(name, shown=False))[0]) == {"_"}


@pytest.mark.parametrize(
    ("declared", "name", "kind"),
    [
        ("Video/MP4; codecs=x", "a", "video/mp4"),
        ("", "a.PNG", "image/png"),
        ("", "a.tar.gz", "application/octet-stream"),
        ("", "noextension", "application/octet-stream"),
        ("", "mp4", "application/octet-stream"),
        ("text/html\r\nX: y", "a.html", "text/html"),
        ("image", "a.html", "text/html"),
    ],
)
def test_media_types(declared: str, name: str, kind: str) -> None:
    assert media_type(declared, name) == kind


@pytest.mark.parametrize(
    "kind", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/css"]
)
def test_what_can_carry_a_script_is_not_shown(kind: str) -> None:
    assert not is_shown(kind)


SHA256 = base64.b64encode(bytes(32)).decode()


def test_digest_fields() -> None:
    value = f"sha-256=:{SHA256}:, x-new=:AQ==:;q=1 , sha-512=:{base64.b64encode(bytes(64)).decode()}:"
    assert parse_digest_field(value, "X") == {"sha-256": bytes(32), "x-new": b"\1", "sha-512": bytes(64)}
    assert parse_digest_field(f"sha-256=:{SHA256.rstrip('=')}:", "X") == {"sha-256": bytes(32)}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=AAAA",
        "SHA-256=:AA==:",
        "sha-256=:AA:",
        "a=:A:",
        "a=:==:",
        "a=:AA==:,",
        "a=:AA==:;",
    ],
)
def test_malformed_digest_fields(value: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^Content-Digest: "):
        parse_digest_field(value, "Content-Digest")


@given(st.text())
def test_any_digest_field_is_parsed_or_refused(value: str) -> None:
    with suppress(InvalidMessage):
        parse_digest_field(value, "X")
