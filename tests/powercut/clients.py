"""Clients of one gateway: the calls they make over and over, and what they note of the answers."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from random import Random
from typing import Any, NamedTuple

import trio
import trio.testing

from penstock.protocol.commands import parse_command
from penstock.protocol.errors import GatewayError, UploadCancelled
from penstock.protocol.lifecycle import State
from penstock.server.settings import KIB
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.admission import Claim, needs_restart
from penstock.server.uploads.digests import Digest
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.offsets import Manner, OffsetReport
from penstock.server.uploads.resources import Place
from tests.powercut.contents import content, named
from tests.powercut.told import Asking, Completed, Gone, Offset
from tests.powercut.watching import Say
from tests.server.uploads.rig import FedBody

SIZES = (0, 1, 511, 5000, 20 * KIB, 40 * KIB, 70 * KIB, 150 * KIB)
SMALL_SIZES = (0, 1, 700, 9000)
MAX_BYTES = max(SIZES)
PIECES = (1, 3000, 17 * KIB, 64 * KIB)


class Handle(NamedTuple):
    """A file as its client knows it."""

    session_id: str
    file_id: str
    upload_id: str
    name: str

    @property
    def size(self) -> int:
        return len(content(self.name, 1))

    @property
    def place(self) -> Place:
        return Place(self.upload_id, self.session_id, self.file_id)


class Clients:
    """What every step is made of."""

    def __init__(
        self, gateway: Gateway, random: Random, say: Say, serials: count[int], handles: list[Handle]
    ) -> None:
        self.gateway = gateway
        self.handles = handles  # what there is; new ones are added
        self._random = random
        self._say = say
        self._serials = serials
        self._over: set[Handle] = set()  # complete, or gone

    # Looking

    async def look_at_all(self) -> None:
        for handle in self.handles:
            await self._try_look(handle)

    async def _try_look(self, handle: Handle) -> None:
        with suppress(GatewayError):
            await self._look(handle)

    async def _look(self, handle: Handle, manner: Manner = Manner.PEEK) -> OffsetReport:
        """Ask for the offset, and note the answer."""
        try:
            report = await self.gateway.offset(ANYBODY, handle.session_id, handle.file_id, manner)
        except UploadCancelled:
            self._over.add(handle)  # but only the answer to the cancel itself is a promise
            raise
        if report.complete:
            self._over.add(handle)
        key = {"session_id": handle.session_id, "file_id": handle.file_id}
        if report.complete and report.upload_path is not None:
            self._say(Completed(**key, attempt=report.attempt, path=report.upload_path))
        elif (await self._file(handle)).row.state is not State.FAILED:
            self._say(Offset(**key, attempt=report.attempt, offset=report.offset))
        return report

    def _say_going(self, handle: Handle) -> None:
        self._say(Asking(session_id=handle.session_id, file_id=handle.file_id, attempt=0))

    async def _note_end(self, handle: Handle) -> None:
        """Somebody has been answered that it is gone, if it is."""
        try:
            await self._look(handle)
        except UploadCancelled:
            self._say(Gone(session_id=handle.session_id, file_id=handle.file_id))
        except GatewayError:
            pass  # it was too late for that

    # Bytes

    async def _send_piece(self, handle: Handle, most: int = 0, **claim: Any) -> None:
        report = await self._look(handle)
        end = min(report.offset + (most or self._random.choice(PIECES)), handle.size)
        data = content(handle.name, report.attempt)[report.offset : end]
        body = FedBody(data, length=len(data), ended=True)
        await self._send(handle, Claim(report.offset, len(data), length=handle.size, **claim), body)

    @asynccontextmanager
    async def _sending(self, handle: Handle, claim: Claim) -> AsyncIterator[FedBody]:
        body = FedBody()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(self._send, handle, claim, body))
            yield body

    async def _send(self, handle: Handle, claim: Claim, body: FedBody) -> None:
        with suppress(GatewayError):
            async with self.gateway.append(ANYBODY, handle.session_id, handle.file_id, claim) as transfer:
                await transfer.pump(body)
        await self._try_look(handle)

    async def _note_attempt(self, handle: Handle, claim: Claim) -> int:
        """The attempt that this claim belongs to; noted, if it is a new one."""
        file = await self._file(handle)
        if not needs_restart(file, claim):
            return file.row.attempt
        attempt = file.row.attempt + 1
        self._say(Asking(session_id=handle.session_id, file_id=handle.file_id, attempt=attempt))
        return attempt

    # Commands

    async def _command(self, name: str, handle: Handle, *, alone: bool) -> None:
        about = {"fileId": handle.file_id} if alone else {}
        await self.gateway.command(ANYBODY, parse_command(name, {"sessionId": handle.session_id, **about}))

    async def _cancel(self, handle: Handle, *, alone: bool) -> None:
        ending = [
            one
            for one in self.handles
            if one == handle or (one.session_id == handle.session_id and not alone)
        ]
        for one in ending:
            self._say_going(one)
        await self._command("upload-cancel", handle, alone=alone)
        for one in ending:
            await self._note_end(one)

    # Choices

    def _name(self, sizes: tuple[int, ...]) -> str:
        return named(next(self._serials), self._random.choice(sizes))

    def _some(self) -> Handle:
        """Rather one that is not over."""
        going_on = [handle for handle in self.handles if handle not in self._over]
        return self._random.choice(going_on if going_on and self._random.random() < 0.9 else self.handles)

    def _some_session(self) -> str | None:
        whole = [handle.session_id for handle in self.handles if not is_partial(handle)]
        return self._random.choice([None, *whole])

    async def _file(self, handle: Handle) -> LiveFile:
        session = await self.gateway._registry.get(handle.session_id)
        file = session.find(handle.file_id)
        assert file is not None
        return file


def is_partial(handle: Handle) -> bool:
    return handle.file_id.startswith("+")


def final_of(upload_ids: list[str]) -> str:
    """tus: the header that asks for a file made of those."""
    return "final;" + " ".join(f"/files/{upload_id}" for upload_id in upload_ids)


def sha256(data: bytes) -> Digest:
    return Digest("sha256", hashlib.sha256(data).digest())
