"""PATCH: appending (tus 1.0.0, "PATCH")."""

from __future__ import annotations

import pytest

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import OCTET, Tus, content

BODY = content(100_000)


@line("P1", "M")
async def test_tus_P1_each_append_names_the_new_offset(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    offset = 0
    for size in (1, 9_999, 40_000, 50_000):
        answer = await upload.patch(offset, BODY[offset : offset + size])
        offset += size
        assert (answer.status, answer.offset) == (204, offset)
    await upload.check_content(BODY)


@line("P1", "C")
async def test_tus_P1_a_body_may_come_in_chunks(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    answer = await upload.patch(0, [BODY[:1], BODY[1:70_000], BODY[70_000:]])
    assert (answer.status, answer.offset) == (204, len(BODY))
    await upload.check_content(BODY)


@line("P1", "U")
async def test_tus_P1_appends_may_be_pipelined(tus: Tus) -> None:
    upload = await tus.create(10)
    octets = b"hello", b"world"
    requests = b"".join(
        tus.target.head(
            "PATCH",
            upload.path,
            [("Tus-Resumable", "1.0.0"), OCTET, ("Upload-Offset", offset), ("Content-Length", "5")],
        )
        + body
        for offset, body in zip("05", octets, strict=True)
    )
    end = tus.target.head("HEAD", upload.path, [("Tus-Resumable", "1.0.0")])
    async with tus.target.exchange("HEAD", upload.path, [("Tus-Resumable", "1.0.0")]) as exchange:
        await exchange.send(requests + end)
        offsets = [(await exchange.answer()).offset]
        for method in ("PATCH", "PATCH", "HEAD"):
            exchange.next(method)
            offsets.append((await exchange.answer()).offset)
    assert offsets == [0, 5, 10, 10]
    await upload.check_content(b"helloworld")


@line("P2", "S")
@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "text/plain"])
async def test_tus_P2_another_content_type_is_refused(tus: Tus, content_type: str | None) -> None:
    upload = await tus.create(len(BODY))
    fields = [("Upload-Offset", "0")]
    if content_type:
        fields.append(("Content-Type", content_type))
    answer = await tus.ask("PATCH", upload.path, fields, BODY)
    assert 400 <= answer.status < 500
    await upload.check_unchanged()


@line("P2", "S")
async def test_tus_P2_another_content_type_is_refused_by_415(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    fields = [("Upload-Offset", "0"), ("Content-Type", "text/plain")]
    assert (await tus.ask("PATCH", upload.path, fields, BODY)).status == 415


@line("P3", "M")
@pytest.mark.parametrize("offset", [0, 999, 1001, len(BODY), len(BODY) + 1])
async def test_tus_P3_another_offset_is_refused(tus: Tus, offset: int) -> None:
    upload = await tus.create(len(BODY))
    await upload.append(0, BODY[:1000])
    answer = await upload.patch(offset, b"x" * 100)
    assert answer.status == 409
    await upload.check_unchanged(1000)
    await upload.finish(BODY)


@line("P3", "U")
async def test_tus_P3_the_refusal_names_the_right_offset(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    await upload.append(0, BODY[:1000])
    assert (await upload.patch(5, b"x")).offset == 1000


@line("P4", "U")
async def test_tus_P4_without_an_offset_nothing_is_appended(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    answer = await tus.ask("PATCH", upload.path, [OCTET], BODY)
    assert answer.status == 400
    await upload.check_unchanged()


@line("P5", "S")
async def test_tus_P5_an_unknown_upload_is_not_found(tus: Tus) -> None:
    answer = await tus.ask("PATCH", await tus.unknown(), [OCTET, ("Upload-Offset", "0")], b"hello")
    assert answer.status in (404, 410)


@line("P6", "S")
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_tus_P6_no_byte_beyond_the_length_is_stored(tus: Tus, framing: str) -> None:
    upload = await tus.create(1000)
    await upload.append(0, BODY[:400])
    rest = BODY[400:1600]
    answer = await upload.patch(400, rest if framing == "length" else [rest[:500], rest[500:]])
    assert answer.status in (400, 413)
    assert await upload.offset() <= 1000
    await upload.finish(BODY[:1000])


@line("P9", "U")
async def test_tus_P9_an_empty_append_changes_nothing(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    await upload.append(0, BODY[:1000])
    answer = await upload.patch(1000, b"")
    assert (answer.status, answer.offset) == (204, 1000)
    await upload.finish(BODY)


@line("P10", "U")
async def test_tus_P10_an_empty_append_at_the_end_is_fine(tus: Tus) -> None:
    upload = await tus.finished(BODY)
    await upload.settled()
    answer = await upload.patch(len(BODY), b"")
    assert (answer.status, answer.offset) == (204, len(BODY))
    await upload.check_content(BODY)


@line("P10", "U")
async def test_tus_P10_nothing_is_appended_to_a_finished_upload(tus: Tus) -> None:
    upload = await tus.finished(BODY)
    await upload.settled()
    answer = await upload.patch(len(BODY), b"more")
    assert answer.status in (409, 413)
    await upload.check_content(BODY)


@line("P12", "C")
async def test_tus_P12_what_is_gone_is_not_worth_a_retry(tus: Tus) -> None:
    """tus-js-client tries again after 409, 423 and 5xx."""
    await tus.require("termination")
    upload = await tus.create(5)
    assert (await upload.delete()).status == 204
    assert (await upload.patch(0, b"hello")).status in (404, 410)


@line("P13", "C")
async def test_tus_P13_scripts_can_read_where_they_are(tus: Tus, origin: str) -> None:
    """tus-js-client fails without Upload-Offset; browsers hide what is not exposed."""
    created = await tus.post(("Upload-Length", "5"), ("Origin", origin))
    upload = tus.created(created)
    appended = await upload.append(0, b"hello", ("Origin", origin))
    assert appended.offset == 5
    for answer, name in ((created, "location"), (appended, "upload-offset")):
        exposed = [word.lower() for word in answer.words("access-control-expose-headers")]
        assert name in exposed or "*" in exposed
