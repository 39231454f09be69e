"""Cancellation, and several requests at once (draft: "Upload Cancellation", "Concurrency")."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest

from tests.conformance.lines import rufh as line
from tests.conformance.rufh.client import Draft, limits
from tests.conformance.tus.client import content, together
from tests.conformance.wire import Answer, NoAnswer

BODY = content(400_000)
SENT = 100_000
ROUNDS = 5


@line("D1", "S")
@pytest.mark.parametrize("sent", [0, SENT])
async def test_rufh_D1_an_upload_can_be_cancelled(draft: Draft, sent: int) -> None:
    upload = await draft.begin(len(BODY), BODY[:sent])
    assert (await upload.delete()).status == 204


@line("D2", "S")
async def test_rufh_D2_running_requests_end_first(draft: Draft) -> None:
    upload = await draft.begin(len(BODY))
    async with upload.appending(0, len(BODY), complete=True) as exchange:
        await exchange.send(BODY[:SENT])
        assert (await upload.delete()).ok
        await exchange.send(BODY[SENT:])
        told = await exchange.until_closed()
    assert b"HTTP/1.1 2" not in told
    await upload.check_gone()


@line("D3", "S")
async def test_rufh_D3_delete_does_not_lead_elsewhere(draft: Draft) -> None:
    assert (await (await draft.begin(5)).delete()).status not in (301, 302)


@line("D4", "U")
async def test_rufh_D4_a_cancelled_upload_is_gone(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:SENT])
    await upload.delete()
    await upload.check_gone()


@line("S1", "M")
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_rufh_S1_two_appends_at_once_do_not_mix(draft: Draft, number: int) -> None:
    size = len(BODY) + number
    upload = await draft.begin(size)
    await together(*(partial(upload.append, 0, letter * size) for letter in (b"a", b"b")))
    offset = await upload.offset()
    assert (await upload.append(offset, b"c" * (size - offset), complete=True)).ok
    await upload.check(size, complete=True)
    got = await draft.ask("GET", upload.path)
    assert got.status != 200 or re.fullmatch(rb"(a*|b*)c*", got.body)


@line("S1", "M")
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_rufh_S1_a_cancel_beside_an_append_leaves_nothing(draft: Draft, number: int) -> None:
    upload = await draft.begin(len(BODY) + number)
    await together(partial(upload.append, 0, BODY), upload.delete)
    await upload.check_gone()


@line("S2", "S")
async def test_rufh_S2_a_new_request_ends_the_one_before(draft: Draft) -> None:
    upload = await draft.begin(len(BODY))
    async with upload.appending(0, len(BODY), complete=True) as exchange:
        await exchange.send(BODY[:SENT])
        offset = await upload.offset()
        answer = await upload.append(offset, BODY[offset:], complete=True)
        old: Answer | None = None
        with suppress(NoAnswer):
            old = await exchange.answer()
    assert answer.ok
    assert old is None or not old.ok
    await upload.check_content(BODY)


@line("S3", "M")
async def test_rufh_S3_the_offset_never_goes_down(draft: Draft) -> None:
    upload = await draft.begin(len(BODY))
    seen = [await upload.offset()]
    for _ in range(4):
        async with upload.appending(seen[-1], len(BODY) - seen[-1]) as exchange:
            await exchange.send(BODY[seen[-1] : seen[-1] + 50_000])
        seen.append(await upload.offset())
        refused = await upload.append(seen[-1] + 7, b"x")
        assert refused.status == 409
        seen.append(refused.offset)
    assert seen == sorted(seen)
    await upload.finish(BODY)


@line("S4", "S")
async def test_rufh_S4_limits_do_not_get_tighter(limited: Draft) -> None:
    created = await limited.post(False, b"", ("Upload-Length", "100"))
    upload = limited.upload(created)
    seen = [limits(created)]
    for start in range(0, 100, 25):
        await upload.append(start, BODY[start : start + 25])
        seen.append(limits(await upload.state()))
    for before, after in pairwise(seen):
        assert after.get("max-size", before["max-size"]) >= before["max-size"]
        assert after.get("min-append-size", 0) <= before.get("min-append-size", 0)
        if "max-age" in before:
            assert after["max-age"] >= before["max-age"] - 1  # a second may have passed
