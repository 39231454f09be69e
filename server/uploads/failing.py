"""How files break off and fail: the two ways that `upload-failed` is told."""

from __future__ import annotations

from functools import partial

from penstock.protocol.errors import GatewayError
from penstock.protocol.lifecycle import Input, State
from penstock.server.uploads import facts
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.session import LiveSession


async def fail_file(
    session: LiveSession, file: LiveFile, error: GatewayError, *, resumable: bool = False
) -> None:
    """End a file as failed for good: committed, then told. Raises: StoreError.

    `resumable`: it only ran out of retries, an append at the exact offset goes on.
    """
    session.move(file, Input.FAILS)
    file.row.error_code, file.row.error_message = error.wire.code, error.message
    file.row.resumable_after_failure = resumable
    await _tell(session, file, error, can_retry=False)


async def break_off(
    session: LiveSession, file: LiveFile, error: GatewayError, *, added_bytes: int, retry_limit: bool
) -> None:
    """An append broke off: retrying, or failed when it is past the retry limit. Raises: StoreError.

    Retries are counted as breaks in a row that added no byte. A file that has no byte yet, or is paused, just
    stays what it is.
    """
    row = file.row
    session.move(file, Input.BROKE_OFF)
    row.broke_off = row.state in (State.RETRYING, State.PAUSED)
    if row.state is not State.RETRYING:
        await session.record([file])
        return
    row.retry_count = 0 if added_bytes else row.retry_count + 1
    if retry_limit and row.retry_count > session.settings.max_retries:
        await fail_file(session, file, error, resumable=True)
        return
    row.error_code, row.error_message = error.wire.code, error.message
    await _tell(session, file, error, can_retry=True)


async def _tell(session: LiveSession, file: LiveFile, error: GatewayError, *, can_retry: bool) -> None:
    if file.row.is_partial:  # known to nobody but its client
        await session.record([file], hard=not can_retry)
        return
    max_retries = session.settings.max_retries
    maker = partial(facts.failed, file, error, can_retry=can_retry, max_retries=max_retries)
    await session.record([file], [maker], hard=not can_retry)
