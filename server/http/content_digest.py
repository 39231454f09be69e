"""`Content-Digest` (RFC 9530) as the digest an append verifies."""

from __future__ import annotations

from penstock.protocol.digest_fields import strongest
from penstock.server.uploads.digests import Digest


def content_digest(value: str | None) -> Digest | None:
    """Of a request's body; None where none is sent, or of no algorithm known here. Raises: InvalidMessage."""
    found = None if value is None else strongest(value, "Content-Digest")
    return found and Digest(found.algorithm.replace("-", ""), found.value)  # by hashlib's name
