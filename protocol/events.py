"""What the server tells its watchers: typed events, the same on every wire.

A *fact* has its own `seq` and is never lost or merged; *progress* repeats the last `seq` and only the
newest counts. Pause and resume are facts that look like progress (`fact: true`). What may be missing is
UNSET.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType


class ErrorInfo(msgspec.Struct, frozen=True, rename="camel"):
    code: str
    message: str
    details: dict[str, Any] | UnsetType = UNSET  # Any: msgspec cannot decode a recursive alias


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Common to all; `NAME` is its name on Socket.IO and in the envelope's `event`."""

    NAME: ClassVar[str]

    session_id: str
    seq: int
    epoch: str


class UploadStarted(Event, frozen=True, kw_only=True):
    NAME: ClassVar[str] = "upload-started"

    file_id: str
    file_name: str
    file_size: int
    start_time: str
    attempt: int


class UploadCompleted(Event, frozen=True, kw_only=True):
    NAME: ClassVar[str] = "upload-completed"

    file_id: str
    file_name: str
    file_size: int
    upload_path: str
    end_time: str
    duration: float
    final_speed: float
    attempt: int
    digest: str | UnsetType = UNSET


class UploadFailed(Event, frozen=True, kw_only=True):
    NAME: ClassVar[str] = "upload-failed"

    file_id: str
    file_name: str
    error: ErrorInfo
    failed_at: str
    can_retry: bool
    retry_count: int
    max_retries: int
    attempt: int


class UploadCancelled(Event, frozen=True, kw_only=True):
    NAME: ClassVar[str] = "upload-cancelled"

    file_id: str
    reason: str
    cancelled_at: str
    uploaded_bytes: int
    attempt: int


class Summary(msgspec.Struct, frozen=True, rename="camel"):
    total_files: int
    completed_files: int
    failed_files: int
    cancelled_files: int
    total_size: int
    uploaded_size: int
    average_speed: float
    total_time: float


class SessionCompleted(Event, frozen=True, kw_only=True):
    NAME: ClassVar[str] = "session-completed"

    summary: Summary
    end_time: str
    upload_paths: list[str]
    upload_paths_total: int
    cursor: str | None = None  # of the snapshot page that lists the rest


class SessionError(Event, frozen=True, kw_only=True):
    NAME: ClassVar[str] = "session-error"

    error: ErrorInfo
    action: Literal["stop", "pause", "continue"]
    affected_files: list[str]
    timestamp: str


class CurrentFile(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    original_name: str
    progress: float
    status: str
    upload_speed: float
    error_message: str | UnsetType = UNSET


class UploadProgress(Event, frozen=True, kw_only=True):
    """One file's numbers and the session's, in one shape. Sizes in bytes, speed in bytes/s."""

    NAME: ClassVar[str] = "upload-progress"

    file_id: str | None
    progress: float
    speed: float
    uploaded_bytes: int
    total_bytes: int
    estimated_time_remaining: float
    timestamp: str
    overall_status: str
    total_progress: float
    completed_files: int
    failed_files: int
    current_file: CurrentFile | UnsetType = UNSET
    message: str
    durable_bytes: int
    attempt: int
    fact: bool | UnsetType = UNSET


class ConnectionStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """About the connection and no session: after connect, after join, and when the server drains."""

    NAME: ClassVar[str] = "connection-status"

    status: Literal["connected", "disconnected", "reconnecting", "error"]
    message: str | UnsetType = UNSET
    retry_count: int | UnsetType = UNSET
    max_retries: int | UnsetType = UNSET


SESSION_EVENTS: tuple[type[Event], ...] = (
    UploadStarted,
    UploadCompleted,
    UploadFailed,
    UploadCancelled,
    SessionCompleted,
    SessionError,
    UploadProgress,
)
_BY_NAME = {event.NAME: event for event in SESSION_EVENTS}

_encoder = msgspec.json.Encoder()
_pairs = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]])


def pack(events: tuple[Event, ...]) -> bytes:
    """Events of one fact as they are stored: `[[name, payload], …]`."""
    return _encoder.encode([(event.NAME, event) for event in events])


def unpack(payload: bytes) -> tuple[Event, ...]:
    """The reverse of `pack`; fields of a newer version are ignored."""
    return tuple(msgspec.json.decode(raw, type=_BY_NAME[name]) for name, raw in _pairs.decode(payload))
