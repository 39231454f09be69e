"""Queries, refusals and the open packet."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.engineio.handshake import (
    MAX_PARAMETERS,
    Refusal,
    Refused,
    Timing,
    Transport,
    open_frame,
    read_query,
)


def refusal_of(query: bytes, method: str = "GET", *, upgrades: bool = False) -> Refusal | None:
    """None: it may open a session."""
    try:
        read_query(query).check_handshake(method, upgrades=upgrades)
    except Refused as refused:
        return refused.refusal
    return None


def test_what_a_query_says() -> None:
    query = read_query(b"EIO=4&transport=polling&sid=abc&b64=1&t=x&name=%E4%BD%A0&name=b+c&empty=")
    assert query.transport is Transport.POLLING
    assert (query.sid, query.version, query.only_text) == ("abc", "4", True)
    assert query.values["name"] == "b c"  # the last of them
    assert query.values["empty"] == ""


@pytest.mark.parametrize("b64", [b"", b"&b64=0", b"&b64=true", b"&b64="])
def test_only_one_value_asks_for_text_alone(b64: bytes) -> None:
    assert not read_query(b"transport=polling" + b64).only_text


@pytest.mark.parametrize(
    ("query", "method", "upgrades", "refusal"),
    [
        (b"EIO=4&transport=polling", "GET", False, None),
        (b"EIO=4&transport=websocket", "GET", True, None),
        (b"", "GET", False, Refusal.UNKNOWN_TRANSPORT),
        (b"EIO=4&transport=webtransport", "GET", False, Refusal.UNKNOWN_TRANSPORT),
        (b"EIO=4&transport=POLLING", "GET", False, Refusal.UNKNOWN_TRANSPORT),
        (b"EIO=4&transport=polling", "POST", False, Refusal.BAD_METHOD),
        (b"EIO=3&transport=polling", "HEAD", False, Refusal.BAD_METHOD),
        (b"EIO=4&transport=websocket", "GET", False, Refusal.BAD_REQUEST),
        (b"EIO=4&transport=polling", "GET", True, Refusal.BAD_REQUEST),
        (b"EIO=3&transport=websocket", "GET", False, Refusal.BAD_REQUEST),
        (b"transport=polling", "GET", False, Refusal.UNSUPPORTED_VERSION),
        (b"EIO=3&transport=polling", "GET", False, Refusal.UNSUPPORTED_VERSION),
        (b"EIO=%34&transport=polling", "GET", False, None),
        (b"EIO=04&transport=polling", "GET", False, Refusal.UNSUPPORTED_VERSION),
    ],
)
def test_who_may_open_a_session(query: bytes, method: str, upgrades: bool, refusal: Refusal | None) -> None:
    assert refusal_of(query, method, upgrades=upgrades) is refusal


def test_a_query_has_its_limit() -> None:
    fits = b"&".join(b"p%d=" % number for number in range(MAX_PARAMETERS - 2))
    assert refusal_of(b"EIO=4&transport=polling&" + fits) is None
    assert refusal_of(b"EIO=4&transport=polling&more=&" + fits) is Refusal.BAD_REQUEST


@pytest.mark.parametrize("refusal", Refusal)
def test_a_refusal_is_told_in_json(refusal: Refusal) -> None:
    told = json.loads(refusal.body)
    assert told.keys() == {"code", "message"}
    assert (told["code"], told["message"], refusal.status) == refusal.value


@pytest.mark.parametrize(
    ("transport", "upgrades"), [(Transport.POLLING, ["websocket"]), (Transport.WEBSOCKET, [])]
)
def test_the_open_packet(transport: Transport, upgrades: list[str]) -> None:
    frame = open_frame("the-sid", transport, Timing(0.3, 0.2), 1_000_000)
    assert frame[0] == "0"
    assert json.loads(frame[1:]) == {
        "sid": "the-sid",
        "upgrades": upgrades,
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1_000_000,
    }


@given(st.binary())
def test_any_query_is_read_or_refused(query: bytes) -> None:
    refusal_of(query)
