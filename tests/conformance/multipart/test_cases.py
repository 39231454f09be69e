"""The cases of the multipart-form-data-conformance package, read by the reader that reads uploads."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from multipart_form_data_conformance import (  # type: ignore[import-untyped]  # it has no stubs
    get_tests_dir,
)

from penstock.protocol.errors import InvalidMessage
from penstock.protocol.multipart_form import parse_boundary
from penstock.server.peer import BodyBroken
from tests.server.http.forms import Pieces, Seen, read_all, reader_of

CASES = sorted(path.parent for path in get_tests_dir().rglob("test.json"))

# Optional ones: RFC 2046 §4.1.1 wants CRLF, and who is lenient there takes a line of content for a boundary.
REFUSED = {"061-lf-only-lenient", "062-mixed-endings"}


def test_none_is_missing() -> None:
    assert len(CASES) == 58


def as_expected(seen: Seen, wanted: dict[str, Any]) -> None:
    filename = wanted.get("filename_star", wanted["filename"])
    assert (seen.name, seen.filename) == (wanted["name"], filename)
    assert seen.content_type == (wanted["content_type"] or "")
    assert len(seen.content) == wanted["body_size"]
    if "body_text" in wanted:
        assert seen.content == wanted["body_text"].encode()
    if "body_base64" in wanted:
        assert seen.content == base64.b64decode(wanted["body_base64"])
    if "body_sha256" in wanted:
        assert hashlib.sha256(seen.content).hexdigest() == wanted["body_sha256"]


@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
async def test_case(case: Path, piece_bytes: int) -> None:
    headers = json.loads((case / "headers.json").read_text("utf-8"))
    expected = json.loads((case / "test.json").read_text("utf-8"))["expected"]
    raw = (case / "input.raw").read_bytes()
    boundary = parse_boundary(headers["content-type"])
    reader = reader_of(Pieces(raw[at : at + piece_bytes] for at in range(0, len(raw), piece_bytes)), boundary)
    if case.name in REFUSED or not expected["valid"]:
        with pytest.raises((BodyBroken, InvalidMessage)):
            await read_all(reader)
        return
    seen = await read_all(reader)
    assert len(seen) == len(expected["parts"])
    for got, wanted in zip(seen, expected["parts"], strict=True):
        as_expected(got, wanted)
