"""The sessions in memory: loaded at a touch, one object each, let go when nobody needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import trio

from penstock.protocol.errors import InsufficientPermissions, SessionNotFound
from penstock.protocol.names import check_session_reference, is_watch_key
from penstock.server.settings import Settings
from penstock.server.uploads import facts
from penstock.server.uploads.actor import Actor, Role, Scope
from penstock.server.uploads.append import Append, StopReason
from penstock.server.uploads.clock import Clock
from penstock.server.uploads.fanout import Fanout
from penstock.server.uploads.session import LiveSession
from penstock.server.uploads.space import Space
from penstock.server.uploads.trouble import told
from penstock.storage.errors import StoreError
from penstock.storage.state.base import FileRow, SessionRow, StateStore

log = structlog.get_logger()


class Registry:
    """Finds sessions by id or watch key. A session whose store failed is dropped and loaded anew."""

    def __init__(
        self, store: StateStore, space: Space, settings: Settings, clock: Clock, fanout: Fanout
    ) -> None:
        self.sessions: dict[str, LiveSession] = {}
        self._by_watch_key: dict[str, str] = {}
        self._loading: dict[str, trio.Event] = {}
        self._breaking: dict[str, list[Append]] = {}  # they still hold what a session loaded anew would take
        self._store = store
        self._space = space
        self._settings = settings
        self._clock = clock
        self._fanout = fanout

    def now(self) -> float:
        """Unix seconds."""
        return self._clock.now()

    async def resolve(
        self, actor: Actor, reference: str, field: str = "sessionId"
    ) -> tuple[LiveSession, Role]:
        """The session behind a session id or a watch key, and what the reference lets its holder do.

        Raises: InvalidSession, SessionNotFound, InsufficientPermissions.
        """
        reference = check_session_reference(reference, field)
        if is_watch_key(reference):
            return await self._watched(reference), Role.WATCHER
        session = await self.get(reference)
        if session.row.subject != actor.subject and Scope.ADMIN not in actor.scopes:
            raise InsufficientPermissions("the session belongs to somebody else")
        return session, Role.WRITER if Scope.UPLOAD in actor.scopes else Role.WATCHER

    async def writable(self, actor: Actor, reference: str) -> LiveSession:
        """As `resolve`, for those who want to change something. Raises also: InsufficientPermissions."""
        session, role = await self.resolve(actor, reference)
        if role is not Role.WRITER:
            raise InsufficientPermissions("a watchKey only lets you watch; use the session id")
        return session

    async def get(self, session_id: str) -> LiveSession:
        """Raises: SessionNotFound; StoreError."""
        await trio.lowlevel.checkpoint()
        while (session := self.sessions.get(session_id)) is None:
            if (loading := self._loading.get(session_id)) is not None:
                await loading.wait()
                continue
            await self._load(session_id)
        return session

    def add(self, row: SessionRow, files: list[FileRow]) -> LiveSession:
        """Take a session into memory."""
        session = LiveSession(
            row,
            files,
            store=self._store,
            space=self._space,
            settings=self._settings,
            now=self._clock.now,
            on_fault=self._drop_broken,
            on_news=self._fanout.tell,
        )
        self.sessions[row.session_id] = session
        self._by_watch_key[row.watch_key] = row.session_id
        return session

    def drop(self, session: LiveSession) -> None:
        """Let a session go from memory; its rows stay."""
        if self.sessions.get(session.session_id) is session:
            del self.sessions[session.session_id]
            self._by_watch_key.pop(session.row.watch_key, None)
        session.leave()

    @asynccontextmanager
    async def dropping(self, session: LiveSession) -> AsyncIterator[None]:
        """As `drop`; who asks for it waits until the block, which removes its rows, has ended."""
        done = self._loading[session.session_id] = trio.Event()
        self.drop(session)
        try:
            yield
        finally:
            del self._loading[session.session_id]
            done.set()

    def _drop_broken(self, session: LiveSession, error: StoreError) -> None:
        """Its rows in memory are ahead of the store: nothing in it may be announced any more."""
        log.error("session-broken", session_id=session.session_id, reason=str(error))
        trouble = told(error)
        session.leave(lambda stamp: facts.session_error(session, trouble, "pause", stamp))
        self.drop(session)
        visits = [visit for file in session.all_files for visit in file.visitors]
        if visits:
            self._breaking.setdefault(session.session_id, []).extend(visits)
        for visit in visits:
            visit.stop(StopReason.STORE)

    async def _watched(self, watch_key: str) -> LiveSession:
        session_id = self._by_watch_key.get(watch_key) or await self._store.find_watched(watch_key)
        if session_id is None:
            raise SessionNotFound("there is no session with this watchKey, or it has expired")
        return await self.get(session_id)

    async def _load(self, session_id: str) -> None:
        done = self._loading[session_id] = trio.Event()
        try:
            for visit in self._breaking.get(session_id, ()):
                await visit.done.wait()
            self._breaking.pop(session_id, None)
            found = await self._store.load_session(session_id)
            if found is None:
                raise SessionNotFound("there is no such session, or it has expired; create a new one")
            self.add(*found)
        finally:
            del self._loading[session_id]
            done.set()
