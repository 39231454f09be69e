"""What must hold of a gateway that is opened on what a kill or a power cut has left (DESIGN: durability).

Every file's name says what its bytes are, so files are judged that nobody was told of, too.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from urllib.parse import unquote

from penstock.protocol.errors import FileNotFound, UploadCancelled
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.offsets import Manner
from penstock.storage.state.base import FileRow
from tests.powercut.contents import content
from tests.powercut.images import Image
from tests.powercut.returning import finish, resume
from tests.powercut.stores import Opened, Rows, Threadless, all_rows, fsync_named, opened, settings
from tests.powercut.told import Key, Ledger
from tests.server.uploads.sums import bytes_to_come

_WITHOUT_BLOB = (State.COMPLETED, State.CANCELLED)


class BrokenPromise(AssertionError):
    """The harness has found something."""


async def check(directory: Path, image: Image) -> None:
    """Open a gateway on an image that was written to `directory`, and hold it to what was told.

    Raises: BrokenPromise; whatever else the gateway raises is a finding as well.
    """
    ledger = Ledger(image.told)
    if not ledger.boot_id:
        return  # no process has begun yet
    boot_id = next_boot_id(image, ledger)
    async with opened(directory, settings(fsync_named(ledger.fsync)), boot_id, disk_type=Threadless) as there:
        examiner = Examiner(there, ledger, boot_id)
        await examiner.examine()
        await examiner.go_on()


def next_boot_id(image: Image, ledger: Ledger) -> str:
    """The kernel's of the next life: another one after a power cut."""
    return f"{ledger.boot_id}, and after a power cut" if image.variant.is_power_cut else ledger.boot_id


def demand(holds: bool, what: str, *more: object) -> None:
    if not holds:
        raise BrokenPromise(what, *more)


class Examiner:
    """Looks at one gateway that has just been opened."""

    def __init__(self, there: Opened, ledger: Ledger, boot_id: str) -> None:
        self._there = there
        self._gateway = there.gateway
        self._ledger = ledger
        self._fsync = there.gateway.settings.fsync
        self._rebooted = boot_id != ledger.boot_id
        self._keeps_bytes = self._fsync == "append" or not self._rebooted

    async def examine(self) -> None:
        """All that is promised, before anybody goes on."""
        rows = await all_rows(self._there.state)
        self._check_orphans(rows)
        demand(self._ledger.registered <= rows.files.keys(), "a created file is unknown")
        for key, row in rows.files.items():
            demand(row.state is not State.FINISHING, "left in finishing", key)
            await self._check_file(key)
        for session_id in self._ledger.facts:
            await self._check_facts(session_id)
        await self._check_sums()

    # Files

    async def _check_file(self, key: Key) -> None:
        try:
            report = await self._gateway.offset(ANYBODY, *key, Manner.PEEK)
        except UploadCancelled:
            await self._check_gone(key)
            return
        row = (await self._live(key)).row
        demand(key not in self._ledger.gone or row.state is State.FAILED, "what was cancelled is back", key)
        self._check_attempt(key, row)
        if row.state is State.COMPLETED:
            await self._check_completed(key, row)
        elif row.state is State.FAILED:
            demand(self._may_fail(), "the file has failed", key, row.error_message)
        else:
            demand(key not in self._ledger.completed, "a completed file is not complete", key, row.state)
            self._check_unfinished(key, row, report.offset)

    def _may_fail(self) -> bool:
        """Only where it was not synced before the machine went down, now or in an earlier life."""
        return self._fsync != "append" and (self._rebooted or self._ledger.rebooted)

    def _check_attempt(self, key: Key, row: FileRow) -> None:
        told, _ = self._ledger.offsets.get(key, (1, 0))
        asked = self._ledger.attempts.get(key, 1)
        demand(told <= row.attempt <= asked, "another attempt than was told or asked for", key, row.attempt)

    def _check_unfinished(self, key: Key, row: FileRow, offset: int) -> None:
        attempt, told = self._ledger.offsets.get(key, (row.attempt, 0))
        if row.attempt == attempt and self._keeps_bytes:
            demand(offset >= told, f"{told} bytes were announced, {offset} are here", key)
        demand(self._keeps_bytes or offset == 0, "bytes that were never synced are offered", key)
        stored = self._incoming(row.blob_key)
        demand(len(stored) == offset, "offset and bytes differ", key, offset, len(stored))
        right = content(row.file_name, row.attempt)
        demand(right.startswith(stored), "stored bytes are not those that were sent", key)

    async def _check_completed(self, key: Key, row: FileRow) -> None:
        known = self._ledger.completed.get(key)
        path = f"/upload/personal/{row.stored_name}"
        demand(known is None or unquote(known.path) == path, "it is in another place than was told", key)
        try:
            stored = await self._download(row)
        except FileNotFound:
            demand(self._may_be_torn, "a completed file is gone", key)
            return
        right = content(row.file_name, row.attempt)
        demand(stored == right or self._may_be_torn, "a completed file is not whole", key, len(stored))

    @property
    def _may_be_torn(self) -> bool:
        return self._fsync == "never" and (self._rebooted or self._ledger.rebooted)

    async def _check_gone(self, key: Key) -> None:
        demand(key in self._ledger.going, "cancelled by nobody", key)
        row = (await self._live(key)).row
        held = [path for path in (self._there.data / "incoming").iterdir() if row.upload_id in path.name]
        demand(held == [], "bytes of a cancelled file are left", key)
        name = row.stored_name
        published = name is not None and (self._there.data / "upload" / "personal" / name).exists()
        demand(not published, "a removed file is still published", key)

    # Facts, sums, orphans

    async def _check_facts(self, session_id: str) -> None:
        stored = dict(await self._there.state.facts(session_id, after=0, limit=100_000))
        demand(list(stored) == list(range(1, len(stored) + 1)), "facts have a gap")
        for fact in self._ledger.facts[session_id]:
            lasts = (
                fact.seq <= self._ledger.hard_seq(session_id, fact.epoch) or fact.epoch == self._gateway.epoch
            )
            same = zlib.crc32(stored.get(fact.seq, b"")) == fact.crc
            demand(same or not lasts, "a fact that was told is not replayed", fact)

    async def _check_sums(self) -> None:
        """Every session is in memory by now."""
        reserved = 0
        for session in self._gateway._registry.sessions.values():
            partials = list(session.partials.values())
            reserved += sum(bytes_to_come(file, partials) for file in session.all_files)
        statistics = self._gateway.statistics()
        demand(statistics.reserved_bytes == reserved, "reserved", statistics.reserved_bytes, reserved)
        held = statistics.appends, statistics.buffer_bytes, self._there.blobs.statistics.open_writers
        demand((*held, self._there.blobs.statistics.open_readers) == (0, 0, 0, 0), "something is held", held)

    def _check_orphans(self, rows: Rows) -> None:
        keys = {row.blob_key for row in rows.files.values() if row.state not in _WITHOUT_BLOB}
        names = {row.stored_name for row in rows.files.values() if row.state is State.COMPLETED}
        incoming = {path.name for path in (self._there.data / "incoming").iterdir()}
        published = {path.name for path in (self._there.data / "upload").glob("*/*")}
        demand(incoming <= keys, "orphans in incoming/", incoming - keys)
        demand(published <= names, "orphans in upload/", published - names)

    async def go_on(self) -> None:
        """Every client comes back, and finishes what it has begun."""
        rows = await all_rows(self._there.state)
        for session_id in rows.sessions:
            await resume(self._gateway, session_id)
        for key, row in sorted(rows.files.items(), key=lambda pair: pair[1].is_final):
            if await finish(self._gateway, row, rows.files.values()):
                await self._check_finished(key)
        await self._check_sums()
        await self._gateway.drain()

    async def _check_finished(self, key: Key) -> None:
        row = (await self._live(key)).row
        if row.is_partial:
            stored = self._incoming(row.blob_key)
        else:
            demand(row.state is State.COMPLETED, "all was sent, and it is not complete", key, row.state)
            stored = await self._download(row)
        right = content(row.file_name, row.attempt)
        demand(stored == right, "what a client has completed is not what it sent", key, len(stored))

    # What is there

    async def _live(self, key: Key) -> LiveFile:
        file = (await self._gateway._registry.get(key[0])).find(key[1])
        assert file is not None
        return file

    def _incoming(self, key: str) -> bytes:
        path = self._there.data / "incoming" / key
        return path.read_bytes() if path.exists() else b""

    async def _download(self, row: FileRow) -> bytes:
        _, reader = await self._gateway.open_finished("personal", row.stored_name or "")
        try:
            return await reader.read_at(0, reader.size)
        finally:
            await reader.aclose()
