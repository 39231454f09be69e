"""The envelope: whatever a client sends is a request or a refusal that names the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.protocol.close_codes import CloseCode
from penstock.protocol.commands import COMMANDS, JoinSession, Since, UploadPause
from penstock.protocol.envelope import (
    FROM_SERVER,
    Acked,
    Connect,
    Disconnect,
    Heartbeat,
    Incoming,
    Message,
    MessageType,
    Subscribe,
    Topic,
    Unsubscribe,
    encode,
    error_data,
    parse_message,
    parse_request,
    parse_topic,
)
from penstock.protocol.errors import (
    GatewayError,
    InvalidMessage,
    InvalidSession,
    RateLimitExceeded,
    TopicNotFound,
    UnsupportedProtocol,
    UploadLocked,
)

SID = "550e8400-e29b-41d4-a716-446655440000"
KEY = "w_" + "0123456789abcdef" * 2 + "01234567"

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
types = st.sampled_from([*MessageType, *COMMANDS])
fields = st.sampled_from(
    ["topic", "params", "since", "sessionId", "fileId", "messageId", "token", "clientId", "protocol", "seq"]
)
known = st.sampled_from([SID, KEY, f"session:{SID}", f"file:{KEY}/f", "app:x", "1.0", "f1"])
near_misses = st.fixed_dictionaries(
    {"type": types},
    optional={
        "data": st.dictionaries(fields, values | known) | values | known,
        "timestamp": values,
        "messageId": values,
        "sequence": values,
    },
)


def parse(text: str) -> object:
    return parse_request(parse_message(text))


def ask(kind: str, data: object = None) -> object:
    return parse_request(Incoming(type=kind, data=data))


def refusal(kind: str, data: object = None) -> str:
    with pytest.raises(InvalidMessage) as caught:
        ask(kind, data)
    return caught.value.message


# The promise: a request, or a GatewayError


def refused(text: str | bytes, *, whole: bool = True) -> GatewayError | None:
    """The refusal, if there is one; anything else that is raised fails the test."""
    try:
        message = parse_message(text)
        if whole:
            parse_request(message)
    except GatewayError as error:
        return error
    return None


@given(st.text() | st.binary())
@example("")
@example("[" * 100_000)
@example('{"type":"heartbeat","messageId":"\\ud800"}')
@example('{"type":"heartbeat","timestamp":1e999}')
def test_any_text_or_bytes_is_a_message_or_invalid(text: str | bytes) -> None:
    error = refused(text, whole=False)
    assert error is None or (isinstance(error, InvalidMessage) and error.message)


@given(values)
def test_any_json_is_a_message_or_invalid(value: object) -> None:
    error = refused(msgspec.json.encode(value), whole=False)
    assert error is None or ": " in error.message, "it names a field"


@given(near_misses)
def test_any_near_miss_is_a_request_or_a_refusal(value: dict[str, Any]) -> None:
    error = refused(msgspec.json.encode(value))
    if error is not None:
        assert isinstance(error, InvalidMessage | InvalidSession | TopicNotFound | UnsupportedProtocol)
        assert len(error.message) < 1000, "a refusal does not repeat all that was sent"
        encode(Message(type=MessageType.ERROR, data=error_data(error), timestamp=0, message_id="x"))


# What is understood


def test_heartbeat_needs_no_data() -> None:
    assert parse('{"type":"heartbeat","timestamp":1643673600000}') == Heartbeat()
    assert parse('{"type":"heartbeat","data":{"any":1},"timestamp":1.5,"extra":true}') == Heartbeat()


def test_message_id_is_kept() -> None:
    assert parse_message('{"type":"x","messageId":"m1"}').message_id == "m1"
    assert parse_message('{"type":"x"}').message_id is None
    with pytest.raises(InvalidMessage, match=r"^messageId: "):
        parse_message('{"type":"x","messageId":""}')


def test_connect() -> None:
    assert ask("connect") == Connect()
    wanted = Connect(token="t", client_id="client_123", protocol="1.0")
    assert ask("connect", {"token": "t", "clientId": "client_123", "protocol": "1.0"}) == wanted
    with pytest.raises(UnsupportedProtocol) as caught:
        ask("connect", {"protocol": "2.0"})
    assert caught.value.details == {"supported": ["1.0"]}
    assert refusal("connect", {"clientId": "no blanks"}).startswith("clientId: ")
    assert refusal("connect", []).startswith("data: ")


def test_disconnect_and_ack() -> None:
    assert ask("disconnect") == Disconnect()
    assert ask("ack", {"messageId": "m1"}) == Acked(message_id="m1")
    assert refusal("ack", {}).startswith("data: ")


def test_subscribe() -> None:
    topic = f"session:{SID}"
    assert ask("subscribe", {"topic": topic}) == Subscribe(Topic(SID))
    since = {"epoch": "e", "seq": 7}
    assert ask("subscribe", {"topic": topic, "params": {"since": since}}) == Subscribe(
        Topic(SID), Since("e", 7)
    )
    assert ask("subscribe", {"topic": topic, "params": {"orderId": "ORDER_123"}}) == Subscribe(Topic(SID))
    assert ask("subscribe", {"topic": topic, "params": {"ack": True}}) == Subscribe(Topic(SID), ack=True)
    assert ask("unsubscribe", {"topic": topic}) == Unsubscribe(Topic(SID))
    assert refusal("subscribe", {"topic": topic, "params": {"since": {"epoch": "e", "seq": -1}}}).startswith(
        "params.since.seq: "
    )


def test_commands_are_types() -> None:
    assert ask("upload-pause", {"sessionId": SID, "fileId": "f"}) == UploadPause(session_id=SID, file_id="f")
    assert ask("join-session", KEY) == JoinSession(session_id=KEY)


@pytest.mark.parametrize("kind", sorted(FROM_SERVER))
def test_what_only_the_server_says_is_refused(kind: str) -> None:
    assert refusal(kind, {}).startswith("type: ")


def test_an_unknown_type_is_told_the_known_ones() -> None:
    message = refusal("upload-paus")
    assert message.startswith("type: ")
    assert "upload-pause" in message
    assert "notification" not in message


# Topics


@pytest.mark.parametrize("text", [f"session:{SID}", f"session:{KEY}", f"file:{SID}/a.b-c_1", f"file:{KEY}/f"])
def test_topics_there_and_back(text: str) -> None:
    assert str(parse_topic(text)) == text


def test_a_session_id_is_the_same_in_capitals() -> None:
    assert parse_topic(f"session:{SID.upper()}") == Topic(SID)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", TopicNotFound),
        ("order_updates", TopicNotFound),
        (SID, TopicNotFound),
        ("app:orders", TopicNotFound),
        ("session:", InvalidSession),
        ("session:x", InvalidSession),
        (f"session:{SID}/f", InvalidSession),
        (f"file:{SID}", InvalidMessage),
        (f"file:{SID}/", InvalidMessage),
        (f"file:{SID}/a/b", InvalidMessage),
        ("file:x/f", InvalidSession),
    ],
)
def test_topics_that_are_not(text: str, error: type[GatewayError]) -> None:
    with pytest.raises(error, match=r"^topic: "):
        parse_topic(text)


# What the server says


def test_message_on_the_wire() -> None:
    message = Message(type=MessageType.HEARTBEAT, data={}, timestamp=7, message_id="m")
    assert encode(message) == b'{"type":"heartbeat","data":{},"timestamp":7,"messageId":"m"}'
    assert msgspec.json.decode(encode(msgspec.structs.replace(message, sequence=3)))["sequence"] == 3


def test_error_on_the_wire() -> None:
    error = RateLimitExceeded("slower", details={"retryAfter": 0.5})
    assert msgspec.to_builtins(error_data(error, "m1")) == {
        "code": 2002,
        "name": "RATE_LIMIT_EXCEEDED",
        "message": "slower",
        "details": {"retryAfter": 0.5},
        "messageId": "m1",
    }
    assert msgspec.to_builtins(error_data(UploadLocked("busy"))) == {
        "code": 3002,
        "name": "UPLOAD_LOCKED",
        "message": "busy",
    }


def test_close_codes_may_be_sent_and_carry_their_advice() -> None:
    for code in CloseCode:
        assert code in (1000, 1011) or 4000 <= code <= 4999, "RFC 6455 §7.4 keeps the others for itself"
        assert code.come_back is (code == 1011 or 4000 <= code < 4500)
