"""`Range` of a download (RFC 9110 §14.2): which bytes are wanted."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_RANGES = 16  # a player or a download tool asks for one, a PDF viewer for a few

_SPEC = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")


class Span(NamedTuple):
    """Bytes from `start` up to, but not including, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start

    def content_range(self, size: int) -> str:
        """The `Content-Range` of an answer that carries this span."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


class Unsatisfiable(Exception):
    """None of the ranges lies in the file: 416."""


def parse_range(value: str, size: int) -> list[Span] | None:
    """The spans wanted of a file of `size` bytes; None: serve all of it.

    A header that is malformed, or asks for more ranges or bytes than make sense, may be ignored (§14.2), and
    is: the whole file is the cheapest answer to it. So is one for an empty file, which no 206 can describe.
    Raises: Unsatisfiable.
    """
    unit, _, text = value.partition("=")
    specs = [spec.strip(" \t") for spec in text.split(",")]
    if unit.strip().lower() != "bytes" or not size or len(specs) > MAX_RANGES:
        return None
    spans: list[Span] = []
    for spec in filter(None, specs):  # empty list elements are to be accepted, §5.6.1.2
        found = _SPEC.fullmatch(spec)
        if found is None or not any(found.groups()) or _is_backwards(found[1], found[2]):
            return None
        spans.append(_span(found[1], found[2], size))
    spans_inside = [span for span in spans if span.length > 0]
    if not spans:
        return None
    if not spans_inside:
        raise Unsatisfiable
    return spans_inside if sum(span.length for span in spans_inside) <= size else None


def _is_backwards(first: str, last: str) -> bool:
    return bool(first and last) and int(last) < int(first)


def _span(first: str, last: str, size: int) -> Span:
    if not first:
        return Span(max(size - int(last), 0), size)
    return Span(min(int(first), size), min(int(last) + 1, size) if last else size)
