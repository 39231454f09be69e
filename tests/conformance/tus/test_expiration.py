"""Unfinished uploads end some day (tus 1.0.0, "Expiration")."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from tests.conformance.conftest import Start
from tests.conformance.lines import tus as line
from tests.conformance.tus.client import LOOK_EVERY_S, Tus, Upload, content, expires
from tests.conformance.wire import ANSWER_S, Answer

BODY = content(10_000)
RETENTION_S = 1.0
SHORT = ("--retention-s", str(RETENTION_S))
TIDY = ("--janitor-every-s", "0.1")  # Penstock; others look when they are asked
IMF_FIXDATE = re.compile(  # RFC 9110, section 5.6.7
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


@pytest.fixture(autouse=True)
def offered(tus: Tus) -> None:
    trio.run(tus.require, "expiration")


@pytest.fixture
def expiring(with_options: Start) -> Tus:
    """A server that forgets soon."""
    return Tus(with_options(*SHORT, ours=TIDY).target)


@line("E1", "M")
async def test_tus_E1_an_append_says_when_the_upload_expires(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    assert "upload-expires" in await upload.append(0, BODY[:100])


@line("E2", "M")
async def test_tus_E2_a_creation_says_when_the_upload_expires(tus: Tus) -> None:
    assert "upload-expires" in (await tus.create(len(BODY))).creation


@line("E3", "M")
async def test_tus_E3_the_end_is_an_http_date(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    appended = await upload.append(0, BODY[:100])
    answers = [answer for answer in (upload.creation, appended) if "upload-expires" in answer]
    assert answers
    assert all(IMF_FIXDATE.fullmatch(answer["upload-expires"]) for answer in answers)


@line("E4", "S")
async def test_tus_E4_an_expired_upload_is_gone(expiring: Tus) -> None:
    upload = await expiring.create(len(BODY))
    await upload.append(0, BODY[:100])
    gone = await until_gone(upload)
    assert gone.status in (404, 410)
    assert (await upload.patch(100, BODY[100:])).status in (404, 410)


async def until_gone(upload: Upload) -> Answer:
    with trio.fail_after(ANSWER_S):
        while (answer := await upload.head()).ok:  # noqa: ASYNC110  # it has no event for us
            await trio.sleep(LOOK_EVERY_S)
    return answer


@line("E5", "U")
async def test_tus_E5_head_says_when_the_upload_expires(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    assert IMF_FIXDATE.fullmatch((await upload.head())["upload-expires"])


@line("E6", "U")
async def test_tus_E6_bytes_put_the_end_off(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    before = expires(await upload.append(0, BODY[:100]))
    await trio.sleep(1.1)  # dates are in seconds
    assert expires(await upload.append(100, BODY[100:200])) > before


@line("E7", "U")
async def test_tus_E7_an_open_writer_keeps_its_upload(expiring: Tus) -> None:
    upload = await expiring.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:5000])
        await trio.sleep(2 * RETENTION_S)
        answer = await exchange.answer_to(BODY[5000:])
    assert (answer.status, answer.offset) == (204, len(BODY))
    await upload.check_content(BODY)


@line("E8", "U")
async def test_tus_E8_nothing_is_left_of_an_expired_upload(start: Start) -> None:
    server = start(*SHORT, ours=TIDY)
    upload = await Tus(server.target).create(len(BODY))
    await upload.append(0, BODY[:5000])
    assert list(holding(server.directory, BODY[:5000])), "or it is somewhere else"
    await until_gone(upload)
    with trio.fail_after(ANSWER_S):
        while holding(server.directory, BODY[:5000]):  # noqa: ASYNC110  # the same
            await trio.sleep(LOOK_EVERY_S)


def holding(directory: Path, wanted: bytes) -> list[Path]:
    """The files below it that hold these bytes."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return [path for path in files if wanted in path.read_bytes()]


@line("E9", "U")
async def test_tus_E9_a_finished_upload_stays(expiring: Tus) -> None:
    upload = await expiring.finished(BODY)
    await trio.sleep(2 * RETENTION_S)
    await upload.check_content(BODY)
