"""Several requests for one upload: who may write, who is told what."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial

import pytest
import trio

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import Tus, content, is_worth_a_retry, together
from tests.conformance.wire import Answer, NoAnswer

BODY = content(400_000)
SENT = 100_000
ROUNDS = 5
TAKEOVER_S = 2.0  # for what should take 0.2: longer than a busy machine, shorter than a locker that polls
STEP_BYTES, PAUSE_S = 4000, 0.01


@line("H7", "U")
async def test_tus_H7_head_names_no_offset_that_the_next_append_cannot_use(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:SENT])
        head = await upload.head()
        if head.status == 423:
            head = await upload.settled()
        assert head.ok, head
        answer = await upload.patch(head.offset, BODY[head.offset :])
        assert (answer.status, answer.offset) == (204, len(BODY))
    await upload.check_content(BODY)


@line("H8", "C")
async def test_tus_H8_a_busy_upload_is_not_said_to_be_gone(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:SENT])
        assert (await upload.head()).status in (200, 204, 423)


@line("H10", "C")
async def test_tus_H10_what_is_said_to_be_whole_is_finished(tus: Tus) -> None:
    """tus-js-client reports success as soon as a HEAD says so, whatever became of the last append."""
    upload = await tus.create(len(BODY))
    await upload.append(0, BODY[:SENT])
    answers: list[Answer] = []

    async def append() -> None:
        answers.append(await upload.append(SENT, BODY[SENT:]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append)
        while (head := await upload.head()).status == 423 or head.offset < len(BODY):
            assert head.status in (200, 204, 423)
        seen = await upload.get()
    assert seen.status != 200 or seen.body == BODY


@line("P11", "U")
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_tus_P11_two_appends_of_the_same_bytes(tus: Tus, number: int) -> None:
    body = BODY[: len(BODY) - number]
    upload = await tus.create(len(body))
    answers = await together(partial(upload.patch, 0, body), partial(upload.patch, 0, body))
    refused = [answer for answer in answers if answer is None or answer.status != 204]
    assert len(refused) >= 1, "both are said to be stored"
    assert all(map(is_worth_a_retry, refused)), refused
    await upload.finish(body)


@line("P11", "U")
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_tus_P11_two_appends_of_different_bytes_do_not_mix(tus: Tus, number: int) -> None:
    size = len(BODY) + number
    upload = await tus.create(size)
    await together(*(partial(upload.patch, 0, letter * size) for letter in (b"a", b"b")))
    if (offset := await upload.offset()) < size:
        await upload.append(offset, b"c" * (size - offset))
    assert await upload.offset() == size
    got = await upload.get()
    assert got.status != 200 or re.fullmatch(rb"(a*|b*)c*", got.body)


@line("P11", "U")
async def test_tus_P11_two_slow_appends_leave_the_right_bytes(tus: Tus) -> None:
    """The second begins where the first has come to, while the first goes on."""
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as first:
        await first.send(BODY[:SENT])
        offset = await upload.offset()
        async with upload.patching(offset, len(BODY) - offset) as second:
            await first.trickle(BODY[SENT : SENT + 5 * STEP_BYTES], STEP_BYTES, PAUSE_S)
            answer = await second.answer_to(BODY[offset:])
    assert answer.status == 204
    await upload.check_content(BODY)


@line("L1", "U")
async def test_tus_L1_a_silent_writer_gives_way_to_head(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:SENT])
        with trio.fail_after(TAKEOVER_S):
            answer = await upload.settled()
        assert answer.offset == SENT
        await upload.append(SENT, BODY[SENT:])
    await upload.check_content(BODY)


@line("L2", "U")
async def test_tus_L2_a_stopped_writer_is_not_told_that_all_is_well(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:SENT])
        await upload.settled()
        answer: Answer | None = None
        with suppress(NoAnswer):
            answer = await exchange.answer()
    assert is_worth_a_retry(answer), answer


@line("L3", "U")
async def test_tus_L3_a_download_disturbs_no_writer(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:SENT])
        for version in ("1.0.0", None):
            await tus.ask("GET", upload.path, version=version)
        answer = await exchange.answer_to(BODY[SENT:])
    assert (answer.status, answer.offset) == (204, len(BODY))
    await upload.check_content(BODY)


@line("L4", "U")
async def test_tus_L4_head_leaves_a_healthy_writer_alone(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    heads: list[Answer] = []

    async def look() -> None:
        while len(heads) < 3:
            heads.append(await upload.head())

    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:SENT])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await exchange.trickle(BODY[SENT:-1], STEP_BYTES, PAUSE_S)
        answer = await exchange.answer_to(BODY[-1:])
    assert (answer.status, answer.offset) == (204, len(BODY))
    assert [head.status for head in heads] == [423] * 3
    await upload.check_content(BODY)
