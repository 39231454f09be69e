"""What clients and watchers of upload resources do. Each step returns at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from penstock.protocol.lifecycle import ENDED, State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.admission import Claim
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.idempotency import IdempotencyKey
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.resources import NewUpload, Place
from tests.server.uploads.resource_model import KIB, MOST_BYTES, Request, Sender, Upload
from tests.server.uploads.resource_world import REGISTERED, SIZES, World


class Clients(World):
    """The steps of a test, by name."""

    # Creations

    async def create(self, kind: str, size: int, joins: str) -> None:
        self.variants += 1
        wanted: dict[str, Any] = {"length": None if kind in ("deferred", "partial-deferred") else size}
        wanted["partial"] = kind.startswith("partial")
        wanted["stays_open"] = kind == "stays-open"
        wanted["upload_metadata"] = f"filename {self.variants}"
        if joins != "alone":
            wanted["session_id"] = self.session_id
        if joins in REGISTERED:
            wanted["file_id"] = joins
        if joins in REGISTERED and not wanted["partial"]:
            size = REGISTERED[joins] or 60 * KIB
            if wanted["length"] is not None and self.variants % 4:
                wanted["length"] = size  # else it has another one, and is refused
        self.ask(Request(), partial(self.make, NewUpload(**wanted), size, None))

    async def create_keyed(self, key: str) -> None:
        """One of two creations that are repeated over and over."""
        size = SIZES[int(key)]
        wanted = NewUpload(length=size, file_name=key)
        self.ask(Request(), partial(self.make, wanted, size, IdempotencyKey("POST /files/", key, key)))

    async def create_partial(self, size: int, joins: str) -> None:
        """With all its bytes."""
        wanted = NewUpload(
            length=size,
            partial=True,
            session_id=None if joins == "alone" else self.session_id,
            file_id=joins if joins in REGISTERED else None,
        )
        self.ask(Request(), partial(self.make_partial, wanted, size))

    async def make_partial(self, wanted: NewUpload, size: int) -> None:
        rig = self.rig
        place = await self.make(wanted, size, None)
        if rig is self.rig:
            sender = Sender(self.uploads[place.upload_id], 0, size, rubbish=False, chunked=False)
            sender.feed(size)
            await self.send(sender, Claim(0, size, clips=True))

    async def make(self, wanted: NewUpload, size: int, key: IdempotencyKey | None) -> Place:
        rig = self.rig
        made = await rig.gateway.resources.create(ANYBODY, wanted, key)
        if rig is not self.rig:
            return made.place  # the process was killed, the client has no answer
        self.know(made.place, size, partial=wanted.partial)
        upload_id = made.place.upload_id
        if key is not None:
            known = self.keyed.setdefault(key.key, upload_id)
            if self.row_of(known) is not None:
                assert known == upload_id, "a repeated creation made a second upload"
            self.keyed[key.key] = upload_id
        return made.place

    async def concatenate(self, which: Sequence[int], joins: str) -> None:
        pieces = [one for one in (self.upload(index, partials=True) for index in which) if one is not None]
        if not pieces:
            return
        ids = [piece.place.upload_id for piece in pieces]
        concat = "final;" + " ".join(f"/files/{upload_id}" for upload_id in ids) + f" {joins}"
        self.finals.pieces[concat] = pieces
        wanted: dict[str, Any] = {"upload_metadata": joins}
        if joins != "alone":
            wanted["session_id"] = self.session_id
        if joins in REGISTERED:
            wanted["file_id"] = joins
        self.ask(Request(), partial(self.put_together, NewUpload(**wanted), concat, ids))

    async def put_together(self, wanted: NewUpload, concat: str, ids: list[str]) -> None:
        rig = self.rig
        before = self.finals.places.get(concat)
        living = before is not None and self.is_living(before, concat)
        made = await rig.gateway.concatenation.run(ANYBODY, wanted, concat, ids)
        if rig is not self.rig:
            return
        if living and before is not None and self.is_living(before, concat):
            assert made.place == before, "the same list made a second file"
        self.note_sizes()
        self.finals.places[concat] = made.place
        self.know(made.place, made.offset)
        file = rig.live(made.place.session_id).files[made.place.file_id]
        assert file.row.state is State.COMPLETED
        assert file.durable == made.offset == len(self.finals.expected(concat))

    def is_living(self, place: Place, concat: str) -> bool:
        session = self.rig.gateway._registry.sessions.get(place.session_id)
        if session is None:
            return False  # it may be, or be forgotten
        row = session.files[place.file_id].row
        ended_badly = row.state in ENDED and row.state is not State.COMPLETED
        return row.upload_concat == concat and not (ended_badly or row.removed)

    # Appends

    async def patch(self, which: int, at: str, says: str, kind: str) -> None:
        upload = self.upload(which)
        file = await self.file(upload) if upload is not None else None
        if upload is None or file is None:
            return
        self.variants += 1
        start = {"received": file.received, "off": file.durable + 7}.get(at, file.durable)
        until = upload.length + (5 if says == "too-much" else 0)
        if says == "some":
            until = start + (until - start) // 2
        start = min(start, MOST_BYTES)
        rubbish = at == "off" or kind in ("wrong-digest",)
        sender = Sender(upload, start, max(start, until), rubbish=rubbish, chunked=bool(self.variants % 2))
        claim: dict[str, Any] = {"clips": kind != "draft" or self.variants % 3 == 0}
        if file.row.file_size is None and says in ("length", "short"):
            claim["length"] = upload.length if says == "length" else start + 10
        if kind == "draft":
            claim |= {"ends_file": says != "some", "stays_open": says == "some"}
        if kind.endswith("digest"):
            claim["digest"] = sender.digest()
        self.ask(sender, partial(self.send, sender, Claim(start, sender.body.length, **claim)))

    async def put(self, which: int) -> None:
        """All of it, as PUT does it: a new attempt, if there is something already."""
        upload = self.upload(which)
        file = await self.file(upload) if upload is not None else None
        if upload is None or file is None or upload.partial:
            return
        sender = Sender(upload, 0, upload.length, rubbish=False, chunked=False)
        claim = Claim(None, upload.length, ends_file=True, retry_limit=True)
        self.ask(sender, partial(self.send, sender, claim))

    async def send(self, sender: Sender, claim: Claim) -> None:
        place = sender.upload.place
        async with self.rig.gateway.append(ANYBODY, place.session_id, place.file_id, claim) as transfer:
            await transfer.pump(sender.body)

    async def send_all(self, which: int, says: str, kind: str) -> None:
        """As `patch`, with its whole body at once."""
        await self.patch(which, "exact", says, kind)
        if isinstance(self.asked, Sender):
            self.asked.feed(MOST_BYTES)
            self.asked.end()

    async def feed(self, which: int, count: int) -> None:
        if sender := self.sender(which):
            sender.feed(count)

    async def feed_all(self, which: int) -> None:
        if sender := self.sender(which):
            sender.feed(MOST_BYTES)
            sender.end()

    async def end(self, which: int) -> None:
        if sender := self.sender(which):
            sender.end()

    async def break_off(self, which: int) -> None:
        if sender := self.sender(which):
            sender.body.break_off()

    async def cut(self, which: int) -> None:
        if request := self.running(which):
            request.scope.cancel()

    # Questions and commands

    async def head(self, which: int, manner: Manner) -> None:
        if upload := self.upload(which):
            self.ask(Request(), partial(self.report, upload, manner))

    async def report(self, upload: Upload, manner: Manner) -> None:
        rig = self.rig
        report = await rig.head(upload.place, manner)
        if rig is not self.rig:
            return
        upload.tell(report.attempt, report.offset)
        assert report.length is None or report.offset <= report.length
        assert report.attempt > upload.gone, "it was gone for good"
        if manner is Manner.POLITE and not upload.partial and report.upload_concat is None:
            assert report.complete or report.offset != report.length, "its client would take it for complete"

    async def command(self, name: str, which: int | None) -> None:
        upload = self.upload(which) if which is not None else None
        if upload is not None and upload.partial:
            return
        self.ask(Request(), partial(self.run_command, name, upload))

    async def run_command(self, name: str, upload: Upload | None) -> None:
        rig = self.rig
        if upload is None:
            await rig.command(name, self.session_id)
            return
        place = upload.place
        answer = await rig.command(name, place.session_id, fileId=place.file_id)
        file = self.file_in_memory(upload) if rig is self.rig else None
        if file is None:
            return
        if name == "upload-cancel":
            assert file.row.state in (State.CANCELLED, State.FAILED)
            self.assert_gone(file)
            if file.row.state is State.CANCELLED:
                upload.gone = file.row.attempt
        elif file.row.state not in ENDED:
            upload.tell(file.row.attempt, answer["durableBytes"])

    async def terminate(self, which: int) -> None:
        if upload := self.upload(which):
            self.ask(Request(), partial(self.run_termination, upload))

    async def run_termination(self, upload: Upload) -> None:
        rig = self.rig
        await rig.gateway.resources.terminate(ANYBODY, upload.place)
        if rig is not self.rig:
            return
        if file := self.file_in_memory(upload):
            self.assert_gone(file)
            upload.gone = file.row.attempt

    def assert_gone(self, file: LiveFile) -> None:
        """After a cancel or a termination nothing is left that costs."""
        for one in [file, *file.parts] if file.row.state is State.CANCELLED else [file]:
            assert one.row.blob_key not in self.rig.blobs.incoming_blobs
            assert one.reserved_bytes == 0
            assert one.append is None
        if file.row.removed and file.row.stored_name is not None:
            assert ("personal", file.row.stored_name) not in self.rig.blobs.published_blobs
