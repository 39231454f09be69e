"""Header fields by name: the case does not count, how often one came does."""

from __future__ import annotations

import pytest

from penstock.protocol.errors import InvalidMessage
from penstock.protocol.header_fields import Fields

FIELDS = Fields([("Upload-Offset", "1"), ("X-Twice", "b"), ("x-twice", "a"), ("Empty", "")])


@pytest.mark.parametrize("name", ["Upload-Offset", "upload-offset", "UPLOAD-OFFSET"])
def test_names_in_any_case(name: str) -> None:
    assert name in FIELDS
    assert FIELDS.one(name) == "1"
    assert FIELDS.all(name) == ["1"]


def test_what_is_not_there() -> None:
    assert "Upload-Length" not in FIELDS
    assert FIELDS.one("Upload-Length") is None
    assert FIELDS.all("Upload-Length") == []


def test_an_empty_value_is_a_value() -> None:
    assert "Empty" in FIELDS
    assert FIELDS.one("Empty") == ""


def test_what_came_twice_is_kept_in_order_and_named_where_it_may_come_once() -> None:
    assert FIELDS.all("X-Twice") == ["b", "a"]
    with pytest.raises(InvalidMessage, match=r"^X-Twice: came 2 times"):
        FIELDS.one("X-Twice")


def test_a_list_that_is_handed_out_is_the_callers() -> None:
    FIELDS.all("Empty").append("more")
    assert FIELDS.all("Empty") == [""]
