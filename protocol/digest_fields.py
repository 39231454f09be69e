"""`Content-Digest` and its relatives (RFC 9530): a structured dictionary of byte sequences (RFC 9651)."""

from __future__ import annotations

import binascii
import re

from penstock.protocol.errors import InvalidMessage

_KEY = r"[a-z*][a-z0-9_.*-]*"
# Parameters mean nothing in these fields and are passed over.
_MEMBER = re.compile(rf"({_KEY})=:([A-Za-z0-9+/=]*):(?:; *{_KEY}(?:=[^,;]*)?)*")
_BYTES = {"sha-256": 32, "sha-512": 64}


def parse_digest_field(value: str, name: str) -> dict[str, bytes]:
    """Digests by algorithm, unknown ones included.

    Raises: InvalidMessage. RFC 9651 §4.2 leaves the choice between ignoring a malformed field and refusing
    the message; who sends a digest wants it checked.
    """
    found: dict[str, bytes] = {}
    for member in value.split(","):
        match = _MEMBER.fullmatch(member.strip(" \t"))
        if match is None:
            raise InvalidMessage(f"{name}: sha-256=:…: is expected, the digest in base64 between colons")
        found[match[1]] = _decoded(match[1], match[2], name)
    return found


def _decoded(algorithm: str, text: str, name: str) -> bytes:
    try:
        digest = binascii.a2b_base64(
            text + "=" * (-len(text) % 4), strict_mode=True
        )  # padding may be missing
    except binascii.Error:
        raise InvalidMessage(f"{name}: {algorithm} is not valid base64") from None
    if len(digest) != _BYTES.get(algorithm, len(digest)):
        raise InvalidMessage(f"{name}: {algorithm} has {_BYTES[algorithm]} bytes, not {len(digest)}")
    return digest
