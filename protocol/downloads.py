"""How a finished file is handed out: its name and its type, made harmless, and whether a browser shows it."""

from __future__ import annotations

import mimetypes
import re
from urllib.parse import quote

OCTET_STREAM = "application/octet-stream"

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NOT_PLAIN = re.compile(r'[^\x20-\x7e]|["%]')  # % and quotes are read in different ways, RFC 6266 appendix D
_ATTR_CHARS = "!#$&+-.^_`|~"  # RFC 8187 §3.2.1, besides letters and digits
_KNOWN = mimetypes.MimeTypes()  # Python's own list: the same on every system


def media_type(declared: str, name: str) -> str:
    """The declared type without its parameters if it is one, else what the name's extension says."""
    bare = declared.partition(";")[0].strip().lower()
    if _TYPE.fullmatch(bare):
        return bare
    guess, encoding = _KNOWN.guess_type(f"x.{name.rpartition('.')[2]}" if "." in name else "x")
    return guess if guess and not encoding else OCTET_STREAM


def is_shown(kind: str) -> bool:
    """Whether a browser may show it in place: types that cannot carry a script."""
    if kind == "image/svg+xml":
        return False
    return kind.startswith(("image/", "audio/", "video/")) or kind in ("text/plain", "application/pdf")


def content_disposition(name: str, *, shown: bool) -> str:
    """RFC 6266: the name once in plain ASCII for old clients, and, where that loses something, in full."""
    clean = _UNSAFE.sub("_", name)
    if clean in (".", ".."):  # a directory to whoever stores it by this name
        clean = "_" * len(clean)
    plain = _NOT_PLAIN.sub("_", clean)
    value = f'{"inline" if shown else "attachment"}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(clean, safe=_ATTR_CHARS)}"
