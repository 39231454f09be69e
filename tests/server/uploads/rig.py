"""What the gateway's tests stand on: fakes below, a body that is fed by hand above."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import msgspec
import trio

from penstock.protocol.commands import CreateSession, FileSpec, parse_command
from penstock.protocol.events import Event
from penstock.server.peer import BodyBroken, Take
from penstock.server.settings import Settings
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.admission import Claim
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.offsets import Manner, OffsetReport
from penstock.server.uploads.resources import NewUpload, Place
from penstock.server.uploads.session import LiveSession
from penstock.server.uploads.watch import Wakeup, Watch
from tests.fakes.blobs import FakeBlobs
from tests.fakes.state import FakeState

SERVER_KEY = b"k" * 32


class FedBody:
    """A body whose bytes the test hands out: `feed`, then `end` or `break_off`."""

    def __init__(self, data: bytes = b"", *, length: int | None = None, ended: bool = False) -> None:
        self.length = length
        self.taken = 0
        self._data = deque([memoryview(data)] if data else [])
        self._ended = ended
        self._broken = False
        self._moved = trio.lowlevel.ParkingLot()

    def feed(self, data: bytes) -> None:
        self._data.append(memoryview(data))
        self._moved.unpark_all()

    def end(self) -> None:
        self._ended = True
        self._moved.unpark_all()

    def break_off(self) -> None:
        self._broken = True
        self._moved.unpark_all()

    @property
    def unread_bytes(self) -> int:
        return sum(len(piece) for piece in self._data)

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self._data or self._ended or self._broken):
            await self._moved.park()

    def receive_nowait(self, into: memoryview) -> int:
        if self._data:
            piece = self._data.popleft()
            count = min(len(into), len(piece))
            into[:count] = piece[:count]
            if piece[count:]:
                self._data.appendleft(piece[count:])
            self.taken += count
            return count
        if self._broken:
            raise BodyBroken("the peer is gone")
        if self._ended:
            return 0
        raise trio.WouldBlock

    @contextmanager
    def in_thread(self) -> Iterator[Take]:
        """See `ThreadedBody`; the fakes have no thread."""

        def take(into: memoryview, wait_s: float) -> int:
            with suppress(BodyBroken, trio.WouldBlock):
                return self.receive_nowait(into)
            return 0

        yield take


def whole_body(data: bytes) -> FedBody:
    return FedBody(data, length=len(data), ended=True)


class Rig:
    """A gateway on fakes, and the calls tests make over and over."""

    def __init__(self, settings: Settings, blobs: FakeBlobs, store: FakeState) -> None:
        self.settings = settings
        self.blobs = blobs
        self.store = store
        self.gateway: Gateway

    async def open(self) -> None:
        """Start, or restart after `crash`."""
        self.gateway = await Gateway.open(
            self.blobs, self.store, self.settings, server_key=SERVER_KEY, boot_id=self.store.boot_id
        )

    async def session(self, *files: dict[str, Any], **more: Any) -> dict[str, Any]:
        wanted = CreateSession(files=[msgspec.convert(file, FileSpec) for file in files], **more)
        return await self.gateway.create_session(ANYBODY, wanted)

    async def one_file(self, size: int | None = None, file_id: str = "f1") -> str:
        """A session with one file; its id."""
        answer = await self.session({"fileName": "a.bin", "fileId": file_id, "fileSize": size})
        return str(answer["sessionId"])

    async def put(
        self, session_id: str, body: FedBody, *, offset: int | None = None, file_id: str = "f1", **claim: Any
    ) -> None:
        """PUT as the dialect does it: the whole file, or from an offset."""
        if offset is None:
            claim = {"ends_file": True, "retry_limit": True, **claim}
        wanted = Claim(offset=offset, body_bytes=body.length, **claim)
        async with self.gateway.append(ANYBODY, session_id, file_id, wanted) as transfer:
            await transfer.pump(body)

    async def upload(self, length: int | None = None, **wanted: Any) -> Place:
        """A new upload resource."""
        made = await self.gateway.resources.create(ANYBODY, NewUpload(length=length, **wanted))
        return made.place

    async def patch(self, place: Place, body: FedBody, *, offset: int = 0, **claim: Any) -> None:
        """Append as tus does."""
        wanted = Claim(offset, body.length, clips=True, **claim)
        async with self.gateway.append(ANYBODY, place.session_id, place.file_id, wanted) as transfer:
            await transfer.pump(body)

    async def head(self, place: Place, manner: Manner = Manner.POLITE) -> OffsetReport:
        return await self.gateway.resources.report(ANYBODY, place, manner)

    async def command(self, name: str, session_id: str, **fields: Any) -> dict[str, Any]:
        parsed = parse_command(name, {"sessionId": session_id, **fields})
        return await self.gateway.command(ANYBODY, parsed)

    async def offset(
        self, session_id: str, manner: Manner = Manner.PEEK, file_id: str = "f1"
    ) -> OffsetReport:
        return await self.gateway.offset(ANYBODY, session_id, file_id, manner)

    def live(self, session_id: str) -> LiveSession:
        return self.gateway._registry.sessions[session_id]

    def file(self, session_id: str, file_id: str = "f1") -> LiveFile:
        return self.live(session_id).files[file_id]

    async def finished_bytes(self, session_id: str, file_id: str = "f1") -> bytes:
        row = self.file(session_id, file_id).row
        assert row.stored_name is not None
        _, reader = await self.gateway.open_finished("personal", row.stored_name)
        try:
            return await reader.read_at(0, reader.size)
        finally:
            await reader.aclose()

    @asynccontextmanager
    async def watcher(self, reference: str, **more: Any) -> AsyncIterator[Watcher]:
        wakeup = Wakeup()
        async with self.gateway.watch(ANYBODY, reference, wakeup, **more) as joined:
            yield Watcher(joined.watch, joined.recovered)


class Watcher:
    """Collects what a watch tells."""

    def __init__(self, watch: Watch, recovered: bool) -> None:
        self.watch = watch
        self.recovered = recovered
        self.events: list[Event] = []

    async def drain(self) -> list[Event]:
        """Everything that is there now, in order; also kept in `events`."""
        fresh: list[Event] = []
        while (entry := await self.watch.pull()) is not None:
            fresh.extend(entry.events)
        self.events.extend(fresh)
        return fresh

    async def names(self) -> list[str]:
        return [event.NAME for event in await self.drain()]


async def make_rig(**settings: Any) -> Rig:
    """A started rig; settings by name."""
    chosen = msgspec.structs.replace(Settings(), **settings)
    rig = Rig(chosen, FakeBlobs(fsync=chosen.fsync), FakeState())
    await rig.open()
    return rig
