"""The heads of multipart/form-data (RFC 7578) as values: the boundary, and what a part says it is.

As lenient as the many clients need: names in UTF-8, quoted as browsers do it (`%22`, `%0D`, `%0A`, WHATWG
HTML §4.10.21.8) or with backslashes as RFC 9110 §5.6.4 has it, and `filename*` (RFC 8187), which RFC 7578
forbids and some clients send.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from penstock.protocol.errors import InvalidMessage, UnsupportedFormat
from penstock.protocol.header_parameters import decoded, parse_extended, parse_parameters, unescaped

_BOUNDARY = re.compile(r"[ -~]{0,69}[!-~]")  # RFC 2046 §5.1.1, in any printable ASCII
_BROWSERS = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))
_IDENTITY = ("", "7bit", "8bit", "binary")


class PartHead(NamedTuple):
    """What stands before a part's content."""

    name: str  # of the form's field
    filename: str | None = None  # None: a field and no file; "": a file input nobody has chosen a file for
    content_type: str = ""
    transfer_encoding: str = ""


def is_form(content_type: str) -> bool:
    """Whether a request of this Content-Type brings a multipart form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def parse_boundary(content_type: str) -> bytes:
    """The boundary a request's Content-Type names.

    Raises: UnsupportedFormat for another media type; InvalidMessage.
    """
    if not is_form(content_type):
        raise UnsupportedFormat(
            "Content-Type: multipart/form-data is expected here (curl -F file=@movie.mp4); "
            "plain bytes are PUT to the uploadUrl of a session's file"
        )
    boundary = parse_parameters(content_type).get("boundary")
    if boundary is None:
        raise InvalidMessage("Content-Type: the boundary is missing; leave the header to your HTTP client")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidMessage("Content-Type: the boundary must be 1 to 70 printable ASCII characters")
    return boundary.encode("ascii")


def parse_part_head(headers: Iterable[tuple[str, str]]) -> PartHead:
    """A part's head from its header lines: names in Title-Case, values with one character for each byte.

    Raises: InvalidMessage when it does not say which field it is.
    """
    came = list(headers)
    if any("\n" in name or "\n" in value for name, value in came):
        # Whether the parser minds depends on how the body was cut into segments; we do where we see it.
        raise InvalidMessage("a part of the form has a line break within a line of its head")
    lines = dict(came)  # of repeated ones the last
    kind, *_ = disposition = lines.get("Content-Disposition", "").partition(";")
    if kind.strip().lower() != "form-data":
        raise InvalidMessage("a part of the form has no Content-Disposition: form-data")
    parameters = parse_parameters("".join(disposition))
    name = parameters.get("name")
    if name is None:
        raise InvalidMessage("a part of the form has no name in its Content-Disposition")
    extended = parse_extended(parameters["filename*"]) if "filename*" in parameters else None
    filename = parameters.get("filename") if extended is None else extended
    return PartHead(
        _unescaped(name),
        filename if filename is None or extended is not None else _unescaped(filename),
        decoded(lines.get("Content-Type", "")).strip(),
        lines.get("Content-Transfer-Encoding", "").strip().lower(),
    )


def check_storable(head: PartHead) -> None:
    """Raises: InvalidMessage for a part whose content would have to be unpacked first."""
    if head.transfer_encoding not in _IDENTITY:
        raise InvalidMessage(
            "Content-Transfer-Encoding: parts are stored as they come; send the bytes themselves (binary)"
        )


def check_field(head: PartHead) -> None:
    """Raises: InvalidMessage for a part without a file name that is not a plain field."""
    check_storable(head)
    if head.content_type.lower().startswith("multipart/"):
        raise InvalidMessage(
            f"{head.name[:40]}: parts within a part (multipart/mixed) are not taken; "
            "send each file as a part of its own, RFC 7578 §4.3"
        )


def _unescaped(text: str) -> str:
    text = unescaped(decoded(text))
    if "%" in text:
        for escape, char in _BROWSERS:
            text = text.replace(escape, char)
    return text
