"""Structured fields (RFC 9651) as values of ours: whatever is not of the wanted type is None.

Who calls decides what that means: most fields are then treated as absent (RFC 9651 §4.2).
"""

from __future__ import annotations

from http_sf import StructuredFieldError, parse


def parse_integer(value: str) -> int | None:
    """An Item that is an Integer; its parameters are passed over. Never more than 15 digits."""
    found = _item(value)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def parse_boolean(value: str) -> bool | None:
    """An Item that is a Boolean; its parameters are passed over."""
    found = _item(value)
    return found if isinstance(found, bool) else None


def parse_dictionary(value: str) -> dict[str, object] | None:
    """A Dictionary's members without their parameters, each the last of its name; b"…" is a Byte Sequence."""
    found = _parsed(value, "dictionary")
    return {key: _bare(member) for key, member in found.items()} if isinstance(found, dict) else None


def _item(value: str) -> object:
    return _bare(_parsed(value, "item"))


def _parsed(value: str, kind: str) -> object:
    try:
        return parse(value.encode(errors="backslashreplace"), tltype=kind)
    except StructuredFieldError:
        return None


def _bare(member: object) -> object:
    return member[0] if isinstance(member, tuple) else member
