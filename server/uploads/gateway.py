"""The only door to uploads: every dialect and every real-time endpoint comes through here.

All calls are async, take an `Actor` and ids (never live objects), and raise `GatewayError`s that changed
nothing, or `StoreError` when the storage itself is in trouble.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from penstock.protocol.commands import (
    Command,
    CreateSession,
    FileSpec,
    Since,
    UploadCancel,
    UploadPause,
    UploadProgressCommand,
    UploadResume,
    UploadStart,
)
from penstock.protocol.errors import FileNotFound, InvalidMessage
from penstock.protocol.events import UploadProgress
from penstock.protocol.snapshot import FileView, PageCursor, Snapshot
from penstock.server.settings import Settings
from penstock.server.uploads import facts, offsets, trouble, views
from penstock.server.uploads.actor import Actor, Role
from penstock.server.uploads.admission import Admission, Claim
from penstock.server.uploads.append import Append, StopReason
from penstock.server.uploads.buffers import BufferPool
from penstock.server.uploads.clock import Clock
from penstock.server.uploads.commands import Answer, Commands, find_file, find_listed
from penstock.server.uploads.concatenation import Concatenation
from penstock.server.uploads.creation import Creation
from penstock.server.uploads.fanout import Fanout
from penstock.server.uploads.finishing import Finisher
from penstock.server.uploads.health import DiskHealth
from penstock.server.uploads.idempotency import Answers, IdempotencyKey
from penstock.server.uploads.janitor import Janitor
from penstock.server.uploads.offsets import Manner, OffsetReport
from penstock.server.uploads.recovery import Recovery
from penstock.server.uploads.registry import Registry
from penstock.server.uploads.resources import Resources
from penstock.server.uploads.session import LiveSession
from penstock.server.uploads.small import Intake
from penstock.server.uploads.space import Space
from penstock.server.uploads.transfer import Transfer
from penstock.server.uploads.watch import Wakeup, Watch
from penstock.storage.blobs.base import BlobReader, BlobStore
from penstock.storage.errors import BlobMissing, StoreError
from penstock.storage.state.base import FinishedRow, StateStore

FIRST_PAGE = PageCursor()
ALWAYS_WELL = DiskHealth((), 0.0)


class Joined(msgspec.Struct, frozen=True):
    """What a new watcher gets: where it stands, and whether it missed nothing since it was last here."""

    watch: Watch
    snapshot: Snapshot
    recovered: bool


class GatewayStatistics(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    sessions: int
    appends: int
    watches: int
    reserved_bytes: int
    buffer_bytes: int
    waiting_for_buffers: int


class Gateway:
    """Sessions, files, appends, commands and watchers over a blob store and a state store.

    Make it with `open`; run `janitor.run` and `fanout.run` beside it; end it with `drain`.
    """

    def __init__(
        self,
        blobs: BlobStore,
        store: StateStore,
        settings: Settings,
        *,
        server_key: bytes,
        boot_id: str,
        reserved_bytes: int,
        disk_health: DiskHealth,
    ) -> None:
        self.settings = settings
        self.clock = Clock()
        self.fanout = Fanout()
        self.draining = trio.Event()  # set once: endpoints tell their watchers and go
        self.drain_wakeups: set[Wakeup] = set()  # of connections without a task to wait for `draining`
        self._blobs = blobs
        self._store = store
        self._space = Space(blobs, reserved_bytes)
        # More threads than cores would only wait for each other, and the loop for all of them.
        turns = min(settings.disk_threads, len(os.sched_getaffinity(0)))
        self._pool = BufferPool(settings.buffer_pool_bytes, turns)
        self._registry = Registry(store, self._space, settings, self.clock, self.fanout)
        self._finisher = Finisher(blobs, server_key)
        self._recovery = Recovery(blobs, boot_id, self._finisher)
        self._admission = Admission(blobs, self._recovery, self._space, settings.max_appends, disk_health)
        self._commands = Commands(blobs, self._recovery)
        self._creation = Creation(self._registry, self._space, settings, server_key, boot_id)
        self._answers = Answers(store)
        self.resources = Resources(
            store,
            blobs,
            settings,
            registry=self._registry,
            creation=self._creation,
            commands=self._commands,
            recovery=self._recovery,
            answers=self._answers,
            admission=self._admission,
            space=self._space,
            append=self.append,
        )
        self.concatenation = Concatenation(
            self.resources,
            blobs,
            settings,
            registry=self._registry,
            commands=self._commands,
            recovery=self._recovery,
            answers=self._answers,
            admission=self._admission,
            space=self._space,
            append=self.append,
        )
        self.janitor = Janitor(
            self._registry, self._commands, self._recovery, store, blobs, settings, self.clock
        )

    @classmethod
    async def open(
        cls,
        blobs: BlobStore,
        store: StateStore,
        settings: Settings,
        *,
        server_key: bytes,
        boot_id: str,
        disk_health: DiskHealth = ALWAYS_WELL,
    ) -> Gateway:
        """A gateway whose leftovers of a crash are dealt with. Raises: StoreError."""
        reserved_bytes = await store.reserved_bytes()
        gateway = cls(
            blobs,
            store,
            settings,
            server_key=server_key,
            boot_id=boot_id,
            reserved_bytes=reserved_bytes,
            disk_health=disk_health,
        )
        await gateway.janitor.start_up()
        return gateway

    @property
    def epoch(self) -> str:
        return self._store.epoch

    # Sessions

    async def create_session(
        self, actor: Actor, wanted: CreateSession, idempotency: IdempotencyKey | None = None
    ) -> dict[str, Any]:
        """The creation answer. Raises: InvalidMessage, FileSizeExceeded, UnsupportedFormat,
        InsufficientStorage, IdempotencyKeyReused, ServerBusy."""
        self._admission.refuse_if_unwell()
        async with self._answers.claim(idempotency) as first:
            if first is not None:
                return _stored_answer(first.body)
            return await self._creation.create(actor, wanted, idempotency, self.clock.now())

    async def register(
        self,
        actor: Actor,
        session_id: str,
        specs: list[FileSpec],
        idempotency: IdempotencyKey | None = None,
    ) -> dict[str, Any]:
        """Register more files; all or none. Raises: as `create_session`, SessionNotFound."""
        self._admission.refuse_if_unwell()
        async with self._answers.claim(idempotency) as first:
            if first is not None:
                return _stored_answer(first.body)
            session = await self._registry.writable(actor, session_id)
            with session.in_use():
                return await self._creation.register(session, specs, idempotency)

    async def complete_registration(self, actor: Actor, session_id: str) -> Snapshot:
        """No more files will be registered: the session may complete. Idempotent."""
        session = await self._registry.writable(actor, session_id)
        with session.in_use():
            if session.row.open:
                session.row.open = False
                session.note_activity()
                await session.record(hard=True)
        return await self.snapshot(actor, session_id)

    async def snapshot(self, actor: Actor, reference: str, page: PageCursor = FIRST_PAGE) -> Snapshot:
        """One page of a session, for a session id or a watch key."""
        session, role = await self._registry.resolve(actor, reference)
        return views.snapshot(session, role, page)

    async def file(self, actor: Actor, reference: str, file_id: str) -> FileView:
        session, role = await self._registry.resolve(actor, reference)
        return views.file_view(session, find_file(session, file_id), role)

    async def progress(self, actor: Actor, reference: str) -> tuple[UploadProgress, str]:
        """The session's latest progress, and a validator that changes whenever it does."""
        session, role = await self._registry.resolve(actor, reference)
        file = session.moving
        if file is not None and not file.ended:
            event = facts.progress(session, file, session.stamp())
        else:
            event = facts.session_progress(session, session.stamp())
        if role is not Role.WRITER:
            event = msgspec.structs.replace(event, session_id=session.row.watch_key)
        return event, f"{self._store.epoch}:{session.ring.seq}:{session.version}:{event.overall_status}"

    # Bytes

    @asynccontextmanager
    async def append(
        self, actor: Actor, session_id: str, file_id: str, claim: Claim
    ) -> AsyncIterator[Transfer]:
        """Enter to be admitted as the file's one writer (held while it is paused), then `pump` the body once.

        Raises on entry: UploadLocked, OffsetMismatch, UploadCancelled, UploadAlreadyCompleted, UploadFailed,
        FileSizeExceeded, InvalidMessage, ServerBusy, SessionNotFound, FileNotFound. Cancel-safe.
        """
        self._admission.refuse_if_unwell()
        session = await self._registry.writable(actor, session_id)
        visit = Append(session, find_file(session, file_id), self._pool)
        with session.in_use():
            try:
                await self._admission.admit(visit, claim)
                yield Transfer(
                    visit,
                    claim,
                    admission=self._admission,
                    blobs=self._blobs,
                    pool=self._pool,
                    finisher=self._finisher,
                )
            finally:
                self._admission.release(visit)

    @asynccontextmanager
    async def adding(self, actor: Actor, session_id: str) -> AsyncIterator[Intake]:
        """Around a request that adds files one by one: the session does not complete before its end.

        Raises on entry: SessionNotFound, InsufficientPermissions, ServerBusy.
        """
        self._admission.refuse_if_unwell()
        session = await self._registry.writable(actor, session_id)
        intake = Intake(
            session,
            blobs=self._blobs,
            pool=self._pool,
            admission=self._admission,
            creation=self._creation,
            finisher=self._finisher,
            boot_id=self._recovery.boot_id,
        )
        session.adding += 1
        try:
            yield intake
        finally:
            intake.drop()
            session.adding -= 1
            if session.completes and not session.gone:
                with trio.CancelScope(shield=True):  # waits for the disk only
                    await session.record()

    async def offset(self, actor: Actor, reference: str, file_id: str, manner: Manner) -> OffsetReport:
        """How many bytes a file has. A watch key always peeks. Raises: UploadLocked (busy; or the store is in
        trouble, and nobody can say), UploadCancelled, …"""
        try:
            session, role = await self._registry.resolve(actor, reference)
            if role is not Role.WRITER:
                manner = Manner.PEEK
            with session.in_use():
                return await offsets.report(session, find_file(session, file_id), manner, self._recovery)
        except StoreError as error:
            raise trouble.offset_unknown(error) from error

    async def open_finished(self, category: str, stored_name: str) -> tuple[FinishedRow, BlobReader]:
        """A finished file, to be read and closed by the caller. Raises: FileNotFound."""
        row = await self._store.find_finished(category, stored_name)
        if row is None:
            raise FileNotFound("there is no such file")
        try:
            return row, await self._blobs.open_published(category, stored_name)
        except BlobMissing:
            raise FileNotFound("the file is no longer there") from None

    # Live control

    async def command(self, actor: Actor, command: Command) -> Answer:
        """Run a command; the ack's fields. Once begun it is not cancelled: it waits for the disk at most."""
        session = await self._registry.writable(actor, command.session_id)
        with trio.CancelScope(shield=True), session.in_use():
            return await self._run(session, command)
        raise AssertionError("a shield is not cancelled")

    async def _run(self, session: LiveSession, command: Command) -> Answer:
        match command:
            case UploadStart():
                return await self._commands.start(session, command)
            case UploadPause():
                return await self._commands.pause(session, command)
            case UploadResume():
                return await self._commands.resume(session, command)
            case UploadCancel():
                return await self._commands.cancel(session, command)
            case UploadProgressCommand():
                return await self._commands.progress(session, command)
            case _:
                raise InvalidMessage("type: join and leave need a connection that stays open")

    @asynccontextmanager
    async def watch(
        self,
        actor: Actor,
        reference: str,
        wakeup: Wakeup,
        *,
        since: Since | None = None,
        file_id: str | None = None,
    ) -> AsyncIterator[Joined]:
        """Watch a session (or one of its files) while the block runs; `since` asks for the facts missed.

        Raises: InvalidSession, SessionNotFound, FileNotFound, InsufficientPermissions.
        """
        joined = await self.join(actor, reference, wakeup, since=since, file_id=file_id)
        try:
            yield joined
        finally:
            self.leave(joined.watch)

    async def join(
        self,
        actor: Actor,
        reference: str,
        wakeup: Wakeup,
        *,
        since: Since | None = None,
        file_id: str | None = None,
    ) -> Joined:
        """As `watch`, for endpoints whose watches come and go; every one must be left with `leave`."""
        session, role = await self._registry.resolve(actor, reference)
        oldest = await self._store.oldest_fact(session.session_id) if since else None
        while session.gone:  # it left memory while we asked: nobody was watching it yet
            session, role = await self._registry.resolve(actor, reference)
        if file_id is not None:
            find_listed(session, file_id)
        recovered = since is not None and self._is_recoverable(since, session.ring.seq, oldest)
        cursor = since.seq if since is not None and recovered else session.ring.seq
        watch = Watch(session, self._store, wakeup, role=role, cursor=cursor, file_id=file_id)
        session.watches.add(watch)
        wakeup.set()
        return Joined(watch, views.snapshot(session, role, FIRST_PAGE), recovered)

    def leave(self, watch: Watch) -> None:
        """End a watch. Idempotent."""
        watch.lane = None
        watch.session.watches.discard(watch)

    def _is_recoverable(self, since: Since, newest: int, oldest: int | None) -> bool:
        if since.epoch != self._store.epoch or since.seq > newest:
            return False
        return since.seq == newest or (oldest is not None and oldest <= since.seq + 1)

    # Operation

    async def drain(self) -> None:
        """Let nobody in, tell the watchers, and stop every append at a durable offset. Idempotent."""
        self._admission.closed = True
        self.draining.set()
        for wakeup in self.drain_wakeups:
            wakeup.set()
        visits = [
            visit
            for session in self._registry.sessions.values()
            for file in session.all_files
            for visit in file.visitors
        ]
        for visit in visits:
            visit.stop(StopReason.DRAINING)
        for visit in visits:
            await visit.done.wait()

    def statistics(self) -> GatewayStatistics:
        pool = self._pool.statistics()
        sessions = self._registry.sessions
        return GatewayStatistics(
            sessions=len(sessions),
            appends=self._admission.running,
            watches=sum(len(session.watches) for session in sessions.values()),
            reserved_bytes=self._space.reserved_bytes,
            buffer_bytes=pool.used_bytes,
            waiting_for_buffers=pool.waiting,
        )


def _stored_answer(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])
