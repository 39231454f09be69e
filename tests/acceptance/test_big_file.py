"""A big file by curl, watched from two places; and many at once. Memory stays flat in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.acceptance.api import Api, Upload
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.curl import Curl
from tests.acceptance.gateway import running
from tests.acceptance.sizes import MIB, full_or, tell
from tests.acceptance.watcher import Seen, Watcher, check_facts, check_offsets, watching

pytestmark = pytest.mark.acceptance

FILE_BYTES = full_or(64, 2048) * MIB
BYTES_PER_S = full_or(8, 80) * MIB
LEAST_SAMPLES = full_or(8, 20)

MANY = 50
MANY_BYTES = full_or(8, 64) * MIB

ONE_UPLOAD_PEAK_BYTES = 120 * MIB
MANY_UPLOADS_PEAK_BYTES = 180 * MIB


async def test_a_big_file_arrives_as_it_was_sent_while_two_watch(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    curl = Curl(require_program("curl"))
    content = Content(FILE_BYTES)
    source = content.write_to(tmp_path / "film.mp4")
    async with running(tmp_path) as gateway:
        api = Api(gateway)
        upload = await api.create_one(content.size)
        async with watching(api, upload.session_id) as writer, watching(api, upload.watch_key) as guest:
            result = await curl.put(upload, source, bytes_per_s=BYTES_PER_S)
            assert result.status == 200, result
            await writer.until_last_word()
            await guest.until_last_word()
        done = writer.named("upload-completed")[0].payload
        assert file_sha256(gateway.published(done["uploadPath"])) == content.sha256()
        tell(f"{content.size // MIB} MiB, peak {gateway.peak_memory_bytes() // MIB} MiB")
        assert gateway.peak_memory_bytes() < ONE_UPLOAD_PEAK_BYTES
        assert list((gateway.data / "incoming").iterdir()) == []
    for watcher in (writer, guest):
        check_facts(watcher)
        check_offsets(watcher.events)
        check_progress(watcher, content.size)
    assert facts_of(writer) == facts_of(guest)


def check_progress(watcher: Watcher, size: int) -> None:
    samples = [e for e in watcher.named("upload-progress") if not e.is_fact and e.payload["fileId"]]
    received = [sample.payload["uploadedBytes"] for sample in samples]
    assert len(samples) >= LEAST_SAMPLES
    assert received == sorted(set(received)), "strictly rising"
    assert (samples[-1].payload["progress"], received[-1]) == (100, size)
    check_spacing(samples)
    names = [(e.name, e.payload.get("fileId")) for e in watcher.events]
    assert names[0] == ("upload-started", "f1")
    assert names[-4:] == [
        ("upload-progress", "f1"),
        ("upload-completed", "f1"),
        ("session-completed", None),
        ("upload-progress", None),
    ]
    last = watcher.events[-1].payload
    assert (last["overallStatus"], last["totalProgress"]) == ("completed", 100)
    assert [e.payload["fileId"] for e in watcher.named("upload-progress")].count(None) == 1


def check_spacing(samples: Sequence[Seen]) -> None:
    """Two throttled samples are more than half a second apart; the first and the last are not throttled."""
    throttled = samples[1:-1]
    for one, next_one in pairwise(throttled):
        assert next_one.at_ms - one.at_ms >= 500  # times are cut to milliseconds


def facts_of(watcher: Watcher) -> list[tuple[str, int, dict[str, Any]]]:
    """All but the session's id, for which guests have another one."""
    return [(e.name, e.seq, {**e.payload, "sessionId": ""}) for e in watcher.facts]


async def test_many_uploads_at_once_share_little_memory(tmp_path: Path) -> None:
    contents = [Content(MANY_BYTES, seed=number) for number in range(5)]
    digests = [content.sha256() for content in contents]
    paths: list[str] = [""] * MANY
    async with running(tmp_path) as gateway:
        api = Api(gateway)
        created = await api.create(
            *({"fileName": f"{n}.bin", "fileId": f"f{n}", "fileSize": MANY_BYTES} for n in range(MANY))
        )

        async def put(number: int) -> None:
            upload = Upload(api, created["sessionId"], f"f{number}", created["watchKey"])
            answer = await upload.put(contents[number % 5])
            assert answer.status == 200, answer
            paths[number] = answer.json()["uploadPath"]

        async with trio.open_nursery() as nursery:
            for number in range(MANY):
                nursery.start_soon(put, number)
        tell(f"{MANY} × {MANY_BYTES // MIB} MiB, peak {gateway.peak_memory_bytes() // MIB} MiB")
        assert gateway.peak_memory_bytes() < MANY_UPLOADS_PEAK_BYTES
        for number, path in enumerate(paths):
            assert file_sha256(gateway.published(path)) == digests[number % 5]
