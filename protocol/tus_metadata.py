"""`Upload-Metadata` of tus 1.0.0: what a client says about the file beside its bytes.

The header is kept as it came and echoed; here it is only read. Strict: what is malformed is refused, so that
no client believes something was understood that was not.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import NamedTuple

from penstock.protocol.errors import InvalidMessage
from penstock.protocol.names import check_file_id, check_file_name, check_session_reference

MAX_KEYS = 100  # as many as a form may have fields

_FIELD = "Upload-Metadata"
_KEY = re.compile(r"[!-+\--~]+")  # visible ASCII but the comma
_MEANT = ("filename", "name", "filetype", "type", "sessionId", "fileId", "category")


class Described(NamedTuple):
    """What the keys say that mean something here; "" and None where they are absent or empty."""

    file_name: str = ""
    file_type: str = ""
    session_id: str | None = None
    file_id: str | None = None
    category: str | None = None
    texts: Mapping[str, str] = {}  # all other values that are text


def parse_metadata(value: str, max_bytes: int) -> dict[str, bytes]:
    """Values by key, in their order. Raises: InvalidMessage."""
    if len(value) > max_bytes:
        raise InvalidMessage(f"{_FIELD}: at most {max_bytes} bytes are allowed")
    pairs = value.split(",") if value else []
    if len(pairs) > MAX_KEYS:
        raise InvalidMessage(f"{_FIELD}: at most {MAX_KEYS} keys are allowed")
    found: dict[str, bytes] = {}
    for pair in pairs:
        key, _, encoded = pair.strip(" \t").partition(" ")
        if not _KEY.fullmatch(key):
            raise InvalidMessage(
                f"{_FIELD}: pairs of a key and base64 are expected, 'filename bW92aWUubXA0,other eA=='; "
                "a key is visible ASCII"
            )
        if key in found:
            raise InvalidMessage(f"{_FIELD}: the key {key} came twice")
        found[key] = _decoded(key, encoded)
    return found


def _decoded(key: str, encoded: str) -> bytes:
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:  # binascii's own error, and other characters than ASCII
        raise InvalidMessage(
            f"{_FIELD}: the value of {key} is not base64 (RFC 4648 §4, with padding)"
        ) from None


def describe(values: Mapping[str, bytes]) -> Described:
    """What is meant by the keys that clients use. Raises: InvalidMessage, InvalidSession."""
    meant = {key: _text(key, values[key]) for key in _MEANT if key in values}
    name_key = "filename" if meant.get("filename") else "name"
    name = meant.get(name_key, "")
    session_id, file_id = meant.get("sessionId"), meant.get("fileId")
    return Described(
        file_name=check_file_name(name, f"{_FIELD}: {name_key}") if name else "",
        file_type=meant.get("filetype") or meant.get("type") or "",
        session_id=check_session_reference(session_id, f"{_FIELD}: sessionId") if session_id else None,
        file_id=check_file_id(file_id, f"{_FIELD}: fileId") if file_id else None,
        category=meant.get("category") or None,
        texts=dict(_others(values)),
    )


def _text(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidMessage(f"{_FIELD}: the value of {key} is not text in UTF-8") from None


def _others(values: Mapping[str, bytes]) -> list[tuple[str, str]]:
    texts = []
    for key, value in values.items():
        try:
            text = value.decode()
        except UnicodeDecodeError:
            continue  # nothing of ours; it is echoed with the header
        if key not in _MEANT:
            texts.append((key, text))
    return texts
