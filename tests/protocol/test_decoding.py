"""From JSON to typed values: whatever comes is a value or an `InvalidMessage` that names the field."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from penstock.protocol.decoding import convert, decode, parse_json, to_builtins
from penstock.protocol.errors import InvalidMessage


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=0)]


class Outer(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    inner_one: Inner
    many: list[Inner] = []
    named: dict[str, int] = {}


GOOD = {"innerOne": {"count": 1}}


def refusal(value: object) -> str:
    with pytest.raises(InvalidMessage) as caught:
        convert(value, Outer)
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "body: expected `object`, got `array`"),
        (None, "body: expected `object`, got `null`"),
        ({}, "body: object missing required field `innerOne`"),
        ({**GOOD, "inner_one": 1}, "body: object contains unknown field `inner_one`"),
        ({"innerOne": 1}, "innerOne: expected `object`, got `int`"),
        ({"innerOne": {}}, "innerOne: object missing required field `count`"),
        ({"innerOne": {"count": "1"}}, "innerOne.count: expected `int`, got `str`"),
        ({"innerOne": {"count": -1}}, "innerOne.count: expected `int` >= 0"),
        ({"innerOne": {"count": True}}, "innerOne.count: expected `int`, got `bool`"),
        ({"innerOne": {"count": 1.5}}, "innerOne.count: expected `int`, got `float`"),
        ({**GOOD, "many": [{"count": 1}, {"count": None}]}, "many[1].count: expected `int`, got `null`"),
        ({**GOOD, "named": {"a": "b"}}, "named[...]: expected `int`, got `str`"),
    ],
)
def test_the_message_names_the_field(value: object, message: str) -> None:
    assert refusal(value) == message


def test_what_is_no_field_of_anything_is_called_what_the_caller_calls_it() -> None:
    with pytest.raises(InvalidMessage, match=r"^data: "):
        convert([], Outer, field="data")
    with pytest.raises(InvalidMessage, match=r"^data: "):
        decode("[]", Outer, field="data")


def test_a_good_value() -> None:
    assert decode(b'{"innerOne":{"count":1},"named":{"a":2}}', Outer) == Outer(Inner(1), named={"a": 2})


def test_a_refusal_does_not_repeat_a_long_message() -> None:
    assert len(refusal({**GOOD, "x" * 60_000: 1})) < 400


def test_a_lone_surrogate_in_a_field_name() -> None:
    assert refusal({**GOOD, "\ud800": 1}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"[1",
        b"[1,]",
        b"{1:2}",
        b"nul",
        b"1 2",
        b"'a'",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"9" * 5000,
        b"\xff",
        b'"\xff"',
        b'"\xed\xa0\x80"',  # a surrogate in UTF-8
        b'"\\ud800 and no more"',
        b'"\\udc00\\ud800 turned"',
        b'{"\\ud800 in a name":1}',
        b"\xef\xbb\xbf{}",
        b"\0",
        b'"\x01"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=lambda data: ascii(data[:24]),
)
def test_what_is_not_json_is_said_to_be_that(data: bytes) -> None:
    with pytest.raises(InvalidMessage, match=r"^not valid JSON: ") as caught:
        parse_json(data)
    assert len(caught.value.message.encode()) < 200


def test_text_with_a_lone_surrogate() -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse_json('"\ud800"')
    assert caught.value.message.encode()


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"


@given(st.binary() | st.text(st.characters()))
def test_anything_is_a_value_or_refused(data: bytes | str) -> None:
    try:
        parse_json(data)
    except InvalidMessage as refused:
        refused.message.encode()  # it can be sent


@given(st.binary(max_size=4), st.integers(0, 80))
def test_a_damaged_message_is_a_value_or_refused(junk: bytes, at: int) -> None:
    good = b'{"innerOne":{"count":1},"many":[{"count":2}],"named":{"a":3}}'
    try:
        assert isinstance(decode(good[:at] + junk + good[at + len(junk) :], Outer), Outer)
    except InvalidMessage as refused:
        refused.message.encode()  # it can be sent


def test_to_builtins_speaks_camel_case() -> None:
    assert to_builtins(Outer(Inner(1))) == {"innerOne": {"count": 1}, "many": [], "named": {}}
