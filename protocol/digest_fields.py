"""`Content-Digest`, `Repr-Digest` and `Want-Repr-Digest` (RFC 9530): structured dictionaries."""

from __future__ import annotations

import base64
from typing import NamedTuple

from penstock.protocol.errors import InvalidMessage
from penstock.protocol.structured_fields import parse_dictionary

# What is computed here, strongest first. Others are ignored, as RFC 9530 §2 allows.
DIGEST_BYTES = {"sha-512": 64, "sha-256": 32}


class FieldDigest(NamedTuple):
    """One digest of a field, of an algorithm that is computed here."""

    algorithm: str  # as RFC 9530 names it
    value: bytes

    def __str__(self) -> str:
        """As a member of a digest field."""
        return f"{self.algorithm}=:{base64.b64encode(self.value).decode('ascii')}:"


def parse_digest_field(value: str, name: str) -> dict[str, bytes]:
    """Digests by algorithm, unknown ones included.

    Raises: InvalidMessage. RFC 9651 §4.2 leaves the choice between ignoring a malformed field and refusing
    the message; who sends a digest wants it checked.
    """
    found: dict[str, bytes] = {}
    for algorithm, digest in (parse_dictionary(value) or {}).items():
        if not isinstance(digest, bytes):
            break
        expected = DIGEST_BYTES.get(algorithm, len(digest))
        if len(digest) != expected:
            raise InvalidMessage(f"{name}: {algorithm} has {expected} bytes, not {len(digest)}")
        found[algorithm] = digest
    else:
        if found:
            return found
    raise InvalidMessage(f"{name}: sha-256=:…: is expected, the digest in base64 between colons")


def strongest(value: str, name: str) -> FieldDigest | None:
    """Of a digest field, the one that is checked; None if all its algorithms are unknown here.

    Raises: InvalidMessage.
    """
    digests = parse_digest_field(value, name)
    known = (algorithm for algorithm in DIGEST_BYTES if algorithm in digests)
    return next((FieldDigest(algorithm, digests[algorithm]) for algorithm in known), None)


def most_wanted(value: str) -> str | None:
    """The algorithm a `Want-…-Digest` field prefers among ours; None if it wants none of them.

    A malformed field is a wish nobody can read: it is ignored.
    """
    wishes = parse_dictionary(value) or {}
    weights = {algorithm: wishes.get(algorithm) for algorithm in DIGEST_BYTES}
    rated = {name: weight for name, weight in weights.items() if type(weight) is int and 0 < weight <= 10}
    return max(rated, key=rated.__getitem__) if rated else None
