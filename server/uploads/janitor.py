"""What time does to uploads: idle sessions leave memory, old ones expire, orphans are swept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import structlog
import trio

from penstock.protocol.errors import SessionTimeout
from penstock.protocol.lifecycle import State
from penstock.server.settings import Settings
from penstock.server.uploads import facts
from penstock.server.uploads.clock import Clock
from penstock.server.uploads.commands import Commands
from penstock.server.uploads.recovery import Recovery
from penstock.server.uploads.registry import Registry
from penstock.server.uploads.session import LiveSession
from penstock.storage.blobs.base import BlobStore
from penstock.storage.errors import StoreError
from penstock.storage.state.base import DropAnswers, DropFinished, DropSession, StateStore

log = structlog.get_logger()

T = TypeVar("T")

BATCH = 200  # rows a round: one round must not hold up the writer thread
ORPHAN_AGE_S = 600.0  # younger ones may belong to an append whose row is just being committed
SWEEP_EVERY_S = 3600.0  # a sweep looks at every file there is, and only faults and crashes leave orphans
LINGER_S = 60.0  # an ended session nobody watches stays in memory this long


class Janitor:
    """Runs every `janitor_every_s`; each round is short and starts over after trouble."""

    def __init__(
        self,
        registry: Registry,
        commands: Commands,
        recovery: Recovery,
        store: StateStore,
        blobs: BlobStore,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._commands = commands
        self._recovery = recovery
        self._store = store
        self._blobs = blobs
        self._settings = settings
        self._clock = clock
        self._swept_at = clock.now()

    async def start_up(self) -> None:
        """Before anybody is served: finish what a crash interrupted, sweep orphans. Raises: StoreError."""
        for session_id, file_id in await self._store.finishing_files():
            session = await self._registry.get(session_id)
            await self._recovery.touch(session, session.files[file_id])
        await self.sweep_orphans(min_age_s=0.0)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(self._settings.janitor_every_s)
            try:
                await self.round()
            except StoreError as error:
                log.error("janitor-failed", reason=str(error))

    async def round(self) -> None:
        """Everything once. Raises: StoreError."""
        await self._expire()  # first: who watches is to see it
        for session in list(self._registry.sessions.values()):
            with _one_of_many(session_id=session.session_id):
                await self._visit(session)
        await self._purge()
        if self._clock.now() - self._swept_at >= SWEEP_EVERY_S:
            await self.sweep_orphans(min_age_s=ORPHAN_AGE_S)
        await self._finish_interrupted()

    async def _visit(self, session: LiveSession) -> None:
        now = self._clock.now()
        if session.gone or session.adding or session.users:
            return
        if session.completes:
            await session.record()  # its retrying files have waited long enough
        idle_s = now - max(session.row.active_at, session.loaded_at)
        if session.row.ended_at is not None or session.row.hidden:
            if not session.watches and idle_s > LINGER_S:
                self._registry.drop(session)
        elif idle_s > self._settings.session_timeout_s:
            await self._time_out(session)

    async def _time_out(self, session: LiveSession) -> None:
        """It leaves memory; its bytes stay until it expires."""
        minutes = self._settings.session_timeout_s / 60
        error = SessionTimeout(f"nothing happened for {minutes:g} minutes; resume whenever you like")
        await session.record(makers=[lambda stamp: facts.session_error(session, error, "pause", stamp)])
        if not session.users:  # nobody came back while it was told
            self._registry.drop(session)

    async def _expire(self) -> None:
        before = self._clock.now() - self._settings.retention_s
        for session_id in await self._store.unfinished_sessions(active_before=before, limit=BATCH):
            with _one_of_many(session_id=session_id):
                session = await self._registry.get(session_id)
                if session.row.active_at < before and session.row.ended_at is None and not session.users:
                    await self._expire_session(session)

    async def _expire_session(self, session: LiveSession) -> None:
        unended = [file for file in session.all_files if not file.ended]
        await self._commands.cancel_files(session, unended, "expired", whole_session=True, removed=True)
        if session.row.ended_at is None:
            session.row.ended_at = self._clock.now()
            await session.record()
        log.info("session-expired", session_id=session.session_id, files=len(unended))

    async def _purge(self) -> None:
        now = self._clock.now()
        ended_before = now - self._settings.ended_retention_s
        for session_id in await self._store.ended_sessions(ended_before=ended_before, limit=BATCH):
            with _one_of_many(session_id=session_id):
                await self._forget(session_id)
        await self._store.commit([DropAnswers(now - self._settings.idempotency_s)], hard=False)
        if self._settings.finished_retention_s:
            before = now - self._settings.finished_retention_s
            for row in await self._store.finished_before(completed_before=before, limit=BATCH):
                with _one_of_many(name=row.stored_name):
                    await self._blobs.unpublish(row.category, row.stored_name)
                    await self._store.commit([DropFinished(row.category, row.stored_name)], hard=True)

    async def _forget(self, session_id: str) -> None:
        """Rows and facts go; so do the bytes of files that failed. Finished files stay."""
        session = await self._registry.get(session_id)
        unended = any(not file.ended for file in session.all_files)
        waits = unended and self._clock.now() - session.row.active_at < self._settings.retention_s
        if waits or session.row.ended_at is None or session.users:
            return
        if unended:  # its client never came back
            await self._expire_session(session)
            return
        async with self._registry.dropping(session):
            for file in session.all_files:
                if file.row.state is not State.COMPLETED:
                    await self._blobs.delete(file.row.blob_key)
            await self._store.commit([DropSession(session_id)], hard=False)

    async def _finish_interrupted(self) -> None:
        """Files that a fault of the store kept from their place, though all their bytes are here."""
        for session in list(self._registry.sessions.values()):
            if session.tally.finishing and not session.gone:
                for file in session.files.values():
                    if file.row.state is State.FINISHING and file.append is None:
                        with _one_of_many(session_id=session.session_id):
                            await self._recovery.touch(session, file)

    async def sweep_orphans(self, *, min_age_s: float) -> None:
        """Remove bytes that no row knows: what a crash left between two steps. Raises: StoreError.

        Bytes older than the database are left alone: if it was lost and made anew, they are no orphans.
        """
        self._swept_at = self._clock.now()
        after, before = self._store.born_at, self._swept_at - min_age_s
        keys = [key for key, at in await self._blobs.incoming() if after <= at <= before]
        for some in _batches(keys):
            for key in set(some) - await self._store.known_blobs(some):
                await self._blobs.delete(key)
                log.info("orphan-removed", key=key)
        names = [(where, name) for where, name, at in await self._blobs.published() if after <= at <= before]
        for some_names in _batches(names):
            for category, name in set(some_names) - await self._store.known_names(some_names):
                await self._blobs.unpublish(category, name)
                log.info("orphan-removed", category=category, name=name)


@contextmanager
def _one_of_many(**what: str) -> Iterator[None]:
    """What cannot be tidied up now must not keep all behind it from being so, round after round."""
    try:
        yield
    except StoreError as error:
        log.error("janitor-skipped", reason=str(error), **what)


def _batches(of: Sequence[T]) -> Iterator[Sequence[T]]:
    """The writer thread is asked for a few rows at a time: commits wait behind each question."""
    for start in range(0, len(of), BATCH):
        yield of[start : start + BATCH]
