"""A gateway, what its clients know, and what disks, time and power do to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from penstock.protocol.errors import GatewayError, ServerError, SessionNotFound
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.resources import Place
from penstock.storage.errors import StoreError
from tests.server.uploads.crash import killed, without_power
from tests.server.uploads.resource_model import KIB, Finals, Request, Sender, Upload
from tests.server.uploads.rig import Rig
from tests.server.uploads.test_machine import lived

SIZES = (0, 1, 50 * KIB, 100 * KIB)
REGISTERED = {"f1": 100 * KIB, "f2": None}


class World:
    """What a client asks for goes on beside the steps of a test, as a `Request`."""

    def __init__(self, rig: Rig, nursery: trio.Nursery) -> None:
        self.rig = rig
        self.nursery = nursery
        self.process: trio.Nursery  # everything that a kill ends
        self.uploads: dict[str, Upload] = {}
        self.finals = Finals()
        self.requests: list[Request] = []
        self.taken_bytes = 0  # of the bodies of requests that are no longer listed
        self.keyed: dict[str, str] = {}  # upload ids by idempotency key
        self.session_id = ""
        self.variants = 0
        self.asked: Request | None = None  # in the present step ...
        self.refused = False  # ... and it was refused
        self.troubled = False  # the state store has failed at least once
        self.lost = False  # bytes may be: power went, and they are not synced as they come

    async def begin(self) -> None:
        await self.start_process()
        answer = await self.rig.session(
            *({"fileName": name, "fileId": name, "fileSize": size} for name, size in REGISTERED.items())
        )
        self.session_id = str(answer["sessionId"])
        for name, size in REGISTERED.items():
            upload_id = self.rig.file(self.session_id, name).row.upload_id
            self.know(Place(upload_id, self.session_id, name), size or 60 * KIB)

    async def start_process(self) -> None:
        self.process = await self.nursery.start(lived)
        self.process.start_soon(self.rig.gateway.janitor.run)

    def know(self, place: Place, length: int, *, partial: bool = False) -> None:
        self.uploads.setdefault(place.upload_id, Upload(place, length, partial=partial))

    def upload(self, which: int, *, partials: bool = False) -> Upload | None:
        there = [one for one in self.uploads.values() if one.partial or not partials]
        return there[which % len(there)] if there else None

    async def file(self, upload: Upload) -> LiveFile | None:
        """As the gateway has it; None once it is forgotten."""
        try:
            session = await self.rig.gateway._registry.get(upload.place.session_id)
        except SessionNotFound:
            return None
        return session.find(upload.place.file_id)

    def file_in_memory(self, upload: Upload) -> LiveFile | None:
        session = self.rig.gateway._registry.sessions.get(upload.place.session_id)
        return session.find(upload.place.file_id) if session is not None else None

    def ask(self, request: Request, call: Callable[[], Awaitable[object]]) -> None:
        """Begin a request; its refusal is noted, and belongs to this step if it comes at once."""
        self.taken_bytes += sum(one.body.taken for one in self.requests if one.over and one.body is not None)
        self.requests = [one for one in self.requests if not one.over] + [request]
        self.asked = request
        if self.process.cancel_scope.cancel_called:
            return  # something in it has failed, and is about to be told
        self.process.start_soon(self.answer, self.rig, request, call)

    async def answer(self, rig: Rig, request: Request, call: Callable[[], Awaitable[object]]) -> None:
        if rig is not self.rig:
            return  # killed before it began
        try:
            with request.scope:
                await call()
        except GatewayError as error:
            request.error = error
            if isinstance(error, ServerError) and not self.troubled:
                raise AssertionError("a server fault, though all was well") from error
            self.refused |= request is self.asked and (request.body is None or not request.body.taken)
        except StoreError:
            assert self.troubled
        request.over = True

    def running(self, which: int) -> Request | None:
        there = [one for one in self.requests if not one.over]
        return there[which % len(there)] if there else None

    def sender(self, which: int) -> Sender | None:
        there = [one for one in self.requests if isinstance(one, Sender) and not one.over]
        return there[which % len(there)] if there else None

    def files(self) -> list[LiveFile]:
        """All that are in memory."""
        return [file for one in self.rig.gateway._registry.sessions.values() for file in one.all_files]

    def note_sizes(self) -> None:
        for file in self.files():
            upload = self.uploads.get(file.row.upload_id)
            if upload is not None and file.row.file_size is not None:
                upload.size = file.row.file_size

    def row_of(self, upload_id: str) -> object:
        rows = self.rig.store._tables.files.values()
        return next((row for row in rows if row.upload_id == upload_id), None)

    # Disks, time and power

    async def full(self, on: bool) -> None:
        self.rig.blobs.full_at_bytes = self.rig.blobs.used_bytes() + 1000 if on else 1 << 62

    @property
    def is_full(self) -> bool:
        return self.rig.blobs.full_at_bytes < 1 << 62

    async def slow(self, on: bool) -> None:
        """While the disk is slow nothing that is asked of it is done."""
        rig, gate = self.rig, self.rig.blobs.gate
        if on and gate is None:
            rig.blobs.gate = rig.store.gate = trio.Event()
        if not on and gate is not None:
            rig.blobs.gate = rig.store.gate = None
            gate.set()

    async def fault(self, on: bool) -> None:
        self.troubled |= on
        self.rig.store.fault = StoreError("the database is locked") if on else None

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def kill(self, how: str) -> None:
        """The process dies; what it had written is there, or (power) what was durable, perhaps with zeros."""
        await self.slow(False)
        old = self.rig
        if how == "kill":
            self.rig = killed(old)
        else:
            self.variants += 1
            self.rig = without_power(old, zeros=how == "zeros", boot_id=f"boot after {self.variants}")
            self.lost |= old.settings.fsync != "append"
        self.process.cancel_scope.cancel(reason="killed")
        self.requests.clear()
        await trio.testing.wait_all_tasks_blocked()  # the old one is gone
        await self.rig.open()
        self.rig.gateway.clock._offset_s = old.gateway.clock._offset_s  # the time of day goes on
        await self.start_process()
