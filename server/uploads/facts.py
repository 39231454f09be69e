"""The events a session tells, built from its files: one function an event."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import quote

from msgspec import UNSET

from penstock.protocol.errors import GatewayError
from penstock.protocol.events import (
    CurrentFile,
    ErrorInfo,
    SessionCompleted,
    SessionError,
    Summary,
    UploadCancelled,
    UploadCompleted,
    UploadFailed,
    UploadProgress,
    UploadStarted,
)
from penstock.protocol.lifecycle import State
from penstock.protocol.messages import message_text
from penstock.protocol.progress import time_left_s
from penstock.protocol.times import iso

if TYPE_CHECKING:
    from penstock.server.uploads.file import LiveFile
    from penstock.server.uploads.session import LiveSession

MAX_PATHS_BYTES = 32 * 1024


class Stamp(NamedTuple):
    """What makes an event one of a session's: its place in the order, and when (Unix seconds)."""

    session_id: str
    seq: int
    epoch: str
    at: float


def public_status(state: State) -> str:
    """What clients see: retrying is `failed`, with `canRetry: true` beside it."""
    return State.FAILED.value if state is State.RETRYING else state.value


@lru_cache(maxsize=512)  # asked twice for each file of a batch
def upload_path(category: str, stored_name: str) -> str:
    """Where a finished file is downloaded."""
    return f"/upload/{category}/{quote(stored_name)}"


def error_info(error: GatewayError) -> ErrorInfo:
    return ErrorInfo(error.wire.code, error.message, error.details or UNSET)


def started(file: LiveFile, stamp: Stamp) -> UploadStarted:
    row = file.row
    return UploadStarted(
        session_id=stamp.session_id,
        seq=stamp.seq,
        epoch=stamp.epoch,
        file_id=row.file_id,
        file_name=row.file_name,
        file_size=row.file_size or 0,
        start_time=iso(row.started_at or stamp.at),
        attempt=row.attempt,
    )


def completed(file: LiveFile, category: str, stamp: Stamp) -> UploadCompleted:
    row = file.row
    took_s = max(stamp.at - (row.started_at or stamp.at), 0.001)
    return UploadCompleted(
        session_id=stamp.session_id,
        seq=stamp.seq,
        epoch=stamp.epoch,
        file_id=row.file_id,
        file_name=row.file_name,
        file_size=row.file_size or 0,
        upload_path=upload_path(category, row.stored_name or ""),
        end_time=iso(stamp.at),
        duration=round(took_s, 3),
        final_speed=round((row.file_size or 0) / took_s, 1),
        attempt=row.attempt,
        digest=row.digest or UNSET,
    )


def failed(
    file: LiveFile, error: GatewayError, stamp: Stamp, *, can_retry: bool, max_retries: int
) -> UploadFailed:
    row = file.row
    return UploadFailed(
        session_id=stamp.session_id,
        seq=stamp.seq,
        epoch=stamp.epoch,
        file_id=row.file_id,
        file_name=row.file_name,
        error=error_info(error),
        failed_at=iso(stamp.at),
        can_retry=can_retry,
        retry_count=row.retry_count,
        max_retries=max_retries,
        attempt=row.attempt,
    )


def cancelled(file: LiveFile, reason: str, uploaded_bytes: int, stamp: Stamp) -> UploadCancelled:
    return UploadCancelled(
        session_id=stamp.session_id,
        seq=stamp.seq,
        epoch=stamp.epoch,
        file_id=file.row.file_id,
        reason=reason,
        cancelled_at=iso(stamp.at),
        uploaded_bytes=uploaded_bytes,
        attempt=file.row.attempt,
    )


def session_error(
    session: LiveSession, error: GatewayError, action: Literal["stop", "pause", "continue"], stamp: Stamp
) -> SessionError:
    """Names at most 500 of the unfinished files."""
    affected = [file.row.file_id for file in session.files.values() if not file.ended][:500]
    return SessionError(
        session_id=stamp.session_id,
        seq=stamp.seq,
        epoch=stamp.epoch,
        error=error_info(error),
        action=action,
        affected_files=affected,
        timestamp=iso(stamp.at),
    )


def progress(
    session: LiveSession, file: LiveFile, stamp: Stamp, *, fact: bool = False, status: str | None = None
) -> UploadProgress:
    """One file's numbers and its session's. `status` overrides the file's own in `currentFile`."""
    row = file.row
    length = row.file_size
    speed = file.bytes_per_s(stamp.at)
    remaining = None if length is None else max(length - file.arrived_bytes, 0)
    current = CurrentFile(
        id=row.file_id,
        original_name=row.file_name,
        progress=file.percent(),
        status=status or public_status(row.state),
        upload_speed=round(speed, 1),
        error_message=row.error_message or UNSET,
    )
    overall = session.overall_status(stamp.at)
    return UploadProgress(
        session_id=stamp.session_id,
        seq=stamp.seq,
        epoch=stamp.epoch,
        file_id=row.file_id,
        progress=current.progress,
        speed=current.upload_speed,
        uploaded_bytes=file.arrived_bytes,
        total_bytes=length or 0,
        estimated_time_remaining=time_left_s(remaining, speed),
        timestamp=iso(stamp.at),
        overall_status=overall.value,
        total_progress=session.total_percent(stamp.at),
        completed_files=session.tally.completed,
        failed_files=session.tally.failed_for_good(lapsed=session.lapsed(stamp.at)),
        current_file=current,
        message=message_text(overall.value, current, "en"),
        durable_bytes=file.durable,
        attempt=row.attempt,
        fact=True if fact else UNSET,
    )


def session_progress(session: LiveSession, stamp: Stamp, *, fact: bool = False) -> UploadProgress:
    """The session's numbers alone: `fileId` is null."""
    overall = session.overall_status(stamp.at)
    total = session.total_percent(stamp.at)
    ended = session.tally.all_ended(lapsed=session.lapsed(stamp.at))
    return UploadProgress(
        session_id=stamp.session_id,
        seq=stamp.seq,
        epoch=stamp.epoch,
        file_id=None,
        progress=total,
        speed=0.0,
        uploaded_bytes=session.tally.received_bytes,
        total_bytes=session.tally.known_bytes,
        estimated_time_remaining=0.0 if ended else -1.0,
        timestamp=iso(stamp.at),
        overall_status=overall.value,
        total_progress=total,
        completed_files=session.tally.completed,
        failed_files=session.tally.failed_for_good(lapsed=session.lapsed(stamp.at)),
        message=message_text(overall.value, None, "en"),
        durable_bytes=sum(file.durable for file in session.files.values() if file.counts_bytes),
        attempt=1,
        fact=True if fact else UNSET,
    )


def session_completed(session: LiveSession, stamp: Stamp) -> SessionCompleted:
    rows = [file.row for file in session.files.values()]
    done = [row for row in rows if row.state is State.COMPLETED]
    first_start = min((row.started_at for row in rows if row.started_at), default=session.row.created_at)
    took_s = max(stamp.at - first_start, 0.001)
    uploaded_bytes = sum(row.file_size or 0 for row in done)
    paths, cursor = _paths(session.row.category, [(row.position, row.stored_name or "") for row in done])
    return SessionCompleted(
        session_id=stamp.session_id,
        seq=stamp.seq,
        epoch=stamp.epoch,
        summary=Summary(
            total_files=len(rows),
            completed_files=len(done),
            failed_files=session.tally.failed_for_good(lapsed=session.lapsed(stamp.at)),
            cancelled_files=session.tally.cancelled,
            total_size=sum(row.file_size or 0 for row in rows),
            uploaded_size=uploaded_bytes,
            average_speed=round(uploaded_bytes / took_s, 1),
            total_time=round(took_s, 3),
        ),
        end_time=iso(stamp.at),
        upload_paths=paths,
        upload_paths_total=len(done),
        cursor=cursor,
    )


def _paths(category: str, named: list[tuple[int, str]]) -> tuple[list[str], str | None]:
    """Paths that fit, and the snapshot cursor from which the others are listed."""
    paths: list[str] = []
    room = MAX_PATHS_BYTES
    last_position = -1
    for position, name in named:
        path = upload_path(category, name)
        room -= len(path) + 3
        if room < 0:
            return paths, f"e{last_position}" if last_position >= 0 else "e0"
        paths.append(path)
        last_position = position
    return paths, None
