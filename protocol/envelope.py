"""The JSON envelope of the plain WebSocket: what clients may send, and how answers look.

Parsing has two steps, so that the refusal of a readable envelope can name the message it refuses:
`parse_message`, then `parse_request`. How events look is in `pushes.py`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from penstock.protocol.commands import COMMANDS, Command, Since, parse_command
from penstock.protocol.decoding import convert, decode
from penstock.protocol.errors import GatewayError, InvalidMessage, TopicNotFound, UnsupportedProtocol
from penstock.protocol.names import check_file_id, check_session_reference

PROTOCOL = "1.0"

MessageId = Annotated[str, Meta(min_length=1, max_length=128)]


class MessageType(StrEnum):
    """Besides these, clients send commands: their names are types, too."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    ERROR = "error"
    HEARTBEAT = "heartbeat"
    NOTIFICATION = "notification"
    STATUS = "status"
    DATA = "data"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    ACK = "ack"


FROM_SERVER = frozenset({MessageType.ERROR, MessageType.NOTIFICATION, MessageType.STATUS, MessageType.DATA})


# What the server sends


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One frame. `timestamp` is in milliseconds since 1970."""

    type: MessageType
    data: object
    timestamp: int
    message_id: str
    sequence: int | UnsetType = UNSET


class Connected(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to connecting. `server_time` in milliseconds since 1970, the others in seconds."""

    client_id: str
    server_time: int
    protocol: str
    heartbeat_interval: float
    heartbeat_timeout: float


class Disconnecting(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Sent just before the close frame, which not every client library shows to its user."""

    code: int
    reason: str
    reconnect: bool


class ErrorData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`message_id` is that of the message that was refused, if it could be read."""

    code: int
    name: str
    message: str
    details: dict[str, Any] | UnsetType = UNSET
    message_id: str | UnsetType = UNSET


_encoder = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


def error_data(error: GatewayError, message_id: str | None = None) -> ErrorData:
    return ErrorData(
        code=error.wire.envelope,
        name=error.wire.code,
        message=error.message,
        details=error.details or UNSET,
        message_id=message_id or UNSET,
    )


# What clients send


class Incoming(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A frame whose envelope is right; other fields are ignored. The answer names the `message_id`."""

    type: str
    data: object = None
    timestamp: float | None = None
    message_id: MessageId | None = None


class Topic(NamedTuple):
    """What can be subscribed to: a session, or one of its files; `session` may be a watch key."""

    session: str
    file_id: str | None = None

    def __str__(self) -> str:
        if self.file_id is None:
            return f"session:{self.session}"
        return f"file:{self.session}/{self.file_id}"


class Connect(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The parameters of a connection, from its URL or in a first message."""

    token: Annotated[str, Meta(max_length=8192)] = ""
    client_id: str | None = None
    protocol: str = PROTOCOL

    def __post_init__(self) -> None:
        if self.protocol != PROTOCOL:
            raise UnsupportedProtocol(
                f"protocol: {self.protocol[:20]!r} is not spoken here, {PROTOCOL} is",
                details={"supported": [PROTOCOL]},
            )
        if self.client_id is not None:
            check_file_id(self.client_id, "clientId")


class Disconnect(NamedTuple): ...


class Heartbeat(NamedTuple): ...


class Acked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    message_id: MessageId


class Subscribe(NamedTuple):
    topic: Topic
    since: Since | None = None
    ack: bool = False  # the client acknowledges what is important


class Unsubscribe(NamedTuple):
    topic: Topic


Request = Connect | Disconnect | Heartbeat | Acked | Subscribe | Unsubscribe | Command


class _Params(msgspec.Struct, frozen=True):
    since: Since | None = None
    ack: bool = False


class _OnTopic(msgspec.Struct, frozen=True):
    topic: str
    params: _Params = _Params()


def parse_message(text: str | bytes) -> Incoming:
    """The envelope of a text frame. Raises: InvalidMessage naming the field."""
    return decode(text, Incoming, field="message")


def parse_request(message: Incoming) -> Request:
    """What a message asks for.

    Raises: InvalidMessage naming the field, InvalidSession, TopicNotFound, UnsupportedProtocol.
    """
    match message.type:
        case MessageType.HEARTBEAT:
            return Heartbeat()
        case MessageType.DISCONNECT:
            return Disconnect()
        case MessageType.CONNECT:
            return convert({} if message.data is None else message.data, Connect, "data")
        case MessageType.ACK:
            return convert(message.data, Acked, "data")
        case MessageType.SUBSCRIBE:
            wanted = convert(message.data, _OnTopic, "data")
            return Subscribe(parse_topic(wanted.topic), wanted.params.since, wanted.params.ack)
        case MessageType.UNSUBSCRIBE:
            return Unsubscribe(parse_topic(convert(message.data, _OnTopic, "data").topic))
    if message.type in COMMANDS:
        return parse_command(message.type, message.data)
    if message.type in FROM_SERVER:
        raise InvalidMessage(f"type: {message.type!r} is only ever sent by the server")
    known = [kind.value for kind in MessageType if kind not in FROM_SERVER]
    raise InvalidMessage(f"type: {message.type[:40]!r} is not one of {', '.join([*known, *COMMANDS])}")


def parse_topic(text: str) -> Topic:
    """Raises: TopicNotFound, InvalidSession, InvalidMessage."""
    kind, _, rest = text.partition(":")
    match kind:
        case "session":
            return Topic(check_session_reference(rest, "topic"))
        case "file":
            reference, _, file_id = rest.partition("/")
            return Topic(check_session_reference(reference, "topic"), check_file_id(file_id, "topic"))
        case "app":
            raise TopicNotFound("topic: app: topics are not available yet")
    raise TopicNotFound(
        f"topic: {text[:40]!r} is not known; there are session:<sessionId or watchKey> "
        "and file:<sessionId or watchKey>/<fileId>"
    )
