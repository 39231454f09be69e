"""Commands from another connection while tus-js-client uploads: it waits out a pause, and obeys a cancel."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.acceptance.api import Api, Upload
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.gateway import Gateway, running
from tests.acceptance.sizes import MIB, full_or, tell
from tests.acceptance.watcher import check_facts, check_offsets, watching
from tests.faults.proxy import Fault, Latency, proxied
from tests.interop.tus_js import TusJs, uploading
from tests.running import PATIENCE_S

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("tus_js")]

CONTENT = Content(4 * MIB + 17)
HOLD_S = full_or(1.0, 50.0)
PAUSE_S = full_or(3.0, 120.0)
CANCELS = full_or(10, 50)
BRIEFLY = [0, 50, 100, 150]  # milliseconds between its attempts; a cancel is for good
WAYS: dict[str, dict[str, Any]] = {
    "tus": {},
    "tus-chunks": {"chunkSize": MIB},
    "draft": {"protocol": "ietf-draft-05", "kind": "buffer"},
}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path, "--pause-hold-s", str(HOLD_S)) as gateway:
        yield gateway


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return CONTENT.write_to(tmp_path / "film.mp4")


def unhurried(number: int) -> Sequence[Fault]:
    """A second for the whole file: time to do something in the middle."""
    return [Latency(0, 0.015)]


def place_of(upload: Upload) -> dict[str, str]:
    """The metadata by which an upload fills this registered file."""
    return {"sessionId": upload.session_id, "fileId": upload.file_id}


async def until_received(upload: Upload, client: TusJs, count: int) -> None:
    """The server has so much of it, and the client is still at it."""
    await upload.until(lambda view: view["uploadedBytes"] >= count or client.ended.is_set())
    assert not client.ended.is_set(), client.told[-3:]


def rows(gateway: Gateway) -> dict[str, int]:
    return {name: len(gateway.rows()[name]) for name in ("sessions", "files")}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_it_waits_out_a_pause_and_goes_on(gateway: Gateway, source: Path, way: dict[str, Any]) -> None:
    """With the delays it comes with: past the hold it is told 423, asks for the offset, and is held again."""
    api = Api(gateway)
    upload = await api.create_one(CONTENT.size)
    before = rows(gateway)
    async with watching(api, upload.session_id) as watcher, proxied(api.url(""), unhurried) as (_, url):
        async with uploading(url, source, metadata=place_of(upload), **way) as client:
            await until_received(upload, client, CONTENT.size // 3)
            written = (await upload.pause()).json()["uploadedBytes"]
            assert 0 < written < CONTENT.size
            await stays_paused(gateway, client, written)
            assert (await upload.resume()).status == 200
            await client.succeed()
        await watcher.until_last_word()
    assert client.methods.count("POST") == 1
    assert 423 in client.statuses
    assert rows(gateway) == before
    check_facts(watcher)
    check_offsets(watcher.events)
    done = watcher.named("upload-completed")[0].payload
    assert done["attempt"] == 1
    assert file_sha256(gateway.published(done["uploadPath"])) == CONTENT.sha256()


async def stays_paused(gateway: Gateway, client: TusJs, written: int) -> None:
    """Not a byte more, though the client tries again and again, and is never lied to."""
    with trio.move_on_after(PAUSE_S):
        while True:
            assert gateway.incoming_bytes() == written
            assert not client.ended.is_set()
            await trio.sleep(0.02)
    heads = [told for told in client.named("answer") if told["method"] == "HEAD"]
    assert heads
    assert {(told["status"] // 100, told["offset"]) for told in heads} == {(2, written)}


def cancel_points() -> Iterator[int]:
    dice = random.Random(7)
    for _ in range(CANCELS):
        yield dice.randrange(1, CONTENT.size - MIB)


async def test_cancelled_at_any_point_it_does_not_begin_again(gateway: Gateway, source: Path) -> None:
    api = Api(gateway)
    for number, point in enumerate(cancel_points()):
        upload = await api.create_one(CONTENT.size)
        before = rows(gateway)

        def slow(number: int, point: int = point) -> Sequence[Fault]:
            return [Latency(point, 0.05)]

        async with proxied(api.url(""), slow) as (_, url):
            async with uploading(url, source, metadata=place_of(upload), retryDelays=BRIEFLY) as client:
                await until_received(upload, client, point // 2)
                assert (await upload.cancel()).status == 200
                assert await client.end() == 1
        (error,) = client.named("error")
        assert error.get("status") in (410, 423), error
        assert client.methods.count("POST") == 1
        assert rows(gateway) == before
        assert list((gateway.data / "incoming").iterdir()) == []
        assert not [path for path in (gateway.data / "upload").rglob("*") if path.is_file()]
        assert (await upload.show())["status"] == "cancelled"
        assert await status_of(api, client.url) == 423, "410 would make it upload all of it again"
        tell(f"cancelled {number + 1} of {CANCELS}, at byte {point}: {client.statuses}")


async def status_of(api: Api, url: str) -> int:
    """What a HEAD of the upload says, at the server itself."""
    path = url[url.index("/files/") :]
    return (await api.call("HEAD", path, headers={"Tus-Resumable": "1.0.0"})).status


async def test_a_cancel_reaches_one_that_only_asks(gateway: Gateway, source: Path) -> None:
    """Paused, so that it keeps asking; then cancelled: it hears of it, and does not begin again either."""
    api = Api(gateway)
    upload = await api.create_one(CONTENT.size)
    async with proxied(api.url(""), unhurried) as (_, url):
        async with uploading(url, source, metadata=place_of(upload), retryDelays=BRIEFLY) as client:
            await until_received(upload, client, CONTENT.size // 3)
            await upload.pause()
            with trio.fail_after(PATIENCE_S + HOLD_S):
                while 423 not in client.statuses:  # noqa: ASYNC110  # told by another process
                    await trio.sleep(0.02)
            assert (await upload.cancel()).status == 200
            assert await client.end(PATIENCE_S + 4 * HOLD_S) == 1
    assert client.named("error")[0].get("status") in (410, 423)
    assert client.methods.count("POST") == 1
    assert list((gateway.data / "incoming").iterdir()) == []
