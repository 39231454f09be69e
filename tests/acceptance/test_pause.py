"""Pause from a second connection: not one byte more on the disk, nothing lost, whichever way bytes take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from tests.acceptance.api import Api, Upload
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.curl import Curl, Result
from tests.acceptance.gateway import Gateway, running
from tests.acceptance.sizes import MIB, full_or
from tests.acceptance.watcher import Watcher, check_facts, check_offsets, watching

pytestmark = pytest.mark.acceptance

FILE_BYTES = full_or(8, 512) * MIB
BYTES_PER_S = full_or(4, 40) * MIB
HOLD_S = full_or(1.5, 3.0)
SHORT_PAUSE_S = HOLD_S / 2
PAST_THE_HOLD_S = 1.0


class Way(NamedTuple):
    """How the bytes come in."""

    server: tuple[str, ...]
    curl: tuple[str, ...]
    version: str


WAYS = {
    "direct": Way((), ("--http1.1",), "HTTP/1.1"),
    "ordinary": Way(("--no-fast-path",), ("--http1.1",), "HTTP/1.1"),
    "http2": Way(("--h2c",), ("--http2-prior-knowledge",), "HTTP/2"),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


async def test_resumed_within_the_hold_the_same_request_goes_on(
    tmp_path: Path, require_program: Callable[[str], str], way: Way
) -> None:
    curl = Curl(require_program("curl"), *way.curl)
    content = Content(FILE_BYTES)
    source = content.write_to(tmp_path / "film.mp4")
    async with running(tmp_path, "--pause-hold-s", str(HOLD_S * 20), *way.server) as gateway:
        upload = await Api(gateway).create_one(content.size)
        async with watching(upload.api, upload.session_id) as watcher, trio.open_nursery() as nursery:
            results: list[Result] = []
            nursery.start_soon(_put, curl, upload, source, results)
            await pause_in_the_middle(upload, watcher)
            sizes = await sizes_while(gateway, SHORT_PAUSE_S)
            assert sizes == {watcher.named("upload-progress")[-1].payload["durableBytes"]}
            assert results == []
            assert (await upload.resume()).status == 200
            await watcher.until_last_word()
        assert (results[0].status, results[0].version) == (200, way.version), results
        check_result(watcher, gateway, content)
        states = [e.payload["currentFile"]["status"] for e in watcher.facts if e.name == "upload-progress"]
        assert states == ["paused", "uploading"]


async def test_past_the_hold_the_request_ends_and_another_goes_on(
    tmp_path: Path, require_program: Callable[[str], str], way: Way
) -> None:
    curl = Curl(require_program("curl"), *way.curl)
    content = Content(FILE_BYTES)
    source = content.write_to(tmp_path / "film.mp4")
    async with running(tmp_path, "--pause-hold-s", str(HOLD_S), *way.server) as gateway:
        upload = await Api(gateway).create_one(content.size)
        async with watching(upload.api, upload.session_id) as watcher:
            results: list[Result] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_put, curl, upload, source, results)
                await pause_in_the_middle(upload, watcher)
                sizes = await sizes_while(gateway, HOLD_S + PAST_THE_HOLD_S)
            offset = results[0].offset
            assert (results[0].status, results[0].version) == (423, way.version), results
            assert sizes == {offset}
            assert (await upload.head()).offset == offset
            assert (await upload.resume()).status == 200
            last = await curl.put(upload, source, start=offset)
            assert last.status == 200, last
            await watcher.until_last_word()
        check_result(watcher, gateway, content)


async def _put(curl: Curl, upload: Upload, source: Path, results: list[Result]) -> None:
    results.append(await curl.put(upload, source, bytes_per_s=BYTES_PER_S))


async def pause_in_the_middle(upload: Upload, watcher: Watcher) -> None:
    """From another connection, between 30 and 70 %."""
    await upload.until(lambda view: view["progress"] > 30)
    ack = await upload.pause()
    assert ack.status == 200, ack
    written = ack.json()["uploadedBytes"]
    assert 0.3 < written / FILE_BYTES < 0.7
    assert upload.api.gateway.incoming_bytes() == written, "the file does not grow from the ack on"
    fact = await watcher.until(lambda: next((e for e in watcher.facts if e.payload.get("fact")), None))
    assert fact.payload["durableBytes"] == written


async def sizes_while(gateway: Gateway, seconds: float) -> set[int]:
    """Every size the unfinished file has on the disk in this time."""
    sizes = set()
    with trio.move_on_after(seconds):
        while True:
            sizes.add(gateway.incoming_bytes())
            await trio.sleep(0.005)
    return sizes


def check_result(watcher: Watcher, gateway: Gateway, content: Content) -> None:
    check_facts(watcher)
    check_offsets(watcher.events)
    done = watcher.named("upload-completed")[0].payload
    assert done["attempt"] == 1
    assert file_sha256(gateway.published(done["uploadPath"])) == content.sha256()


async def test_the_latch_holds_a_file_that_is_registered_after_it(tmp_path: Path) -> None:
    content = Content(2 * MIB)
    async with running(tmp_path) as gateway:
        api = Api(gateway)
        first = await api.create_one(content.size)
        assert (await api.command(first.session_id, "upload-pause")).status == 200
        added = await api.call(
            "POST",
            f"/api/upload/sessions/{first.session_id}/files",
            {"files": [{"fileName": "late.bin", "fileId": "late", "fileSize": content.size}]},
        )
        assert added.status == 201
        late = Upload(api, first.session_id, "late", first.watch_key)
        async with watching(api, first.session_id) as watcher, late.putting(content) as putting:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(putting.send_all)
                paused = await watcher.until_event("upload-progress")
                assert (paused.payload["fileId"], paused.payload["currentFile"]["status"]) == (
                    "late",
                    "paused",
                )
                assert await sizes_while(gateway, 0.5) == {0}
                assert (await api.command(first.session_id, "upload-resume")).status == 200
            answer = await putting.answer()
        assert answer.status == 200
        stored = gateway.published(answer.json()["uploadPath"])
        assert file_sha256(stored) == content.sha256()
        check_facts(watcher)
