"""A scene of a fault: one file on its way, a watcher of it, and somebody else who must not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from penstock.server.uploads.session import LiveSession
from tests.acceptance.api import Exchange
from tests.acceptance.content import file_sha256
from tests.acceptance.watcher import Seen, Watcher, check_facts, connected
from tests.faults.senders import BIG, DIALECTS, Dialect, File, Request, ask, registered
from tests.faults.store_world import BUFFER_BYTES, World, open_descriptors
from tests.server.edge.harness import until

FIRST_BYTES = 2 * BUFFER_BYTES  # of the bystander: whole buffers, so that none waits to be written


class Scene:
    """`upload` belongs to a session of its own, which `watcher` watches."""

    def __init__(
        self, world: World, upload: File, watcher: Watcher, session: LiveSession, ack: dict[str, Any]
    ) -> None:
        self.world = world
        self.upload = upload
        self.watcher = watcher
        self._session = session
        self._epoch: str = ack["epoch"]
        self._joined_at: int = ack["sequence"]

    def has_bytes(self) -> bool:
        """Whether any of the file's bytes lie among the incoming ones."""
        return bool(list(self.world.incoming.glob(f"{self.upload.upload_id}.*")))

    async def told(self) -> list[str]:
        """What its watcher was told, in words, once it was told everything."""
        await until(self._told_all)
        return [in_words(fact) for fact in self.watcher.facts]

    def _told_all(self) -> bool:
        if self._session.gone:
            return self.watcher.closed is not None
        return self._seen == self._session.ring.seq

    @property
    def _seen(self) -> int:
        return self.watcher.facts[-1].seq if self.watcher.facts else self._joined_at

    async def offset(self, dialect: Dialect) -> int:
        """As its client asks for it, and checked against all that was announced before."""
        answer = await ask(self.world.api, dialect.head(self.upload))
        assert answer.status in (200, 204), answer
        self.note_announced()
        self.upload.tell(answer.offset)
        return answer.offset

    def note_announced(self) -> None:
        """Offsets that watchers were told are promises, too."""
        for event in self.watcher.events:
            if event.name == "upload-progress" and event.payload["fileId"] == self.upload.file_id:
                self.upload.told = max(self.upload.told, event.payload["durableBytes"])

    async def complete(self, request: Request, dialect: Dialect) -> None:
        """Send what is missing; all bytes are then as they were sent."""
        answer = await ask(self.world.api, request)
        assert answer.status == dialect.done, answer
        await self.assert_stored()

    async def assert_stored(self) -> None:
        view = await self.upload.view()
        assert view["status"] == "completed", view
        stored = self.world.published(view["uploadPath"])
        assert file_sha256(stored) == self.upload.content.sha256()

    async def assert_watchable(self) -> None:
        """Whoever was sent away comes back without having missed anything."""
        check_facts_of(self.watcher)
        async with connected(self.world.api) as again:
            since = {"epoch": self._epoch, "seq": self._seen}
            ack = await again.subscribe(self.upload.session_id, since)
            assert ack["recovered"], (since, ack, self.watcher.events)
            assert ack["sequence"] >= self._seen


def check_facts_of(watcher: Watcher) -> None:
    """As `check_facts`, but for the farewell of a session that left memory: it has no place of its own."""
    if watcher.closed is not None and watcher.events:
        assert watcher.events[-1].name == "session-error"
        watcher.events.pop()
    check_facts(watcher)


def in_words(fact: Seen) -> str:
    payload = fact.payload
    match fact.name:
        case "upload-failed":
            outlook = "canRetry" if payload["canRetry"] else "final"
            return f"upload-failed {payload['error']['code']} {outlook}"
        case "session-error":
            return f"session-error {payload['error']['code']} {payload['action']}"
        case "upload-progress":
            return str(payload["currentFile"]["status"])
        case name:
            return name


@asynccontextmanager
async def scene(world: World, upload: File) -> AsyncIterator[Scene]:
    """Ends with the proof that nobody else was harmed and nothing is held."""
    descriptors = open_descriptors()
    async with bystander(world), watched(world, upload) as played:
        yield played
    await world.assert_nothing_held(descriptors)


@asynccontextmanager
async def watched(world: World, upload: File) -> AsyncIterator[Scene]:
    """A scene without anybody else."""
    async with connected(world.api) as watcher:
        ack = await watcher.subscribe(upload.session_id)
        session = world.gateway._registry.sessions[upload.session_id]
        yield Scene(world, upload, watcher, session, ack)


@asynccontextmanager
async def bystander(world: World) -> AsyncIterator[None]:
    """In the middle of a body, and watched, during the block; then it goes on as if nothing had been."""
    upload = await registered(world.api, BIG, "b")
    request = DIALECTS["PUT"].request(upload, 0)
    written = world.blobs.statistics.written_bytes
    async with connected(world.api) as watcher:
        await watcher.subscribe(upload.session_id)
        headers = {"Content-Length": str(len(request.body))}
        async with world.api.exchange(request.method, request.path, headers) as exchange:
            await exchange.send(request.body[:FIRST_BYTES])
            await until(lambda: world.blobs.statistics.written_bytes == written + FIRST_BYTES)
            if world.gateway.settings.sync_every_bytes <= FIRST_BYTES:  # that commit must not fail
                file = world.gateway._registry.sessions[upload.session_id].files[upload.file_id]
                await until(lambda: file.durable == FIRST_BYTES)
            yield
            await _go_on(exchange, request)
        await watcher.until_last_word()
        assert [fact.name for fact in watcher.facts] == [
            "upload-started",
            "upload-completed",
            "session-completed",
        ]
        check_facts(watcher)
        view: Any = await upload.view()
        assert file_sha256(world.published(view["uploadPath"])) == BIG.sha256()


async def _go_on(exchange: Exchange, request: Request) -> None:
    await exchange.send(request.body[FIRST_BYTES:])
    answer = await exchange.answer()
    assert answer.status == 200, answer
