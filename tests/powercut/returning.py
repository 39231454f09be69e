"""Clients that come back after a crash: they ask how far they are, and send the rest."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from penstock.protocol.commands import UploadResume
from penstock.protocol.errors import GatewayError
from penstock.protocol.lifecycle import ENDED, State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.admission import Claim
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.resources import NewUpload
from penstock.storage.state.base import FileRow
from tests.powercut.clients import final_of
from tests.powercut.contents import content
from tests.server.uploads.rig import whole_body


async def resume(gateway: Gateway, session_id: str) -> None:
    """Lift every pause."""
    with suppress(GatewayError):  # all of it has ended
        await gateway.command(ANYBODY, UploadResume(session_id=session_id))


async def finish(gateway: Gateway, row: FileRow, others: Iterable[FileRow]) -> bool:
    """Send what is missing. False if there is nothing to be done: it is gone, or a partial is that it needs.

    Raises: GatewayError when it is refused.
    """
    if row.state in (State.CANCELLED, State.COMPLETED):
        return False
    if row.state is State.FAILED and not row.resumable_after_failure:
        return not (row.is_partial or row.is_final) and await _send_all(gateway, row)
    if row.is_final:
        return await _put_together(gateway, row, others)
    return await _send_rest(gateway, row)


async def _send_rest(gateway: Gateway, row: FileRow) -> bool:
    report = await gateway.offset(ANYBODY, row.session_id, row.file_id, Manner.PEEK)
    if not report.complete:
        data = content(row.file_name, report.attempt)
        rest = data[report.offset :]
        claim = Claim(report.offset, len(rest), length=len(data), clips=row.is_partial)
        await _append(gateway, row, claim, rest)
    return True


async def _send_all(gateway: Gateway, row: FileRow) -> bool:
    data = content(row.file_name, row.attempt + 1)
    await _append(gateway, row, Claim(None, len(data), ends_file=True), data)
    return True


async def _append(gateway: Gateway, row: FileRow, claim: Claim, data: bytes) -> None:
    async with gateway.append(ANYBODY, row.session_id, row.file_id, claim) as transfer:
        await transfer.pump(whole_body(data))


async def _put_together(gateway: Gateway, row: FileRow, others: Iterable[FileRow]) -> bool:
    """The same request again finds the same file."""
    ids = [url.rpartition("/")[2] for url in (row.upload_concat or "").split(" ")]
    if any(other.state in ENDED for other in others if other.upload_id in ids):
        return False
    wanted = NewUpload(file_name=row.file_name)
    made = await gateway.concatenation.run(ANYBODY, wanted, final_of(ids), ids)
    assert made.place.upload_id == row.upload_id
    return True
