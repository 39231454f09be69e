"""Clients of one gateway, played from a seed: what they do, and what they note of its answers."""

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

from penstock.protocol.commands import CreateSession, FileSpec, parse_command
from penstock.protocol.errors import GatewayError, UploadCancelled
from penstock.protocol.lifecycle import State
from penstock.server.settings import KIB
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.admission import Claim, needs_restart
from penstock.server.uploads.digests import Digest
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.offsets import Manner, OffsetReport
from penstock.server.uploads.resources import NewUpload, Place
from penstock.server.uploads.small import Stored
from tests.powercut.contents import content, flipped, joined, named
from tests.powercut.told import Asking, Completed, Gone, Offset, Registered
from tests.powercut.watching import Listener, Say
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


class Player:
    """Steps of all kinds."""

    def __init__(
        self, gateway: Gateway, random: Random, say: Say, serials: count[int], handles: list[Handle]
    ) -> None:
        self.gateway = gateway
        self.handles = handles  # what there is; new ones are added
        self._random = random
        self._say = say
        self._serials = serials
        self._over: set[Handle] = set()  # complete, or gone

    async def steps(self, count: int) -> None:
        """Do so many things, one after the other, and look how all stands then."""
        for _ in range(count):
            await self._step()
        await self.look_at_all()

    async def _step(self) -> None:
        if self._over.issuperset(self.handles):
            await self.create_session()
        steps = (
            *(self.create_session, self.create_upload, self.store_small, self.concatenate),
            *(self.send_pieces, self.send_pieces, self.send_whole, self.send_whole, self.send_whole),
            *(self.send_digest, self.send_digest, self.send_digest, self.pause_or_resume),
            *(self.cancel, self.remove, self.tidy),
        )
        with suppress(GatewayError):
            await self._random.choice(steps)()

    # Creations

    async def create_session(self) -> None:
        names = [self._name(SIZES) for _ in range(self._random.randint(1, 3))]
        files = [
            FileSpec(file_name=name, file_size=self._random.choice((len(content(name, 1)), None)))
            for name in names
        ]
        made = await self.gateway.create_session(ANYBODY, CreateSession(files=files))
        for name, file in zip(names, made["files"], strict=True):
            upload_id = file["tusUrl"].rpartition("/")[2]
            self._note_made(Handle(made["sessionId"], file["fileId"], upload_id, name))
        await Listener(self._say).join(self.gateway, made["sessionId"])

    async def create_upload(self) -> None:
        await self._create(self._name(SIZES), digest_wanted=self._random.choice(("", "sha-256")))

    async def _create(self, name: str, **wanted: Any) -> Handle:
        length = self._random.choice((len(content(name, 1)), None))
        made = await self.gateway.resources.create(
            ANYBODY, NewUpload(file_name=name, length=length, session_id=self._some_session(), **wanted)
        )
        return self._note_made(Handle(made.place.session_id, made.place.file_id, made.place.upload_id, name))

    async def store_small(self) -> None:
        session_id = self._some_session()
        if session_id is None:
            return
        names = [self._name(SMALL_SIZES) for _ in range(self._random.randint(1, 4))]
        async with self.gateway.adding(ANYBODY, session_id) as intake:
            for name in names:
                data = memoryview(content(name, 1))
                await intake.hold(name, FileSpec(file_name=name), [data], len(data))
            outcomes = await intake.store()
        for one in outcomes:
            if isinstance(one, Stored):
                key = {"session_id": session_id, "file_id": one.file_id}
                self._say(Registered(**key))
                self._say(Completed(**key, attempt=1, path=one.upload_path))

    async def concatenate(self) -> None:
        """Partials, each in some pieces, and the file they become."""
        parts = [
            await self._create(self._name(SIZES), partial=True) for _ in range(self._random.randint(1, 3))
        ]
        for part in parts:
            for _ in range(self._random.randint(1, 3)):
                await self._send_piece(part, clips=True)
            await self._send_piece(part, MAX_BYTES, clips=True)
        names = [part.name for part in parts]
        wanted = NewUpload(file_name=joined(names), session_id=self._some_session())
        if not self.gateway.settings.keep_partials:
            for part in parts:
                self._say_going(part)
        ids = [part.upload_id for part in parts]
        made = await self.gateway.concatenation.run(ANYBODY, wanted, final_of(ids), ids)
        place = made.place
        final = self._note_made(Handle(place.session_id, place.file_id, place.upload_id, wanted.file_name))
        for one in (final, *parts):
            await self._note_end(one)

    def _note_made(self, handle: Handle) -> Handle:
        self._say(Registered(session_id=handle.session_id, file_id=handle.file_id))
        self.handles.append(handle)
        return handle

    # Bytes

    async def send_pieces(self) -> None:
        handle = self._some()
        for _ in range(self._random.randint(1, 4)):
            await self._send_piece(handle)

    async def _send_piece(self, handle: Handle, most: int = 0, **claim: Any) -> None:
        report = await self._look(handle)
        end = min(report.offset + (most or self._random.choice(PIECES)), handle.size)
        data = content(handle.name, report.attempt)[report.offset : end]
        body = FedBody(data, length=len(data), ended=True)
        await self._send(handle, Claim(report.offset, len(data), length=handle.size, **claim), body)

    async def send_whole(self) -> None:
        """From the beginning or the offset to the end, in pieces between which much can happen."""
        handle = self._some()
        report = await self._look(handle)
        again = self._random.random() < 0.4 and not is_partial(handle)
        claim = Claim(None, None, ends_file=True) if again else Claim(report.offset, None, length=handle.size)
        start, attempt = claim.offset or 0, await self._note_attempt(handle, claim)
        async with self._sending(handle, claim) as body:
            while start < handle.size:
                end = min(start + self._random.choice(PIECES), handle.size)
                body.feed(content(handle.name, attempt)[start:end])
                await trio.testing.wait_all_tasks_blocked(0.001)
                await self._interfere(handle, body)
                start = end
            body.end()

    async def _interfere(self, handle: Handle, body: FedBody) -> None:
        what = self._random.random()
        with suppress(GatewayError):
            if what < 0.1:
                await self._command("upload-pause", handle, alone=self._random.random() < 0.5)
                if what < 0.08:
                    await self._command("upload-resume", handle, alone=False)
            elif what < 0.13:
                body.break_off()
            elif what < 0.15:
                await self._cancel(handle, alone=True)
            elif what < 0.2:
                await self._look(handle, Manner.FORCE)
            elif what < 0.4:
                await self._look(handle)

    async def send_digest(self) -> None:
        """A piece with the digest of the right bytes. If others came, or it broke off, none stays."""
        handle = self._some()
        report = await self._look(handle)
        end = min(report.offset + self._random.choice((*PIECES, MAX_BYTES)), handle.size)
        right = content(handle.name, report.attempt)[report.offset : end]
        claim = Claim(report.offset, len(right), length=handle.size, digest=sha256(right))
        how = self._random.choice(("right", "wrong", "broken"))
        async with self._sending(handle, claim) as body:
            body.length = len(right)
            data = right if how == "right" else flipped(right)
            middle = self._random.randrange(len(data) + 1)
            for piece in (data[:middle], data[middle:]):
                body.feed(piece) if piece else None
                await trio.testing.wait_all_tasks_blocked(0.001)
                await self._try_look(handle)
                if how == "broken":
                    body.break_off()
            body.end()

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

    async def pause_or_resume(self) -> None:
        name = self._random.choice(("upload-pause", "upload-resume", "upload-resume"))
        await self._command(name, self._some(), alone=self._random.random() < 0.5)

    async def cancel(self) -> None:
        if self._random.random() < 0.4:
            await self._cancel(self._some(), alone=self._random.random() < 0.8)

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

    async def remove(self) -> None:
        if self._random.random() < 0.4:
            handle = self._some()
            self._say_going(handle)
            await self.gateway.resources.terminate(ANYBODY, handle.place)
            await self._note_end(handle)

    async def _command(self, name: str, handle: Handle, *, alone: bool) -> None:
        about = {"fileId": handle.file_id} if alone else {}
        await self.gateway.command(ANYBODY, parse_command(name, {"sessionId": handle.session_id, **about}))

    async def tidy(self) -> None:
        await self.gateway.janitor.round()

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
