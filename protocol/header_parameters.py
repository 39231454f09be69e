"""What follows the first `;` of a header field (RFC 9110 §5.6.6), and a Content-Disposition's file name."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_PARAMETER = re.compile(
    r""";\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"(?=\s*(?:;|$))|[^;]*)""", re.ASCII
)
_ESCAPED = re.compile(r'\\(["\\])')
_CHARSETS = ("utf-8", "iso-8859-1")


def parse_parameters(value: str) -> dict[str, str]:
    """Names in lower case; of repeated ones the first. Quotes are off, escapes still in.

    Values have one character for each byte, see `decoded`.
    """
    found: dict[str, str] = {}
    for name, text in _PARAMETER.findall(value):
        text = text.strip()
        if len(text) >= 2 and text[0] == text[-1] == '"':
            text = text[1:-1]
        found.setdefault(name.lower(), text)
    return found


def file_name(disposition: str) -> str:
    """What a Content-Disposition calls the file, as its client wrote it; "" if it does not. RFC 6266 §4.3."""
    parameters = parse_parameters(disposition)
    extended = parse_extended(parameters.get("filename*", ""))
    return unescaped(decoded(parameters.get("filename", ""))) if extended is None else extended


def parse_extended(value: str) -> str | None:
    """A parameter's value in the form of RFC 8187 §3.2.1, None if it is not one."""
    charset, _, rest = value.partition("'")
    _, found, escaped = rest.partition("'")
    if not found or charset.lower() not in _CHARSETS:
        return None
    try:
        return unquote_to_bytes(escaped).decode(charset)
    except UnicodeError:
        return None


def decoded(text: str) -> str:
    """Text of one character for each byte, as the UTF-8 that clients send in it."""
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "replace")


def unescaped(text: str) -> str:
    """The inside of a quoted string without its backslashes (RFC 9110 §5.6.4)."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text
