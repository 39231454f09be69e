"""The draft's problem types (draft-ietf-httpbis-resumable-upload, Problem Types) as extras of ours."""

from __future__ import annotations

from penstock.protocol.errors import (
    JSON,
    GatewayError,
    InconsistentLength,
    OffsetMismatch,
    UploadAlreadyCompleted,
)

REGISTRY = "https://iana.org/assignments/http-problem-types#"

_TYPES: dict[type[GatewayError], tuple[str, str]] = {
    OffsetMismatch: ("mismatching-upload-offset", "Mismatching Upload Offset"),
    UploadAlreadyCompleted: ("completed-upload", "Upload Is Completed"),
    InconsistentLength: ("inconsistent-upload-length", "Inconsistent Upload Length Values"),
}


def problem_members(error: GatewayError, provided_offset: int | None) -> dict[str, JSON]:
    """What the draft adds to an error's problem, or says instead. Empty for errors it has no type for."""
    if type(error) not in _TYPES:
        return {}
    name, title = _TYPES[type(error)]
    members: dict[str, JSON] = {"type": REGISTRY + name, "title": title}
    if isinstance(error, OffsetMismatch):
        members |= {"expected-offset": error.offset, "provided-offset": provided_offset}
    return members
