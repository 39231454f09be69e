"""Upload resources: what their URLs look like, and which of two protocols a request to one speaks."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from penstock.protocol.header_fields import Fields

UPLOADS = "/files"

_ID = re.compile(r"(?:[0-9a-f]{12})?[0-9a-f]{32}")  # the older ones have no time
_PATH = re.compile(rf"(?:/[A-Za-z0-9._~%-]+)*{UPLOADS}/({_ID.pattern})")  # below what a proxy put before it
_VISIBLE = re.compile(r"[!-~]+")
_DRAFT_FIELDS = ("Upload-Draft-Interop-Version", "Upload-Complete", "Upload-Incomplete")
_DRAFT_TYPE = "application/partial-upload"


def is_upload_id(text: str) -> bool:
    """Whether an upload may be called that: a time and 128 random bits in lower-case hex."""
    return _ID.fullmatch(text) is not None


def is_draft(fields: Fields) -> bool:
    """Whether a request speaks draft-ietf-httpbis-resumable-upload, also beside tus; else it is tus alone."""
    return any(name in fields for name in _DRAFT_FIELDS) or media_type(fields) == _DRAFT_TYPE


def media_type(fields: Fields) -> str:
    """The request's Content-Type without its parameters, in lower case; "" where there is none."""
    return ",".join(fields.all("Content-Type")).partition(";")[0].strip().lower()


def upload_id_in(url: str, answers_for: Callable[[str], bool]) -> str | None:
    """The upload that a URL names, absolute or relative; None if it is none of ours.

    `answers_for` is asked about the authority (host, maybe with port) of a URL that has one. Nothing of the
    URL but the id is ever used.
    """
    if not _VISIBLE.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        path = urljoin(f"{UPLOADS}/", parts.path)
    except ValueError:
        return None
    if parts.scheme not in ("", "http", "https") or parts.query or parts.fragment:
        return None
    if (parts.scheme or parts.netloc) and not answers_for(parts.netloc):
        return None
    found = _PATH.fullmatch(path)
    return found[1] if found else None
