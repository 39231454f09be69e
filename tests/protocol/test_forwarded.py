"""What proxies say of a request: the nearest trusted word counts, garbage says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.forwarded import Front, parse_forwarded, seen_by_client
from penstock.protocol.header_fields import Fields

TRUSTED = ("10.0.0.1", "10.0.0.2", "2001:db8::1")


def seen(*pairs: tuple[str, str]) -> Front:
    return seen_by_client(Fields(pairs), lambda address: address in TRUSTED)


def forwarded(*values: str) -> Front:
    return seen(*(("Forwarded", value) for value in values))


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ("", [{}]),
        ("for=192.0.2.43", [{"for": "192.0.2.43"}]),
        ("For=a;Host=b;PROTO=c", [{"for": "a", "host": "b", "proto": "c"}]),
        ("for=a ; host=b", [{"for": "a", "host": "b"}]),
        ("for=a, for=b", [{"for": "a"}, {"for": "b"}]),
        ('host="a,b;c\\"d"', [{"host": 'a,b;c"d'}]),
        ('host="up.example:8443",', [{"host": "up.example:8443"}, {}]),
        ("for=a;", [{"for": "a"}]),
        # not allowed by RFC 7239
        ("for", []),
        ("for=", []),
        ("=a", []),
        ("for=a;for=b", []),
        ('for="a', []),
        ('for="a"b', []),
        ("host=up.example:8443", []),  # a colon needs quotes
        ("for = a", []),
        ("for=a host=b", []),
        ("for=é", []),
        ("for=a\r\nx", []),
    ],
)
def test_elements(value: str, elements: list[dict[str, str]]) -> None:
    assert parse_forwarded(value) == elements


@given(st.text())
def test_any_text_says_something_or_nothing(value: str) -> None:
    parse_forwarded(value)
    for name in ("Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix"):
        scheme, host, prefix = seen((name, value))
        text = f"{scheme}{host}{prefix}"
        assert text.isascii()
        assert not set(text) & set(" \r\n\t\"'<>@?#\\")


@pytest.mark.parametrize(
    ("values", "front"),
    [
        (["for=192.0.2.1;host=up.example;proto=https"], ("https", "up.example")),
        (['for=192.0.2.1;host="UP.example:8443";proto=HTTPS'], ("https", "up.example:8443")),
        (['host="[2001:db8::7]:8443";proto=http'], ("http", "[2001:db8::7]:8443")),
        (["for=192.0.2.1"], (None, None)),
        (["proto=https"], ("https", None)),
        # what the client sent stands before what our proxy wrote
        (
            ["host=evil.example;proto=http", "for=192.0.2.1;host=up.example;proto=https"],
            ("https", "up.example"),
        ),
        (["host=evil.example, for=192.0.2.1"], (None, None)),
        (["host=evil.example;proto=http, for=unknown;proto=https"], ("https", None)),
        (["host=evil.example, for=_hidden"], (None, None)),
        # two proxies, both ours: the outer one has seen the client
        (["for=192.0.2.1;host=up.example;proto=https, for=10.0.0.1"], ("https", "up.example")),
        (
            ["for=192.0.2.1;host=up.example;proto=https, for=10.0.0.1;host=inner;proto=http"],
            ("https", "up.example"),
        ),
        (['host=up.example, for="[2001:db8::1]:4711"'], (None, "up.example")),
        (['host=up.example, for="10.0.0.2:80"'], (None, "up.example")),
        (["host=evil.example, host=up.example, for=10.0.0.1"], (None, "up.example")),
        # nothing of a malformed one is believed
        (["for=10.0.0.1;host=up.example", "garbage;;="], (None, None)),
        (["proto=ftp;host=a/b"], (None, None)),
        (['host="up.example\\r\\nX: y"'], (None, None)),
        (['host="user@up.example"'], (None, None)),
        (['host="up.example/path"'], (None, None)),
        (['host=""'], (None, None)),
        (['host="up.example:"'], (None, None)),
    ],
)
def test_the_standard_field(values: list[str], front: tuple[str | None, str | None]) -> None:
    assert forwarded(*values) == Front(*front)


@pytest.mark.parametrize(
    ("pairs", "front"),
    [
        ({"Host": "up.example", "Proto": "https"}, ("https", "up.example")),
        ({"Host": "evil.example, up.example", "Proto": "http,HTTPS"}, ("https", "up.example")),
        ({"Host": "up.example, "}, (None, None)),
        ({"Host": "up.example/x", "Proto": "javascript"}, (None, None)),
        ({"Proto": "https"}, ("https", None)),
        ({"For": "192.0.2.1"}, (None, None)),
    ],
)
def test_the_common_fields(pairs: dict[str, str], front: tuple[str | None, str | None]) -> None:
    assert seen(*((f"X-Forwarded-{name}", value) for name, value in pairs.items())) == Front(*front)


def test_where_both_came_only_what_they_agree_on_counts() -> None:
    standard = ("Forwarded", "host=up.example;proto=https")
    assert seen(standard, ("X-Forwarded-Host", "up.example"), ("X-Forwarded-Proto", "https")) == (
        Front("https", "up.example")
    )
    assert seen(standard, ("X-Forwarded-Host", "other.example"), ("X-Forwarded-Proto", "https")) == (
        Front("https", None)
    )
    # A proxy that knows only the common fields lets a forged standard one pass.
    assert seen(standard, ("X-Forwarded-For", "192.0.2.1")) == Front(None, None)


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("/base", "/base"),
        ("/base/", "/base"),
        ("/a/b-c_d~e.f", "/a/b-c_d~e.f"),
        ("/evil, /base", "/base"),
        ("/", ""),
        ("", ""),
        ("base", ""),
        ("//evil.example", ""),
        ("/a//b", ""),
        ("/../x", ""),
        ("/./x", ""),
        ("/a/..", ""),
        ("/a?b", ""),
        ("/a%2e", ""),
        ("/a b", ""),
        ("/a\r\nX: y", ""),
        ("/" + "a" * 200, ""),
        ("https://evil.example", ""),
    ],
)
def test_prefixes(value: str, prefix: str) -> None:
    assert seen(("X-Forwarded-Prefix", value)) == Front(None, None, prefix)


def test_nobody_said_anything() -> None:
    assert seen() == Front(None, None, "")
