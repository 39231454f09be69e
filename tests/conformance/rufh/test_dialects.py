"""What deployed clients speak: interop versions 3 (draft -01), 5 (-03) and 6 (-04, -05)."""

from __future__ import annotations

import pytest

from tests.conformance.lines import rufh as line
from tests.conformance.rufh.client import DIALECTS, PARTIAL, PROBLEMS, Draft, hints, limits, problem
from tests.conformance.tus.client import content
from tests.conformance.wire import Answer

BODY = content(10_000)
WHOLE = ("Upload-Length", str(len(BODY)))

every = pytest.mark.parametrize("version", DIALECTS)


def offset_of(draft: Draft, answer: Answer) -> tuple[bool | None, int]:
    return draft.is_complete(answer), answer.offset


@line("A1", "M")
@every
async def test_rufh_A1_completeness_has_the_field_of_the_version(draft: Draft, version: int) -> None:
    spoken = draft.speaking(version)
    upload = await spoken.begin(len(BODY), BODY[:4000])
    assert spoken.is_complete(await upload.state()) is False
    last = await upload.append(4000, BODY[4000:], complete=True)
    assert last.ok
    await upload.check_content(BODY)
    other = "upload-complete" if version == 3 else "upload-incomplete"
    assert other not in await upload.state()


@line("A1", "M")
@every
async def test_rufh_A1_an_upload_may_be_one_request(draft: Draft, version: int) -> None:
    spoken = draft.speaking(version)
    answer = await spoken.post(True, BODY)
    assert answer.ok
    (place, *_) = [hint for hint in hints(answer) if "location" in hint]
    await spoken.upload(place).check_content(BODY)


@line("A2", "M")
@pytest.mark.parametrize("version", [3, 5])
async def test_rufh_A2_appends_need_no_content_type(draft: Draft, version: int) -> None:
    spoken = draft.speaking(version)
    upload = await spoken.begin(len(BODY), BODY[:4000])
    fields = [field for field in upload.fields(4000, complete=True) if field != PARTIAL]
    assert (await spoken.ask("PATCH", upload.path, fields, BODY[4000:])).ok
    await upload.check_content(BODY)


@line("A2", "M")
async def test_rufh_A2_since_version_6_appends_need_their_content_type(draft: Draft) -> None:
    spoken = draft.speaking(6)
    upload = await spoken.begin(len(BODY), BODY[:4000])
    fields = [field for field in upload.fields(4000, complete=True) if field != PARTIAL]
    answer = await spoken.ask("PATCH", upload.path, fields, BODY[4000:])
    assert 400 <= answer.status < 500
    await upload.check(4000)


@line("A3", "M")
@every
async def test_rufh_A3_answers_tell_the_offset(draft: Draft, version: int) -> None:
    spoken = draft.speaking(version)
    created = await spoken.post(False, BODY[:2000], WHOLE)
    assert offset_of(spoken, created) == (False, 2000)
    upload = spoken.upload(created)
    assert offset_of(spoken, await upload.append(2000, BODY[2000:4000])) == (False, 4000)
    conflict = await upload.append(7, b"x")
    assert (conflict.status, conflict.offset) == (409, 4000)
    last = await upload.append(4000, BODY[4000:], complete=True)
    assert last.offset == len(BODY)


@line("A4", "M")
@every
async def test_rufh_A4_parts_are_answered_by_201(draft: Draft, version: int) -> None:
    spoken = draft.speaking(version)
    created = await spoken.post(False, BODY[:2000], WHOLE)
    assert created.status == 201
    assert (await spoken.upload(created).append(2000, BODY[2000:4000])).status == 201


@line("A5", "M")
@every
async def test_rufh_A5_head_is_answered_by_204(draft: Draft, version: int) -> None:
    upload = await draft.speaking(version).begin(len(BODY), BODY[:2000])
    answer = await upload.head()
    assert answer.status in ((204,) if version == 3 else (200, 204))
    assert answer.offset == 2000
    assert "no-store" in answer.words("cache-control")


@line("A6", "M")
@every
@pytest.mark.parametrize("name", ["Upload-Offset", "completeness"])
async def test_rufh_A6_head_and_delete_bring_no_state(draft: Draft, version: int, name: str) -> None:
    spoken = draft.speaking(version)
    upload = await spoken.begin(len(BODY), BODY[:2000])
    field = ("Upload-Offset", "2000") if name == "Upload-Offset" else spoken.completeness(complete=False)
    assert (await upload.head(field)).status == 400
    assert (await upload.delete(field)).status == 400
    await upload.check(2000)


@line("A7", "M")
@every
async def test_rufh_A7_what_is_cancelled_is_not_found(draft: Draft, version: int) -> None:
    upload = await draft.speaking(version).begin(len(BODY), BODY[:2000])
    assert (await upload.delete()).status == 204
    for answer in (await upload.head(), await upload.append(2000, BODY[2000:]), await upload.delete()):
        assert answer.status == 404


@line("A8", "M")
async def test_rufh_A8_nothing_is_appended_to_a_complete_upload(draft: Draft) -> None:
    upload = await draft.speaking(6).finished(BODY)
    answer = await upload.append(len(BODY), b"more")
    assert answer.status == 400
    assert problem(answer)["type"] == PROBLEMS + "completed-upload"
    await upload.check_content(BODY)


@line("A9", "M")
async def test_rufh_A9_bytes_beyond_the_length_are_refused_and_the_rest_kept(draft: Draft) -> None:
    spoken = draft.speaking(6)
    upload = await spoken.begin(1000, BODY[:400])
    answer = await upload.append(400, BODY[400:1600])
    assert answer.status == 400
    assert await upload.offset() <= 1000
    await upload.finish(BODY[:1000])


@line("A10", "M")
async def test_rufh_A10_the_lifetime_is_called_expires(draft: Draft) -> None:
    upload = await draft.speaking(6).begin(len(BODY))
    found = limits(await upload.state())
    assert "max-age" not in found
    assert found.get("expires", 1) > 0


@line("A12", "M")
@every
async def test_rufh_A12_a_cancel_is_answered_by_204(draft: Draft, version: int) -> None:
    upload = await draft.speaking(version).begin(len(BODY), BODY[:2000])
    assert (await upload.delete()).status == 204


@line("A13", "C")
async def test_rufh_A13_a_broken_upload_is_resumed_as_phones_do(draft: Draft) -> None:
    """URLSession sends all at once, keeps the 104, and asks it for the offset when the line breaks."""
    for version in DIALECTS:
        spoken = draft.speaking(version)
        async with spoken.posting(True, len(BODY)) as exchange:
            upload = spoken.upload(await exchange.interim())
            await exchange.send(BODY[:4000])
        assert await upload.offset() <= 4000
        await upload.finish(BODY)


@line("A14", "C")
async def test_rufh_A14_a_careful_upload_works_as_in_tus_js_client(draft: Draft) -> None:
    """It creates with an empty body, sends chunks, and insists on Upload-Offset in each answer."""
    for version in (5, 6):
        spoken = draft.speaking(version)
        upload = await spoken.begin(len(BODY))
        for start in range(0, len(BODY), 4000):
            end = min(start + 4000, len(BODY))
            answer = await upload.append(start, BODY[start:end], complete=end == len(BODY))
            assert answer.ok
            assert answer.offset == end
        await upload.check_content(BODY)
