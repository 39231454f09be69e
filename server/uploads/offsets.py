"""Where a file stands, asked from outside: what an asker may stop to get a true answer."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

import trio

from penstock.protocol.errors import UploadCancelled
from penstock.protocol.lifecycle import State
from penstock.server.uploads.admission import locked
from penstock.server.uploads.append import Append, StopReason
from penstock.server.uploads.facts import public_status
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.recovery import Recovery
from penstock.server.uploads.session import LiveSession


class Manner(Enum):
    """How an asker treats those who write."""

    PEEK = auto()  # stops nobody: the durable offset, and whether somebody writes
    POLITE = auto()  # ends held requests and a writer that is stuck; a healthy one is left alone
    FORCE = auto()  # stops whoever writes


class OffsetReport(NamedTuple):
    """`offset` is durable: a resume point, unless `busy`."""

    offset: int
    length: int | None
    status: str
    attempt: int
    busy: bool


async def report(session: LiveSession, file: LiveFile, manner: Manner, recovery: Recovery) -> OffsetReport:
    """The file's offset. Raises: UploadLocked (POLITE: a healthy writer is at work; any: finishing, or the
    stopped one does not let go in time), UploadCancelled; StoreError. Cancel-safe."""
    await recovery.touch(session, file)
    if manner is not Manner.PEEK:
        await _clear(session, file, manner)
    if file.row.state is State.CANCELLED:
        raise UploadCancelled("the upload was cancelled; register the file again")
    if file.row.state is State.FINISHING:
        raise locked(session, file)
    return OffsetReport(
        offset=file.durable,
        length=file.row.file_size,
        status=public_status(file.row.state),
        attempt=file.row.attempt,
        busy=file.append is not None,
    )


async def _clear(session: LiveSession, file: LiveFile, manner: Manner) -> None:
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
