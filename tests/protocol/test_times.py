"""Times on the wire."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.times import file_stamp, iso

YEAR_1, YEAR_10000 = -62_135_596_800, 253_402_300_800
instants = st.floats(YEAR_1, YEAR_10000, exclude_max=True)


@pytest.mark.parametrize(
    ("unix_s", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1768473000, "2026-01-15T10:30:00.000Z"),
        (1768473000.57, "2026-01-15T10:30:00.570Z"),  # as a float a little less than that
        (1768473000.9994, "2026-01-15T10:30:00.999Z"),
        (1768473000.9999, "2026-01-15T10:30:00.999Z"),  # cut; never 1000 ms, never the next second
        (-0.0001, "1969-12-31T23:59:59.999Z"),
        (YEAR_1, "0001-01-01T00:00:00.000Z"),
        (-60_000_000_000, "0068-09-03T13:20:00.000Z"),
        (YEAR_10000 - 1, "9999-12-31T23:59:59.000Z"),
        (YEAR_10000, "9999-12-31T23:59:59.000Z"),
        (1e300, "9999-12-31T23:59:59.000Z"),
        (float("inf"), "9999-12-31T23:59:59.000Z"),
    ],
)
def test_iso(unix_s: float, text: str) -> None:
    assert iso(unix_s) == text


@given(instants)
def test_the_text_is_the_instant_down_to_the_millisecond(unix_s: float) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", iso(unix_s))
    lost_s = unix_s - datetime.fromisoformat(iso(unix_s)).timestamp()
    assert -0.00001 < lost_s < 0.0011 or unix_s > YEAR_10000 - 1


@given(instants, instants)
def test_the_order_of_texts_is_the_order_of_instants(one: float, other: float) -> None:
    earlier, later = sorted((one, other))
    assert iso(earlier) <= iso(later)


def test_a_file_stamp_is_the_same_instant_in_safe_characters() -> None:
    assert file_stamp(1768473000.25) == "2026-01-15T10-30-00_250Z"


@given(instants)
def test_a_file_stamp_has_always_24_harmless_characters(unix_s: float) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d_\d{3}Z", file_stamp(unix_s))


def test_it_is_utc() -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert iso(noon.timestamp()) == "2026-07-01T12:00:00.000Z"
