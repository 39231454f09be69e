"""`Upload-Metadata`: strict about its form, and what its keys mean."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.errors import GatewayError, InvalidMessage, InvalidSession
from penstock.protocol.tus_metadata import MAX_KEYS, Described, describe, parse_metadata

SESSION = "0b5a3c6e-58cb-4b5c-9b0e-2f4d8c6a1e11"
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1)


def rendered(values: dict[str, bytes]) -> str:
    return ",".join(f"{key} {b64encode(value).decode()}" for key, value in values.items())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", {}),
        ("filename YS50eHQ=", {"filename": b"a.txt"}),
        ("b Yg==,a YQ==", {"b": b"b", "a": b"a"}),
        ("a YQ==, b Yg==\t,\tc Yw==", {"a": b"a", "b": b"b", "c": b"c"}),
        ("empty", {"empty": b""}),
        ("empty ,a YQ==", {"empty": b"", "a": b"a"}),
        ("binary /wAB", {"binary": b"\xff\x00\x01"}),
        ("!#$%&'*+-.^_`|~: YQ==", {"!#$%&'*+-.^_`|~:": b"a"}),
        ("A YQ==,a YQ==", {"A": b"a", "a": b"a"}),  # keys are told apart by their case
    ],
)
def test_well_formed(value: str, found: dict[str, bytes]) -> None:
    parsed = parse_metadata(value, 1000)
    assert parsed == found
    assert list(parsed) == list(found)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (",", "pairs of a key and base64"),
        ("a YQ==,", "pairs of a key"),
        (",a YQ==", "pairs of a key"),
        (" ", "pairs of a key"),
        ("ключ YQ==", "visible ASCII"),
        ("a\x00 YQ==", "visible ASCII"),
        ("a\tb YQ==", "visible ASCII"),
        ("a YQ==,a Yg==", "the key a came twice"),
        ("a,a", "the key a came twice"),
        ("a YQ", "the value of a is not base64"),
        ("a Y", "not base64"),
        ("a YQ= =", "not base64"),
        ("a  YQ==", "not base64"),
        ("a YQ== b", "not base64"),
        ("a YQ==\tb", "not base64"),
        ("a =", "not base64"),
        ("a YQ===", "not base64"),
        ("a _-8=", "not base64"),
        ("a YQ=\u0661", "not base64"),
        ("a Y\r\nQ==", "not base64"),
    ],
)
def test_malformed(value: str, words: str) -> None:
    with pytest.raises(InvalidMessage, match=rf"^Upload-Metadata: .*{words}"):
        parse_metadata(value, 1000)


def test_limits() -> None:
    keys = ",".join(f"k{number}" for number in range(MAX_KEYS))
    assert len(parse_metadata(keys, 1000)) == MAX_KEYS
    with pytest.raises(InvalidMessage, match=f"at most {MAX_KEYS} keys"):
        parse_metadata(keys + ",more", 1000)
    assert parse_metadata("a YQ==", 6) == {"a": b"a"}
    with pytest.raises(InvalidMessage, match="at most 5 bytes"):
        parse_metadata("a YQ==", 5)


@given(st.dictionaries(KEYS, st.binary()))
def test_round_trip(values: dict[str, bytes]) -> None:
    if len(values) <= MAX_KEYS:
        assert parse_metadata(rendered(values), 10**6) == values


@given(st.text())
def test_any_text_is_metadata_or_refused(value: str) -> None:
    with suppress(InvalidMessage):
        values = parse_metadata(value, 1000)
        assert all(key.isascii() and "," not in key and " " not in key for key in values)


@pytest.mark.parametrize(
    ("values", "described"),
    [
        ({}, Described()),
        ({"filename": b"a.txt", "filetype": b"text/plain"}, Described("a.txt", "text/plain")),
        ({"name": b"b.txt", "type": b"text/html"}, Described("b.txt", "text/html")),
        ({"name": b"b", "type": b"b/b", "filename": b"a", "filetype": b"a/a"}, Described("a", "a/a")),
        ({"filename": b"", "name": b"b", "filetype": b"", "type": b"b/b"}, Described("b", "b/b")),
        ({"filename": "Größe 图.txt".encode()}, Described("Größe 图.txt")),
        ({"filename": b"../../etc/\r\n\x00passwd"}, Described("../../etc/\r\n\x00passwd")),  # shown only
        (
            {"sessionId": SESSION.upper().encode(), "fileId": b"f.1", "category": b"scenic"},
            Described(session_id=SESSION, file_id="f.1", category="scenic"),
        ),
        ({"sessionId": b"", "fileId": b"", "category": b""}, Described()),
        (
            {"album": "Été".encode(), "raw": b"\xff", "empty": b"", "Filename": b"x"},
            Described(texts={"album": "Été", "empty": "", "Filename": "x"}),
        ),
    ],
)
def test_what_the_keys_mean(values: dict[str, bytes], described: Described) -> None:
    assert describe(values) == described


@pytest.mark.parametrize("key", ["filename", "name", "filetype", "type", "sessionId", "fileId", "category"])
def test_what_means_something_must_be_text(key: str) -> None:
    with pytest.raises(InvalidMessage, match=rf"^Upload-Metadata: the value of {key} is not text in UTF-8"):
        describe({key: b"\xff"})


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"filename": b"x" * 1025}, InvalidMessage, "Upload-Metadata: filename: at most 1024 bytes"),
        ({"name": "图".encode() * 400}, InvalidMessage, "Upload-Metadata: name: at most 1024 bytes"),
        ({"sessionId": b"mine"}, InvalidSession, "Upload-Metadata: sessionId: a session id"),
        ({"fileId": b"a/b"}, InvalidMessage, "Upload-Metadata: fileId: 1 to 128 of"),
    ],
)
def test_wrong_values_are_named(values: dict[str, bytes], kind: type[GatewayError], words: str) -> None:
    with pytest.raises(kind, match=words):
        describe(values)
