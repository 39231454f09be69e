"""`Idempotency-Key`: a creation that is repeated gets the first answer, and creates nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
import trio

from penstock.protocol.errors import IdempotencyKeyReused, InvalidMessage
from penstock.storage.state.base import AnswerRow, SaveAnswer, StateStore

MAX_KEY_BYTES = 255


class IdempotencyKey(NamedTuple):
    """The header's value with what it is compared by."""

    scope: str  # subject, method and path
    key: str
    fingerprint: str  # of the request


def remembered(key: IdempotencyKey | None, session_id: str, answer: object, now: float) -> list[SaveAnswer]:
    """The change that lets a repetition find this answer to a creation; none without a key."""
    if key is None:
        return []
    row = AnswerRow(
        scope=key.scope,
        key=key.key,
        fingerprint=key.fingerprint,
        session_id=session_id,
        status=201,
        body=msgspec.json.encode(answer),
        created_at=now,
    )
    return [SaveAnswer(row)]


class Answers:
    """First answers by key; a repetition waits while the first is still at work."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._busy: dict[tuple[str, str], trio.Event] = {}

    @asynccontextmanager
    async def claim(self, wanted: IdempotencyKey | None) -> AsyncIterator[AnswerRow | None]:
        """Enter to find the first answer, or None: then give it in this block.

        Raises: InvalidMessage; IdempotencyKeyReused when the key came with another request; StoreError.
        """
        if wanted is None:
            yield None
            return
        if not 0 < len(wanted.key) <= MAX_KEY_BYTES:
            raise InvalidMessage(f"Idempotency-Key: 1 to {MAX_KEY_BYTES} characters are allowed")
        name = (wanted.scope, wanted.key)
        while (busy := self._busy.get(name)) is not None:
            await busy.wait()
        done = self._busy[name] = trio.Event()
        try:
            answer = await self._store.find_answer(*name)
            if answer is not None and answer.fingerprint != wanted.fingerprint:
                raise IdempotencyKeyReused("Idempotency-Key: was used with another request; use a new key")
            yield answer
        finally:
            del self._busy[name]
            done.set()
