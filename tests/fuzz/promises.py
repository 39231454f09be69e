"""What every target's check is made of: bytes as the parsers get them, and what holds of every refusal."""

from __future__ import annotations

import re

import msgspec

from penstock.protocol.envelope import Message, MessageType, encode, error_data
from penstock.protocol.errors import GatewayError, problem
from penstock.protocol.header_fields import Fields

HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]*")  # RFC 9110 §5.5: what cannot end a header line
MAX_REFUSAL_BYTES = 16 * 1024  # one may quote a key of Upload-Metadata, which has 4 KiB, escaped
_VARIABLE = re.compile(r"'.*?'|`.*?`|[0-9]+")


def header_text(data: bytes) -> str:
    """A header's value as the edge hands it on: one character for each byte."""
    return data.decode("latin-1")


def header_fields(data: bytes) -> Fields:
    """Lines of `Name: value`, as many as there are; no line ends in the values, as on the wire."""
    lines = (line.partition(":") for line in header_text(data).split("\n"))
    return Fields((name.strip(), value.strip(" \t\r")) for name, _, value in lines)


def refused(error: GatewayError) -> str:
    """The answer's name. A refusal is short, and can be told: over HTTP, in its headers, in a frame."""
    assert len(msgspec.json.encode(problem(error))) <= MAX_REFUSAL_BYTES, "a refusal grows with its input"
    assert all(HEADER_VALUE.fullmatch(value) for value in error.headers.values()), error.headers
    frame = Message(type=MessageType.ERROR, data=error_data(error), timestamp=0, message_id="m")
    assert len(encode(frame)) <= MAX_REFUSAL_BYTES
    return f"{type(error).__name__} {_VARIABLE.sub('', error.message)[:60]}"
