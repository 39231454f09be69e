"""What clients do, played from a seed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio
import trio.testing

from penstock.protocol.commands import CreateSession, FileSpec
from penstock.protocol.errors import GatewayError
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.admission import Claim
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.resources import NewUpload
from penstock.server.uploads.small import Stored
from tests.powercut.clients import (
    MAX_BYTES,
    PIECES,
    SIZES,
    SMALL_SIZES,
    Clients,
    Handle,
    final_of,
    is_partial,
    sha256,
)
from tests.powercut.contents import content, flipped, joined
from tests.powercut.told import Completed, Registered
from tests.powercut.watching import Listener
from tests.server.uploads.rig import FedBody


class Player(Clients):
    """Steps of all kinds."""

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

    # Commands

    async def pause_or_resume(self) -> None:
        name = self._random.choice(("upload-pause", "upload-resume", "upload-resume"))
        await self._command(name, self._some(), alone=self._random.random() < 0.5)

    async def cancel(self) -> None:
        if self._random.random() < 0.4:
            await self._cancel(self._some(), alone=self._random.random() < 0.8)

    async def remove(self) -> None:
        if self._random.random() < 0.4:
            handle = self._some()
            self._say_going(handle)
            await self.gateway.resources.terminate(ANYBODY, handle.place)
            await self._note_end(handle)

    async def tidy(self) -> None:
        await self.gateway.janitor.round()
