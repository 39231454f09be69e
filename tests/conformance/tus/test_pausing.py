"""Uploads that somebody pauses, cancels or watches from elsewhere."""

from __future__ import annotations

import pytest

from tests.conformance.lines import tus as line
from tests.conformance.sessions import Session
from tests.conformance.tus.client import EXPECT, Tus, content
from tests.conformance.tus.test_concatenation import PARTIAL, final

BODY = content(400_000)
SENT = 100_000


@pytest.fixture(autouse=True)
def controlled(tus: Tus) -> None:
    if not tus.target.ours:
        pytest.skip("nothing is known of how to pause, cancel or watch on this server")


@line("H11", "U")
async def test_tus_H11_a_paused_upload_says_where_it_is(tus: Tus) -> None:
    session = await Session.made(tus.target, len(BODY))
    upload = await tus.create(len(BODY), session.metadata)
    await upload.append(0, BODY[:SENT])
    await session.command("upload-pause")
    answer = await upload.head()
    assert (answer.status, answer.offset) == (200, SENT)
    await session.command("upload-resume")
    await upload.finish(BODY)


@line("H11", "U")
async def test_tus_H11_a_held_append_does_not_hide_the_offset(tus: Tus) -> None:
    session = await Session.made(tus.target, len(BODY))
    upload = await tus.create(len(BODY), session.metadata)
    async with upload.patching(0, len(BODY), EXPECT) as exchange:
        await exchange.begun()
        await exchange.send(BODY[:SENT])
        await session.command("upload-pause")
        answer = await upload.head()
        assert answer.status == 200
        assert answer.offset <= SENT
    await session.command("upload-resume")
    await upload.finish(BODY)


@line("P12", "C")
async def test_tus_P12_a_pause_is_worth_a_retry(tus: Tus) -> None:
    """tus-js-client tries again after 423, and gives up after most other 4xx."""
    session = await Session.made(tus.target, len(BODY))
    upload = await tus.create(len(BODY), session.metadata)
    await session.command("upload-pause")
    answer = await upload.patch(0, BODY)  # held for a while first
    assert answer.status == 423
    assert int(answer["retry-after"]) >= 0
    assert answer.offset == 0
    await session.command("upload-resume")
    await upload.finish(BODY)


@line("P12", "C")
async def test_tus_P12_a_cancel_is_not_worth_a_retry(tus: Tus) -> None:
    session = await Session.made(tus.target, len(BODY))
    upload = await tus.create(len(BODY), session.metadata)
    await upload.append(0, BODY[:SENT])
    await session.command("upload-cancel")
    assert (await upload.patch(SENT, BODY[SENT:])).status == 410


@line("H8", "C")
async def test_tus_H8_a_cancelled_upload_is_not_begun_anew(tus: Tus) -> None:
    """tus-js-client answers 410 by uploading everything again, which is not what a cancel is for."""
    session = await Session.made(tus.target, len(BODY))
    upload = await tus.create(len(BODY), session.metadata)
    await upload.append(0, BODY[:SENT])
    await session.command("upload-cancel")
    assert (await upload.head()).status == 423


@line("T5", "U")
async def test_tus_T5_watchers_learn_of_a_termination(tus: Tus) -> None:
    session = await Session.made(tus.target, len(BODY))
    upload = await tus.create(len(BODY), session.metadata)
    await upload.append(0, BODY[:SENT])
    assert (await session.file())["status"] == "uploading"
    assert (await upload.delete()).status == 204
    assert (await session.file())["status"] == "cancelled"


@line("X11", "S")
async def test_tus_X11_parts_are_no_files(tus: Tus) -> None:
    session = await Session.made(tus.target, len(BODY))
    parts = [await tus.finished(piece, PARTIAL, session.metadata) for piece in (BODY[:SENT], BODY[SENT:])]
    assert (await session.file())["status"] != "completed"
    wanted = final(*(part.location for part in parts))
    upload = tus.created(await tus.post(wanted, session.metadata))
    await upload.check_content(BODY)
    assert (await session.file())["status"] == "completed"
