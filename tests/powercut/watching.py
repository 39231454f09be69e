"""A watcher that notes what it is told in the very moment it could be told."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from penstock.protocol.events import (
    Event,
    SessionCompleted,
    UploadCancelled,
    UploadCompleted,
    UploadFailed,
    UploadProgress,
)
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.ring import Entry
from penstock.server.uploads.session import LiveSession
from penstock.server.uploads.watch import Wakeup
from tests.powercut.told import Completed, Fact, Lines, Offset

Say = Callable[[Lines], None]


class Listener(Wakeup):
    """Is woken by the gateway as soon as there is something to pull, and does not wait for its turn."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say
        self._session: LiveSession | None = None
        self._seq = 0
        self._samples: dict[str, Entry] = {}

    async def join(self, gateway: Gateway, session_id: str) -> None:
        joined = await gateway.join(ANYBODY, session_id, self)
        self._session, self._seq = joined.watch.session, joined.watch.cursor

    def set(self) -> None:
        super().set()
        if self._session is not None:
            self._note_facts(self._session)
            self._note_samples(self._session)

    def _note_facts(self, session: LiveSession) -> None:
        while (entry := session.ring.get(self._seq + 1)) is not None:
            self._seq = entry.seq
            hard = any(is_hard(event) for event in entry.events)
            crc = zlib.crc32(entry.packed)
            self._say(
                Fact(session_id=session.session_id, epoch=session.epoch, seq=entry.seq, crc=crc, hard=hard)
            )
            for event in entry.events:
                self._note(event)

    def _note_samples(self, session: LiveSession) -> None:
        for file_id, file in session.files.items():
            if file.sample is not None and self._samples.get(file_id) is not file.sample:
                self._samples[file_id] = file.sample
                self._note(file.sample.events[0])

    def _note(self, event: Event) -> None:
        if isinstance(event, UploadProgress) and event.file_id is not None:
            key = {"session_id": event.session_id, "file_id": event.file_id}
            self._say(Offset(**key, attempt=event.attempt, offset=event.durable_bytes))
        elif isinstance(event, UploadCompleted):
            key = {"session_id": event.session_id, "file_id": event.file_id}
            self._say(Completed(**key, attempt=event.attempt, path=event.upload_path))


def is_hard(event: Event) -> bool:
    """Whether its commit survives a power cut (ARCHITECTURE: what is durable when)."""
    if isinstance(event, UploadFailed):
        return not event.can_retry
    return isinstance(event, UploadCompleted | UploadCancelled | SessionCompleted)
