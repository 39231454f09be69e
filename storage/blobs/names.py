"""Which names a blob store takes: of our own making only, so that none is ever a path or a client's text."""

from __future__ import annotations

import re

_KEY = re.compile(r"[0-9a-f][0-9a-f.]{0,127}")
_CATEGORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# What `protocol.names.safe_name` leaves of a client's name, in any script, behind a beginning of our own.
_NAME = re.compile(r"[A-Za-z0-9][\w.()+,=@-]*")
_NAME_BYTES = 255  # of one path component, on every file system we know


def is_key(text: str) -> bool:
    """Whether an incoming blob may be called so."""
    return _KEY.fullmatch(text) is not None


def is_category(text: str) -> bool:
    """Whether a category may be called so."""
    return _CATEGORY.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a published blob may be called so."""
    length = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    return length <= _NAME_BYTES and _NAME.fullmatch(text) is not None


def checked_key(key: str) -> str:
    """The key itself. Raises: ValueError."""
    if not is_key(key):
        raise ValueError(f"not a blob key: {key!r}")
    return key


def checked_place(category: str, name: str) -> tuple[str, str]:
    """The place itself. Raises: ValueError."""
    if not is_category(category):
        raise ValueError(f"not a category: {category!r}")
    if not is_name(name):
        raise ValueError(f"not a name for a published blob: {name!r}")
    return category, name
