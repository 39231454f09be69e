"""`Content-Range` of a request (RFC 9110 §14.4): which bytes of the file the body is."""

from __future__ import annotations

import re
from typing import NamedTuple

from penstock.protocol.errors import InvalidMessage

_NUMBER = r"[0-9]{1,19}"  # as many digits as 2^63 has
_FIELD = re.compile(rf"bytes ({_NUMBER})-({_NUMBER})/({_NUMBER}|\*)", re.IGNORECASE)


class ContentRange(NamedTuple):
    """Bytes `first` to `last`, both included; `total` is None where it was said to be unknown."""

    first: int
    last: int
    total: int | None

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def parse_content_range(value: str) -> ContentRange:
    """Raises: InvalidMessage, also for `bytes */total`: that says nothing about a body."""
    found = _FIELD.fullmatch(value.strip(" \t"))
    if found is None:
        raise InvalidMessage("Content-Range: bytes first-last/total is expected, with * for an unknown total")
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if last < first or (total is not None and last >= total):
        raise InvalidMessage(f"Content-Range: {value.strip()} is no range: first <= last < total must hold")
    if max(last, total or 0) >= 2**63:
        raise InvalidMessage("Content-Range: numbers must be below 2^63")
    return ContentRange(first, last, total)
