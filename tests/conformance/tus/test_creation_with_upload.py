"""Creations that bring bytes along (tus 1.0.0, "Creation With Upload")."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import EXPECT, METADATA, OCTET, Tus, content, idempotency_key

BODY = content(10_000)
WHOLE = ("Upload-Length", str(len(BODY)))


@pytest.fixture(autouse=True)
def offered(tus: Tus) -> None:
    trio.run(tus.require, "creation-with-upload")


@line("W1", "M")
async def test_tus_W1_creation_with_upload_comes_with_creation(tus: Tus) -> None:
    assert "creation" in await tus.extensions()


@line("W2", "M")
async def test_tus_W2_the_answer_names_the_offset(tus: Tus) -> None:
    answer = await tus.post(WHOLE, OCTET, body=BODY[:3000])
    assert (answer.status, answer.offset) == (201, 3000)
    await tus.created(answer).finish(BODY)


@line("W2", "C")
async def test_tus_W2_the_body_may_come_in_chunks(tus: Tus) -> None:
    answer = await tus.post(WHOLE, OCTET, body=[BODY[:3000], BODY[3000:4000]])
    assert (answer.status, answer.offset) == (201, 4000)
    await tus.created(answer).finish(BODY)


@line("W3", "S")
@pytest.mark.parametrize("content_type", [None, "application/json", "application/x-www-form-urlencoded"])
async def test_tus_W3_a_body_of_another_type_is_not_stored(tus: Tus, content_type: str | None) -> None:
    fields = [WHOLE] if content_type is None else [WHOLE, ("Content-Type", content_type)]
    answer = await tus.post(*fields, body=BODY[:3000])
    if answer.status == 201:
        await tus.created(answer).check_unchanged()
    else:
        assert answer.status in (400, 415)


@line("W4", "U")
async def test_tus_W4_a_creation_that_broke_off_is_found_again(tus: Tus) -> None:
    key = idempotency_key()
    async with tus.asking("POST", None, [WHOLE, OCTET, METADATA, EXPECT, key], length=len(BODY)) as exchange:
        await exchange.begun()
        await exchange.send(BODY[:4000])
    upload = await tus.create(len(BODY), key, body=BODY)
    await upload.until_offset(4000)
    await upload.finish(BODY)


@line("W5", "U")
async def test_tus_W5_a_refusal_comes_before_the_body(tus: Tus) -> None:
    async with tus.target.exchange("POST", None, [WHOLE, OCTET, EXPECT], length=len(BODY)) as exchange:
        answer = await exchange.answer()
    assert answer.status == 412, "there was no version"
    assert answer.interim == []


@line("W5", "U")
async def test_tus_W5_the_body_is_asked_for(tus: Tus) -> None:
    async with tus.asking("POST", None, [WHOLE, OCTET, METADATA, EXPECT], length=len(BODY)) as exchange:
        await exchange.begun()
        answer = await exchange.answer_to(BODY)
    assert answer.status == 201
    await tus.created(answer).check_content(BODY)


@line("W6", "U")
async def test_tus_W6_an_upload_may_be_one_request(tus: Tus) -> None:
    answer = await tus.post(WHOLE, OCTET, body=BODY)
    assert (answer.status, answer.offset) == (201, len(BODY))
    await tus.created(answer).check_content(BODY)


@line("W6", "U")
async def test_tus_W6_no_byte_beyond_the_length_is_stored(tus: Tus) -> None:
    answer = await tus.post(("Upload-Length", "100"), OCTET, body=BODY)
    assert answer.status in (201, 400, 413)
    if "location" in answer:
        upload = tus.created(answer)
        assert await upload.offset() <= 100
        await upload.finish(BODY[:100])


@line("W7", "U")
async def test_tus_W7_a_concatenation_brings_no_bytes(tus: Tus) -> None:
    await tus.require("concatenation")
    partial = await tus.finished(b"hello", ("Upload-Concat", "partial"))
    answer = await tus.post(("Upload-Concat", f"final;{partial.location}"), OCTET, body=b"world")
    assert answer.status in (400, 403)
    assert "location" not in answer
