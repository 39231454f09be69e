"""How sessions and files look to those who ask: snapshots by page, one file, the latest progress."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import UNSET

from penstock.protocol.events import ErrorInfo
from penstock.protocol.lifecycle import State
from penstock.protocol.snapshot import FileView, PageCursor, Snapshot, fill_page
from penstock.protocol.times import iso
from penstock.server.uploads.actor import Role
from penstock.server.uploads.facts import public_status, upload_path
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.session import LiveSession


def upload_url(session_id: str, file_id: str) -> str:
    """Where a file's bytes are put, relative to the server."""
    return f"/api/upload/sessions/{session_id}/files/{file_id}"


def tus_url(upload_id: str) -> str:
    """Where a file is an upload resource (tus, the IETF draft), relative to the server."""
    return f"/files/{upload_id}"


def file_view(session: LiveSession, file: LiveFile, role: Role) -> FileView:
    row = file.row
    stored = row.state is State.COMPLETED and row.stored_name and not row.removed
    error = ErrorInfo(row.error_code, row.error_message or "") if row.error_code else UNSET
    view = FileView(
        file_id=row.file_id,
        file_name=row.file_name,
        file_size=row.file_size,
        file_type=row.file_type,
        status=public_status(row.state),
        can_retry=row.state is State.RETRYING,
        progress=file.percent(),
        uploaded_bytes=file.arrived_bytes,
        durable_bytes=file.durable,
        attempt=row.attempt,
        upload_path=upload_path(session.row.category, row.stored_name or "") if stored else UNSET,
        error=error,
        client_progress=UNSET if file.client_progress is None else file.client_progress,
        digest=row.digest or UNSET,
    )
    if role is Role.WATCHER:
        return view
    upload = upload_url(session.session_id, row.file_id)
    return msgspec.structs.replace(view, upload_url=upload, tus_url=tus_url(row.upload_id))


def snapshot(session: LiveSession, role: Role, page: PageCursor) -> Snapshot:
    """One page of a session, as of its newest fact. Watchers see neither its id nor its metadata."""
    now = session.now()
    row = session.row
    writer = role is Role.WRITER
    metadata_bytes = len(msgspec.json.encode(row.metadata)) if writer else 0
    views = ((cursor, file_view(session, file, role)) for cursor, file in _from(session, page))
    files, cursor = fill_page(views, metadata_bytes)
    return Snapshot(
        session_id=row.session_id if writer else row.watch_key,
        watch_key=row.watch_key,
        category=row.category,
        overall_status=session.overall_status(now).value,
        total_progress=session.total_percent(now),
        completed_files=session.tally.completed,
        failed_files=session.tally.failed_for_good(lapsed=session.lapsed(now)),
        paused=row.latch,
        open=row.open,
        files=files,
        files_total=session.tally.total,
        cursor=cursor,
        seq=session.ring.seq,
        epoch=session.epoch,
        created_at=iso(row.created_at),
        expires_at=iso(row.active_at + session.settings.retention_s),
        metadata=row.metadata if writer else UNSET,
    )


def _from(session: LiveSession, page: PageCursor) -> Iterator[tuple[PageCursor, LiveFile]]:
    """Unfinished files first, each group in order of registration, from the cursor on."""
    for ended in (False, True):
        if page.ended and not ended:
            continue
        after = page.after if page.ended == ended else -1
        for file in session.files.values():
            if file.ended is ended and file.row.position > after:
                yield PageCursor(ended, file.row.position), file
