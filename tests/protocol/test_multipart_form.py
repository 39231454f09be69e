"""Boundaries and part heads, as browsers, curl and others write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.errors import GatewayError, InvalidMessage, UnsupportedFormat
from penstock.protocol.multipart_form import (
    PartHead,
    check_field,
    check_storable,
    is_form,
    parse_boundary,
    parse_part_head,
)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ("Multipart/Form-Data;BOUNDARY=abc", b"abc"),
        ('multipart/form-data; charset=utf-8; boundary="a b;c"', b"a b;c"),
        ("multipart/form-data;  boundary= abc ; x=y", b"abc"),
        ("multipart/form-data; boundary='()+_,-./:=?", b"'()+_,-./:=?"),
        ("multipart/form-data; boundary=one; boundary=two", b"one"),
        ("multipart/form-data; boundary=" + "x" * 70, b"x" * 70),
    ],
)
def test_boundaries(content_type: str, boundary: bytes) -> None:
    assert is_form(content_type)
    assert parse_boundary(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "x" * 71,
        'multipart/form-data; boundary="abc "',
        "multipart/form-data; boundary=ä",
        "multipart/form-data; boundary=a\tb",
    ],
)
def test_a_wrong_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^Content-Type: the boundary "):
        parse_boundary(content_type)


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/mixed; boundary=x", "text/plain", "form-data"]
)
def test_another_media_type_names_the_fix(content_type: str) -> None:
    assert not is_form(content_type)
    with pytest.raises(UnsupportedFormat, match="curl -F"):
        parse_boundary(content_type)


def head(disposition: str, **more: str) -> PartHead:
    wire = disposition.encode().decode("latin-1")
    return parse_part_head(
        [("Content-Disposition", wire), *((k.replace("_", "-"), v) for k, v in more.items())]
    )


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        ('filename="a.txt"', "a.txt"),
        ("filename=a.txt", "a.txt"),
        ('FileName = "a.txt" ', "a.txt"),
        ('filename=""', ""),
        ('filename="文档.pdf"', "文档.pdf"),
        ('filename="a;b=c.txt"', "a;b=c.txt"),
        ('filename="a%22b%0D%0Ac.txt"', 'a"b\r\nc.txt'),
        (r'filename="a\"b.txt"', 'a"b.txt'),
        (r'filename="C:\dir\a.txt"', r"C:\dir\a.txt"),
        ('filename="ends\\"', "ends\\"),
        ('filename="100%.txt"', "100%.txt"),
        ("filename*=UTF-8''%E6%96%87.txt", "文.txt"),
        ("filename*=iso-8859-1'en'%A3.txt", "£.txt"),
        ("filename=\"old.txt\"; filename*=utf-8''new%22.txt", 'new".txt'),
        ("filename=\"old.txt\"; filename*=utf-8''%FF", "old.txt"),
        ("filename=\"old.txt\"; filename*=koi8-r''x", "old.txt"),
        ('filename="old.txt"; filename*=nonsense', "old.txt"),
        ('filename="one"; filename="two"', "one"),
        ('x="; filename=no"; filename="a.txt"', "a.txt"),
        ("x=y", None),
    ],
)
def test_file_names(parameters: str, filename: str | None) -> None:
    assert head(f'form-data; name="f"; {parameters}') == PartHead("f", filename)
    if "filename*" not in parameters or "nonsense" in parameters:
        assert head(f"form-data; {parameters}; name=f") == PartHead("f", filename)


def test_a_name_in_another_charset_is_shown_as_well_as_can_be() -> None:
    found = parse_part_head([("Content-Disposition", 'form-data; name="f"; filename="\xce\xc4.txt"')])
    assert found.filename == "\ufffd\ufffd.txt"


def test_what_else_a_head_says() -> None:
    found = head(
        'form-data; name="f"', Content_Type=" Text/Plain; charset=x ", Content_Transfer_Encoding=" Base64"
    )
    assert found == PartHead("f", None, "Text/Plain; charset=x", "base64")


@pytest.mark.parametrize(
    ("disposition", "words"),
    [
        ("", "no Content-Disposition"),
        ("attachment; name=f", "no Content-Disp"),
        ("form-data; x=f", "no name"),
    ],
)
def test_a_head_that_names_no_field(disposition: str, words: str) -> None:
    with pytest.raises(InvalidMessage, match=words):
        head(disposition)


@pytest.mark.parametrize("line", [("Content-Disposition", "form-data; name=a\n"), ("X", "\n"), ("X\nY", "z")])
def test_a_line_break_within_a_line_is_refused(line: tuple[str, str]) -> None:
    """The parser takes it or refuses it, depending on how the body was cut into segments."""
    with pytest.raises(InvalidMessage, match="line break"):
        parse_part_head([line, ("Content-Disposition", "form-data; name=a")])
    with pytest.raises(InvalidMessage, match="line break"):
        parse_part_head([("Content-Disposition", "form-data; name=a"), line])


@pytest.mark.parametrize("encoding", ["", "7bit", "8bit", "binary"])
def test_plain_content_is_stored(encoding: str) -> None:
    check_storable(PartHead("f", "a", "multipart/related", encoding))


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-gzip"])
def test_encoded_content_is_refused(encoding: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^Content-Transfer-Encoding: "):
        check_storable(PartHead("f", "a", "", encoding))


def test_parts_within_a_part_are_refused() -> None:
    check_field(PartHead("f", None, "text/plain"))
    with pytest.raises(InvalidMessage, match="multipart/mixed"):
        check_field(PartHead("f", None, "Multipart/Mixed; boundary=x"))


@given(st.text(st.characters(max_codepoint=255)))
def test_whatever_comes_is_a_head_or_refused(text: str) -> None:
    for disposition in (text, f'form-data; name="{text}', f"form-data; name=f; filename*={text}"):
        try:
            found = parse_part_head([("Content-Disposition", disposition)])
        except GatewayError:
            continue
        found.name.encode()
        (found.filename or "").encode()
    with contextlib.suppress(InvalidMessage):
        parse_boundary(f"multipart/form-data; boundary={text}")


@given(
    st.text(st.characters(exclude_categories=["Cs"])).filter(
        lambda text: "%" not in text and "\\" not in text
    )
)
def test_what_browsers_quote_comes_out_as_it_was(name: str) -> None:
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    assert head(f'form-data; name="{quoted}"; filename="{quoted}"') == PartHead(name, name)
