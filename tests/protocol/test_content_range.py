"""`Content-Range` of requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.content_range import ContentRange, parse_content_range
from penstock.protocol.errors import InvalidMessage


@pytest.mark.parametrize(
    ("value", "first", "last", "total"),
    [
        ("bytes 0-0/1", 0, 0, 1),
        ("bytes 5-9/10", 5, 9, 10),
        ("Bytes 5-9/*", 5, 9, None),
        (" bytes 007-9/10 ", 7, 9, 10),
        (f"bytes 0-{2**63 - 2}/{2**63 - 1}", 0, 2**63 - 2, 2**63 - 1),
    ],
)
def test_well_formed(value: str, first: int, last: int, total: int | None) -> None:
    found = parse_content_range(value)
    assert found == ContentRange(first, last, total)
    assert found.length == last - first + 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes */10",
        "bytes 0-",
        "bytes -5/10",
        "bytes 0-1",
        "bytes=0-1/2",
        "lines 0-1/2",
        "bytes 0-1/2 x",
        "bytes  0-1/2",
        "bytes 0 - 1/2",
        "bytes +0-1/2",
        "bytes 0x0-1/2",
        "bytes 0-1/-",
        "bytes ٣-٤/٩",
        "bytes 1-0/2",
        "bytes 0-2/2",
        "bytes 0-1/0",
        f"bytes 0-{2**63}/*",
        "bytes 0-1/2,bytes 0-1/2",
        "bytes 0-1/2\n3",
        "bytes 1_0-1_1/20",
    ],
)
def test_malformed(value: str) -> None:
    with pytest.raises(InvalidMessage, match="Content-Range"):
        parse_content_range(value)


@given(st.text())
def test_any_text_is_a_range_or_refused(value: str) -> None:
    try:
        found = parse_content_range(value)
    except InvalidMessage:
        return
    assert 0 <= found.first <= found.last


@given(st.integers(0, 2**62), st.integers(1, 2**61), st.integers(0, 2**61))
def test_round_trip(first: int, length: int, rest: int) -> None:
    last = first + length - 1
    total = last + 1 + rest
    if total < 2**63:
        assert parse_content_range(f"bytes {first}-{last}/{total}") == (first, last, total)
