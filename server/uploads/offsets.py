"""Where a file stands, asked from outside: what an asker may stop to get a true answer."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

import trio

from penstock.protocol.errors import UploadCancelled
from penstock.protocol.lifecycle import State
from penstock.server.uploads.admission import is_held, locked
from penstock.server.uploads.append import Append, StopReason
from penstock.server.uploads.facts import public_status, upload_path
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.recovery import Recovery
from penstock.server.uploads.session import LiveSession


class Manner(Enum):
    """How an asker treats those who write."""

    PEEK = auto()  # stops nobody: the durable offset, and whether somebody writes
    POLITE = auto()  # ends held requests and a writer that is stuck; a healthy one is left alone
    FORCE = auto()  # stops whoever writes


class OffsetReport(NamedTuple):
    """`offset` is durable: a resume point, unless `busy`. Times are Unix seconds."""

    offset: int
    length: int | None
    status: str
    attempt: int
    busy: bool
    complete: bool  # finished and in its place, or a partial that has all its bytes
    expires_at: float | None  # None once it has ended
    upload_metadata: str | None  # tus: the header its client sent
    upload_concat: str | None  # tus: "partial", or "final;…" as it came
    final_offset: int | None  # where the append that completed it began
    digest: str | None  # of the whole file, where it was asked for: "sha-256=:…:"
    upload_path: str | None  # of the finished file


async def report(session: LiveSession, file: LiveFile, manner: Manner, recovery: Recovery) -> OffsetReport:
    """The file's offset. Raises: UploadLocked (POLITE: a healthy writer is at work; any: finishing, or the
    stopped one does not let go in time), UploadCancelled; StoreError. Cancel-safe."""
    await recovery.touch(session, file)
    if manner is not Manner.PEEK:
        await _clear(session, file, manner)
    row = file.row
    if row.state is State.CANCELLED or row.removed:
        raise UploadCancelled("the upload was cancelled; register the file again")
    if row.state is State.FINISHING:
        raise locked(session, file)
    return OffsetReport(
        offset=file.durable,
        length=row.file_size,
        status=public_status(row.state),
        attempt=row.attempt,
        busy=file.append is not None,
        complete=row.state is State.COMPLETED or (row.is_partial and file.durable == row.file_size),
        expires_at=None if file.ended else session.row.active_at + session.settings.retention_s,
        upload_metadata=row.upload_metadata,
        upload_concat=row.upload_concat,
        final_offset=row.final_offset,
        digest=row.digest,
        upload_path=upload_path(session.row.category, row.stored_name)
        if row.state is State.COMPLETED and row.stored_name
        else None,
    )


async def _clear(session: LiveSession, file: LiveFile, manner: Manner) -> None:
    if manner is Manner.POLITE and not is_held(session, file):
        with trio.move_on_after(session.settings.takeover_probe_s):
            while file.held and file.append is None:  # one is just being let in: its bytes are on their way
                await session.changed.park()
    for visit in list(file.held):
        visit.stop(StopReason.SUPERSEDED)
    writer = file.append
    if writer is None:
        return
    if manner is Manner.POLITE and not await _is_stuck(writer):
        raise locked(session, file)
    writer.stop(StopReason.SUPERSEDED)
    with trio.move_on_after(session.settings.lease_wait_s) as waiting:
        await writer.done.wait()
    if waiting.cancelled_caught:
        raise locked(session, file)


async def _is_stuck(writer: Append) -> bool:
    """Paused, silent for a while, or without a byte in a short probe."""
    settings = writer.session.settings
    if writer.paused or writer.idle_s >= settings.takeover_idle_s:
        return True
    seen_at = writer.last_byte_at
    with trio.move_on_after(settings.takeover_probe_s):
        await writer.done.wait()
    return writer.done.is_set() or (writer.last_byte_at == seen_at and not writer.settling)
