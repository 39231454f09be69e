"""Conditional requests (RFC 9110 §13): whether the client's copy, or its idea of the file, still holds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import NamedTuple, Protocol

_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


class Outcome(Enum):
    GO_ON = auto()
    NOT_MODIFIED = auto()  # 304
    FAILED = auto()  # 412


class Headers(Protocol):
    """A request's, by name; whatever the case."""

    def get(self, name: str, /) -> str | None: ...


class Validators(NamedTuple):
    """What identifies the state of a resource: its entity tag with quotes, and its last change in whole
    Unix seconds."""

    etag: str
    modified_at: int | None = None


def evaluate(headers: Headers, current: Validators) -> Outcome:
    """In the order of §13.2.2, for GET and HEAD of something that exists. Malformed dates are ignored."""
    if (wanted := headers.get("If-Match")) is not None:
        if not _strong_match(wanted, current.etag):
            return Outcome.FAILED
    elif _modified_since(headers.get("If-Unmodified-Since"), current):
        return Outcome.FAILED
    if (known := headers.get("If-None-Match")) is not None:
        return Outcome.NOT_MODIFIED if weak_match(known, current.etag) else Outcome.GO_ON
    unmodified = _modified_since(headers.get("If-Modified-Since"), current) is False
    return Outcome.NOT_MODIFIED if unmodified else Outcome.GO_ON


def range_holds(if_range: str | None, current: Validators) -> bool:
    """Whether `Range` counts (§13.1.5): only if what the client has a part of is exactly what is here."""
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == current.etag and not current.etag.startswith("W/")
    return current.modified_at is not None and _unix_s(if_range) == current.modified_at


def weak_match(field: str, etag: str) -> bool:
    """`If-None-Match`: any of the tags, or `*` (§13.1.2)."""
    return field.strip() == "*" or _opaque(etag) in {found[1] for found in _ETAG.findall(field)}


def _strong_match(field: str, etag: str) -> bool:
    if field.strip() == "*":
        return True
    return ("", _opaque(etag)) in _ETAG.findall(field) and not etag.startswith("W/")


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/")[1:-1]


def _modified_since(date: str | None, current: Validators) -> bool | None:
    since = _unix_s(date) if date is not None else None
    return None if since is None or current.modified_at is None else current.modified_at > since


def _unix_s(date: str) -> int | None:
    try:
        moment: datetime = parsedate_to_datetime(date)
    except (ValueError, IndexError, OverflowError):  # the last where a number is beyond a C long
        return None
    if moment.tzinfo is None:  # "-0000", or none: UTC by RFC 9110 §5.6.7
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())
