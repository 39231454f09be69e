"""kill -9 in mid-upload, again and again: what was announced is kept, and little is sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.acceptance.api import Api, Putting, Upload
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.gateway import running, until
from tests.acceptance.sizes import MIB, full_or, tell
from tests.acceptance.watcher import Watcher, check_facts, check_offsets, watching

pytestmark = pytest.mark.acceptance

FILE_BYTES = full_or(24, 400) * MIB
KILLS = full_or(5, 20)
BYTES_PER_S = full_or(16, 64) * MIB
LOST_PER_KILL_BYTES = 4 * MIB  # two buffers, and some small change
OFTEN = ("--sync-every-bytes", str(MIB))  # or a small file would never announce anything on its way


class Announced:
    """The greatest offset that any channel has named so far."""

    def __init__(self) -> None:
        self.most = 0
        self.channels: set[str] = set()

    def note(self, channel: str, offset: int) -> None:
        self.most = max(self.most, offset)
        if offset:
            self.channels.add(channel)


async def test_killed_again_and_again_it_keeps_what_it_announced(tmp_path: Path) -> None:
    announced = Announced()
    received_bytes = await upload_with_kills(tmp_path, announced, KILLS, *OFTEN)
    assert received_bytes > FILE_BYTES * 0.9, "or it was not measured"
    assert received_bytes <= FILE_BYTES + KILLS * LOST_PER_KILL_BYTES
    assert announced.channels == {"put", "head", "snapshot", "progress", "event"}


@pytest.mark.parametrize("fsync", ["complete", "never"])
async def test_without_syncs_a_kill_loses_nothing_either(tmp_path: Path, fsync: str) -> None:
    announced = Announced()
    received_bytes = await upload_with_kills(tmp_path, announced, 2, "--fsync", fsync)
    assert received_bytes <= FILE_BYTES + 2 * LOST_PER_KILL_BYTES
    assert announced.most > 0


async def upload_with_kills(directory: Path, announced: Announced, kills: int, *options: str) -> int:
    """How many bytes were received until the file was whole: not what was sent, of which the kernel buffers
    several MiB that a killed server never sees."""
    content = Content(FILE_BYTES)
    upload: Upload | None = None
    received_bytes = 0
    for kill_at in kill_points(kills):
        async with running(directory, *options) as gateway:
            if upload is None:
                upload = await Api(gateway).create_one(content.size)
            upload.api.gateway = gateway
            offset = (await upload.head()).offset
            assert announced.most <= offset, "an announced offset is a promise"
            tell(f"{offset / MIB:.1f} MiB after the restart, {announced.most / MIB:.1f} MiB were announced")
            async with watching(upload.api, upload.session_id) as watcher:
                received_bytes += await put_until(upload, content, offset, kill_at, announced)
            note_events(watcher, announced)
            if kill_at == content.size:
                stored = gateway.published((await upload.show())["uploadPath"])
                assert file_sha256(stored) == content.sha256()
    return received_bytes


def kill_points(kills: int) -> Iterator[int]:
    """Spread over the file, none at a round number; the last one is the file's end."""
    for number in range(kills):
        yield (number + 1) * FILE_BYTES // (kills + 1) + number * 77_777
    yield FILE_BYTES


async def put_until(upload: Upload, content: Content, offset: int, kill_at: int, announced: Announced) -> int:
    """Send from `offset`; kill the server once `kill_at` was sent. The bytes it had received then."""
    gateway = upload.api.gateway
    before = gateway.read_bytes()
    first_stop = min(offset + MIB, content.size)  # a part of its own, for the 202
    answer = await upload.put(content, offset, first_stop)
    assert answer.status in (200, 202), answer
    if answer.status == 200:
        return gateway.read_bytes() - before
    announced.note("put", answer.offset)
    async with upload.putting(content, first_stop) as putting:
        if kill_at == content.size:
            await putting.send_all()
            assert (await putting.answer()).status == 200
            return gateway.read_bytes() - before
        await _send_while_asked(upload, putting, kill_at, announced)
        received_bytes = gateway.read_bytes() - before
        await gateway.kill()
    return received_bytes


async def _send_while_asked(upload: Upload, putting: Putting, kill_at: int, announced: Announced) -> None:
    async def send() -> None:
        with suppress(trio.BrokenResourceError):
            await putting.send_all(bytes_per_s=BYTES_PER_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while putting.position < kill_at:
            await ask_all(upload, announced)
        upload.api.gateway.freeze()
        nursery.cancel_scope.cancel()


async def ask_all(upload: Upload, announced: Announced) -> None:
    """Every way to ask for the offset that stops nobody."""
    guest = Upload(upload.api, upload.watch_key, upload.file_id, upload.watch_key)
    announced.note("head", (await guest.head()).offset)
    snapshot = await upload.api.snapshot(upload.session_id)
    announced.note("snapshot", snapshot["files"][0]["durableBytes"])
    progress = await upload.api.get(f"/api/upload/progress/{upload.watch_key}")
    announced.note("progress", progress["durableBytes"])


def note_events(watcher: Watcher, announced: Announced) -> None:
    check_facts(watcher)
    check_offsets(watcher.events)
    for event in watcher.named("upload-progress"):
        announced.note("event", event.payload["durableBytes"])


async def test_a_kill_between_a_pause_and_its_resume_loses_nothing(tmp_path: Path) -> None:
    content = Content(4 * MIB)
    async with running(tmp_path) as gateway:
        upload = await Api(gateway).create_one(content.size)
        async with watching(upload.api, upload.session_id) as watcher, upload.putting(content) as putting:
            await putting.send(3 * MIB)
            await until(lambda: gateway.incoming_bytes() > 0)
            ack = (await upload.pause()).json()
            fact = await watcher.until(
                lambda: next((e for e in watcher.facts if e.payload.get("fact")), None)
            )
            await gateway.kill()
        assert fact.payload["durableBytes"] == ack["uploadedBytes"]
    async with running(tmp_path) as gateway:
        upload.api.gateway = gateway
        assert (await upload.show())["status"] == "paused"
        offset = (await upload.head()).offset
        assert offset >= fact.payload["durableBytes"]
        await upload.resume()
        answer = await upload.put(content, offset)
        assert file_sha256(gateway.published(answer.json()["uploadPath"])) == content.sha256()


async def test_facts_go_on_after_a_kill_where_they_were(tmp_path: Path) -> None:
    content = Content(2 * MIB)
    async with running(tmp_path) as gateway:
        upload = await Api(gateway).create_one(content.size)
        async with watching(upload.api, upload.session_id) as before:
            assert (await upload.put(content, 0, MIB)).status == 202
            await upload.pause()
            await before.until(lambda: len(before.facts) == 2)
            await gateway.kill()
    last = before.facts[-1]
    async with running(tmp_path) as gateway:
        upload.api.gateway = gateway
        await upload.resume()
        async with watching(upload.api) as after:
            since = {"epoch": last.payload["epoch"], "seq": before.facts[0].seq}
            ack = await after.subscribe(upload.session_id, since)
            assert ack["recovered"] is True
            assert (await upload.put(content, MIB)).status == 200
            await after.until_last_word()
        assert after.facts[0] == last
        assert [e.name for e in after.facts[1:]] == [
            "upload-progress",
            "upload-completed",
            "session-completed",
        ]
        check_facts(after)
