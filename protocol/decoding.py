"""From a client's JSON to typed values, with errors that name the field."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from penstock.protocol.errors import InvalidMessage

T = TypeVar("T")

_MAX_MESSAGE = 300  # it may quote the client's field names, which can be as long as a message

_AT = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")


def parse_json(data: bytes | str) -> object:
    """Raises: InvalidMessage."""
    try:
        value: object = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidMessage(f"not valid JSON: {error}") from None
    return value


def convert(value: object, wanted: type[T], field: str = "body") -> T:
    """A decoded JSON value as the wanted type. Raises: InvalidMessage naming the field."""
    try:
        return msgspec.convert(value, wanted)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise InvalidMessage(_named(str(error), field)) from None


def decode(data: bytes | str, wanted: type[T], field: str = "body") -> T:
    """JSON text as the wanted type. Raises: InvalidMessage naming the field."""
    return convert(parse_json(data), wanted, field)


def to_builtins(value: Any) -> Any:
    """A struct as plain JSON values, names in camelCase."""
    return msgspec.to_builtins(value)


def _named(message: str, field: str) -> str:
    found = _AT.search(message)
    path = found["path"] if found else ""
    text = message[: found.start()] if found else message
    return f"{path or field}: {text[:1].lower()}{text[1:_MAX_MESSAGE]}"
