"""Parameters of header fields, and the file name in a Content-Disposition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.header_parameters import file_name, parse_parameters


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('inline; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=a.txt", "a.txt"),
        ("inline;FileName=a.txt ; x=y", "a.txt"),
        ("inline; filename*=UTF-8''%e2%82%ac%20rates", "€ rates"),
        ("inline; filename*=iso-8859-1'en'%A3", "£"),
        ("inline; filename=\"plain\"; filename*=UTF-8''f%C3%BCr", "für"),
        ("inline; filename*=UTF-8''f%C3%BCr; filename=plain", "für"),
        ('inline; filename="plain"; filename*=UTF-8"broken', "plain"),
        ("inline; filename=plain; filename*=UTF-8''%FF", "plain"),
        ("inline; filename=plain; filename*=koi8-r''x", "plain"),
        (r'inline; filename="a\"b\\c"', r'a"b\c'),
        ('inline; filename="a;b"', "a;b"),
        ('inline; filename="100%22"', "100%22"),
        ("inline; filename=" + "für".encode().decode("latin-1"), "für"),
        ('inline; filename=""', ""),
        ("inline", ""),
        ("", ""),
        ("filename=a", ""),
    ],
)
def test_file_names(value: str, name: str) -> None:
    assert file_name(value) == name


def test_of_repeated_parameters_the_first() -> None:
    assert parse_parameters("x; a=1; A=2; b=3") == {"a": "1", "b": "3"}


@given(st.text())
def test_any_text_has_a_name_of_valid_unicode_or_none(value: str) -> None:
    file_name(value).encode()
    file_name(f"inline; filename*=UTF-8''{value}").encode()
