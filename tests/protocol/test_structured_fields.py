"""Structured fields: of the wanted type, or None."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.structured_fields import parse_boolean, parse_dictionary, parse_integer


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("0", 0),
        ("-0", 0),
        ("-5", -5),
        ("  7  ", 7),
        ("007", 7),
        ("5;a", 5),
        ("5; a=1;b=?0", 5),
        ("9" * 15, 10**15 - 1),
        ("1" + "0" * 15, None),
        ("5.0", None),
        ("5.", None),
        ("+5", None),
        ("5,", None),
        ("5, 5", None),
        ("5 5", None),
        ("(5)", None),
        ('"5"', None),
        ("?1", None),
        ("five", None),
        ("٥", None),
        ("5\ud800", None),
        ("@5", None),
        ("", None),
        ("5;A", None),
        ("5;", None),
    ],
)
def test_integers(value: str, wanted: int | None) -> None:
    assert parse_integer(value) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("?1", True),
        ("?0", False),
        (" ?1;x=1", True),
        ("1", None),
        ("true", None),
        ("?2", None),
        ("?", None),
        ("?1, ?1", None),
        ("", None),
    ],
)
def test_booleans(value: str, wanted: bool | None) -> None:
    assert parse_boolean(value) is wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", {}),
        ("a=1", {"a": 1}),
        ("a=1;p=2 ,\t b", {"a": 1, "b": True}),
        ("a=:AQI=:, b=:AQI:", {"a": b"\x01\x02", "b": b"\x01\x02"}),
        ("a=1, a=2", {"a": 2}),
        ("a=1,", None),
        ("A=1", None),
        ("a = 1", None),
        ("a=:A:", None),
        ("a=:AQI", None),
    ],
)
def test_dictionaries(value: str, wanted: dict[str, object] | None) -> None:
    assert parse_dictionary(value) == wanted


def test_a_list_in_a_dictionary_is_none_of_our_types() -> None:
    found = parse_dictionary("a=(1 2);x")
    assert found is not None
    assert not isinstance(found["a"], int | bytes | bool)


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from('0123456789?:;,=()"@%-. abc*'))))
def test_any_text_is_a_value_or_none(value: str) -> None:
    integer, boolean, dictionary = parse_integer(value), parse_boolean(value), parse_dictionary(value)
    assert integer is None or -(10**15) < integer < 10**15
    assert boolean in (None, True, False)
    assert dictionary is None or all(isinstance(key, str) for key in dictionary)


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_every_integer_comes_through(value: int) -> None:
    assert parse_integer(str(value)) == value
