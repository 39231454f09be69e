"""Two writers on one file, stale offsets, a writer that died: who may go on, and that nobody is disturbed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.acceptance.api import Answer, Api, Putting, Upload
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.gateway import Gateway, polled, running
from tests.acceptance.sizes import MIB

pytestmark = pytest.mark.acceptance

CONTENT = Content(4 * MIB)
OTHER = Content(4 * MIB, seed=1)
SLOWLY_BYTES_PER_S = 1.5 * MIB


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path) as gateway:
        yield gateway


@pytest.fixture
async def upload(gateway: Gateway) -> Upload:
    return await Api(gateway).create_one(CONTENT.size)


@asynccontextmanager
async def healthy_writer(upload: Upload) -> AsyncIterator[list[Answer]]:
    """Somebody uploads, steadily, and must end well: the answer is there at the end."""
    answers: list[Answer] = []
    async with upload.putting(CONTENT) as putting, trio.open_nursery() as nursery:

        async def write() -> None:
            await putting.send_all(bytes_per_s=SLOWLY_BYTES_PER_S)
            answers.append(await putting.answer())

        nursery.start_soon(write)
        await upload.until_received(MIB // 2)
        yield answers
        assert answers == [], "it was to be disturbed while it writes"
    assert answers[0].status == 200
    check_stored(upload, answers[0], CONTENT)


@asynccontextmanager
async def dead_writer(upload: Upload, sent: int) -> AsyncIterator[Putting]:
    """Somebody sends a part, then nothing more, and keeps the connection."""
    async with upload.putting(CONTENT) as putting:
        await putting.send(sent)
        await upload.until_received(sent)
        yield putting


def check_stored(upload: Upload, answer: Answer, content: Content) -> None:
    stored = upload.api.gateway.published(answer.json()["uploadPath"])
    assert file_sha256(stored) == content.sha256()


async def test_a_healthy_writer_is_left_alone(upload: Upload) -> None:
    async with healthy_writer(upload):
        head = await upload.head()
        assert head.status == 423
        assert head.offset >= 0
        whole = await upload.put(OTHER)
        assert (whole.status, whole.json()["code"]) == (423, "UPLOAD_LOCKED")
        beyond = await upload.put(OTHER, start=CONTENT.size - 1000)
        assert (beyond.status, beyond.json()["code"]) == (409, "OFFSET_MISMATCH")
        assert beyond.offset == beyond.json()["details"]["offset"]
        guest = Upload(upload.api, upload.watch_key, upload.file_id, upload.watch_key)
        assert (await guest.head()).status == 200
        assert (await guest.put(OTHER)).status == 403


async def test_a_stale_offset_is_refused_and_disturbs_nobody(tmp_path: Path) -> None:
    async with running(tmp_path, "--sync-every-bytes", str(MIB // 2)) as gateway:
        upload = await Api(gateway).create_one(CONTENT.size)
        async with healthy_writer(upload):
            durable = (await upload.until(lambda view: view["durableBytes"] > 2000))["durableBytes"]
            stale = await upload.put(OTHER, start=1000, stop=2000)
            assert stale.status == 409
            assert stale.offset >= durable


async def test_the_head_of_a_dead_writers_owner_ends_it(upload: Upload) -> None:
    async with dead_writer(upload, 3 * MIB) as dead:
        head = await until_free(upload)
        assert (head.status, head.offset) == (200, 3 * MIB)
        assert head.headers["upload-length"] == str(CONTENT.size)
        old = await dead.answer()
        assert (old.status, old.headers["connection"]) == (423, "close")
        answer = await upload.put(CONTENT, head.offset)
        assert answer.status == 200
        check_stored(upload, answer, CONTENT)


async def until_free(upload: Upload) -> Answer:
    """Ask as clients do: a writer that moved a byte just now is not dead yet."""
    return await polled(upload.head, lambda head: head.status != 423)


async def test_whoever_knows_the_exact_offset_takes_over_at_once(upload: Upload) -> None:
    async with dead_writer(upload, 3 * MIB) as dead:
        answer = await upload.put(CONTENT, 3 * MIB)
        assert answer.status == 200
        assert (await dead.answer()).status == 423
        check_stored(upload, answer, CONTENT)


async def test_an_offset_in_between_takes_over_and_is_told_the_true_one(upload: Upload) -> None:
    async with dead_writer(upload, 3 * MIB) as dead:
        between = await upload.put(CONTENT, 2 * MIB)
        assert (between.status, between.offset) == (409, 3 * MIB)
        assert (await dead.answer()).status == 423
        answer = await upload.put(CONTENT, between.offset)
        check_stored(upload, answer, CONTENT)


async def test_a_dead_writers_late_bytes_go_nowhere(upload: Upload) -> None:
    async with dead_writer(upload, 3 * MIB) as dead:
        head = await until_free(upload)
        await dead.exchange.send(b"x" * 100_000)
        answer = await upload.put(CONTENT, head.offset)
        check_stored(upload, answer, CONTENT)


async def test_of_two_that_race_for_a_file_one_wins(upload: Upload) -> None:
    answers: list[Answer] = []

    async def race(content: Content) -> None:
        answers.append(await upload.put(content))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(race, CONTENT)
        nursery.start_soon(race, OTHER)
    statuses = sorted(answer.status for answer in answers)
    assert statuses[0] == 200
    assert statuses[1] in (409, 423)
    winner = next(answer for answer in answers if answer.status == 200)
    stored = file_sha256(upload.api.gateway.published(winner.json()["uploadPath"]))
    assert stored in (CONTENT.sha256(), OTHER.sha256()), "never a mixture"
