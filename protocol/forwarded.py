"""How a client reached us, as the proxies in between tell it: `Forwarded` (RFC 7239) and `X-Forwarded-*`.

Only to be asked for requests that come from a proxy we trust. What is malformed says nothing: clients can
send these fields too, and not every proxy removes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from penstock.protocol.header_fields import Fields

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PIECE = re.compile(
    rf"""[ \t]*(?:(?P<name>{_TOKEN})=(?:(?P<token>{_TOKEN})|"(?P<quoted>(?:[^"\\]|\\.)*)"))?"""
    r"[ \t]*(?P<end>[;,]|\Z)"
)
_NODE = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::[0-9A-Za-z._-]+)?")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")  # no segment begins with a dot: none is . or ..
_MAX_PREFIX = 200


class Front(NamedTuple):
    """Where the client thinks we are; None and "" where nobody said."""

    scheme: str | None = None
    host: str | None = None  # maybe with a port
    prefix: str = ""  # what a proxy took off the path: begins with a slash, does not end with one


def seen_by_client(fields: Fields, is_trusted: Callable[[str], bool]) -> Front:
    """What the proxies say of a request whose sender is one we trust; `is_trusted` is asked about an address.

    A proxy that knows one family of fields lets the other pass as the client sent it: where both came, only
    what both say alike counts.
    """
    prefix = _prefix(_last(fields, "X-Forwarded-Prefix"))
    standard, common = _standard(fields, is_trusted), _common(fields)
    if standard is None or common is None:
        scheme, host = standard or common or (None, None)
    else:
        scheme, host = (one if one == other else None for one, other in zip(standard, common, strict=True))
    return Front(scheme, host, prefix)


_Said = tuple[str | None, str | None]  # scheme and host


def _standard(fields: Fields, is_trusted: Callable[[str], bool]) -> _Said | None:
    if "Forwarded" not in fields:
        return None
    scheme = host = None
    for element in reversed(parse_forwarded(", ".join(fields.all("Forwarded")))):
        scheme = _scheme(element.get("proto")) or scheme
        host = _host(element.get("host")) or host
        if not is_trusted(_address(element.get("for", ""))):
            break  # what stands before this one was said by somebody we do not know
    return scheme, host


def _common(fields: Fields) -> _Said | None:
    names = ("X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-For")
    if not any(name in fields for name in names):
        return None
    return _scheme(_last(fields, names[0])), _host(_last(fields, names[1]))


def _last(fields: Fields, name: str) -> str:
    """The nearest proxy's own word: each adds its at the end."""
    return ",".join(fields.all(name)).rpartition(",")[2].strip()


def parse_forwarded(value: str) -> list[dict[str, str]]:
    """The elements of a `Forwarded` field, the nearest proxy's last; none at all of a malformed one."""
    elements: list[dict[str, str]] = [{}]
    at = 0
    while found := _PIECE.match(value, at):
        if found["name"]:
            name, quoted = found["name"].lower(), found["quoted"]
            if name in elements[-1]:
                return []
            elements[-1][name] = found["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if not found["end"]:
            return elements
        if found["end"] == ",":
            elements.append({})
        at = found.end()
    return []


def _address(node: str) -> str:
    """The address in a node identifier (RFC 7239 §6); "" for `unknown` and for made-up names."""
    found = _NODE.fullmatch(node)
    return (found["v4"] or found["v6"]) if found else ""


def _scheme(value: str | None) -> str | None:
    return value.lower() if value is not None and value.lower() in ("http", "https") else None


def _host(value: str | None) -> str | None:
    return value.lower() if value is not None and _HOST.fullmatch(value) else None


def _prefix(value: str) -> str:
    path = value.rstrip("/")
    return path if len(path) <= _MAX_PREFIX and _PREFIX.fullmatch(path) else ""
