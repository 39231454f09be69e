"""Uploads whose length is told later (tus 1.0.0, "Creation", `Upload-Defer-Length`)."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import EXPECT, Tus, content, length_of
from tests.conformance.wire import Answer, number

BODY = content(10_000)
WHOLE = ("Upload-Length", str(len(BODY)))


@pytest.fixture(autouse=True)
def offered(request: pytest.FixtureRequest) -> None:
    name = "limited" if "limited" in request.fixturenames else "tus"
    trio.run(request.getfixturevalue(name).require, "creation-defer-length")


def is_deferred(answer: Answer) -> bool:
    deferred = answer.get("upload-defer-length")
    assert deferred in (None, "1")
    assert (deferred is None) is ("upload-length" in answer)
    return deferred is not None


@line("D1", "M")
async def test_tus_D1_a_creation_without_a_length(tus: Tus) -> None:
    assert (await tus.post(("Upload-Defer-Length", "1"))).status == 201


@line("D2", "M")
async def test_tus_D2_head_says_that_the_length_is_not_known(tus: Tus) -> None:
    upload = await tus.create(None)
    assert is_deferred(await upload.head())
    await upload.append(0, BODY[:100])
    answer = await upload.head()
    assert is_deferred(answer)
    assert answer.offset == 100


@line("H9", "C")
async def test_tus_H9_without_a_length_head_says_why(tus: Tus) -> None:
    """tus-js-client fails on a HEAD that has neither."""
    upload = await tus.create(None)
    answer = await upload.head()
    assert "upload-length" in answer or answer["upload-defer-length"] == "1"


@line("D3", "M")
async def test_tus_D3_an_append_sets_the_length(tus: Tus) -> None:
    upload = await tus.create(None)
    await upload.append(0, BODY[:100])
    await upload.append(100, BODY[100:200], WHOLE)
    answer = await upload.head()
    assert not is_deferred(answer)
    assert length_of(answer) == len(BODY)
    await upload.finish(BODY)


@line("D4", "M")
async def test_tus_D4_the_length_does_not_change(tus: Tus) -> None:
    upload = await tus.create(None)
    await upload.append(0, BODY[:100], WHOLE)
    answer = await upload.patch(100, BODY[100:200], ("Upload-Length", str(len(BODY) + 1)))
    assert answer.status == 400
    assert length_of(await upload.head()) == len(BODY)
    await upload.check_unchanged(100)


@line("D4", "U")
async def test_tus_D4_the_same_length_may_be_told_again(tus: Tus) -> None:
    upload = await tus.create(None)
    await upload.append(0, BODY[:100], WHOLE)
    await upload.append(100, BODY[100:], WHOLE)
    await upload.check_content(BODY)


@line("D5", "U")
async def test_tus_D5_a_length_below_the_offset_is_refused(tus: Tus) -> None:
    upload = await tus.create(None)
    await upload.append(0, BODY[:100])
    answer = await upload.patch(100, b"", ("Upload-Length", "99"))
    assert answer.status == 400
    assert is_deferred(await upload.head())
    await upload.check_unchanged(100)


@line("D5", "U")
async def test_tus_D5_a_length_beyond_the_limit_is_refused(limited: Tus) -> None:
    limit = number((await limited.options())["tus-max-size"])
    upload = await limited.create(None)
    answer = await upload.patch(0, b"hello", ("Upload-Length", str(limit + 1)))
    assert answer.status in (400, 413)
    assert is_deferred(await upload.head())
    await upload.check_unchanged()


@line("D6", "U")
async def test_tus_D6_naming_the_length_may_be_all_that_is_missing(tus: Tus) -> None:
    upload = await tus.create(None)
    await upload.append(0, BODY)
    answer = await upload.patch(len(BODY), b"", WHOLE)
    assert (answer.status, answer.offset) == (204, len(BODY))
    await upload.check_content(BODY)


@line("D7", "U")
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_tus_D7_the_limit_holds_without_a_length(limited: Tus, framing: str) -> None:
    limit = number((await limited.options())["tus-max-size"])
    upload = await limited.create(None)
    body = content(limit + 1)
    answer = await upload.patch(0, body if framing == "length" else [body])
    assert answer.status in (400, 413)
    assert await upload.offset() <= limit


@line("D8", "U")
async def test_tus_D8_the_length_stays_though_the_body_broke_off(tus: Tus) -> None:
    """tus-js-client names it with the last piece only."""
    upload = await tus.create(None)
    async with upload.patching(0, len(BODY), WHOLE, EXPECT) as exchange:
        await exchange.begun()
        await exchange.send(BODY[:4000])
    await upload.until_offset(4000)
    answer = await upload.head()
    assert not is_deferred(answer)
    assert length_of(answer) == len(BODY)
    await upload.finish(BODY)
