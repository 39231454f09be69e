"""Appending (draft: "Upload Append")."""

from __future__ import annotations

import pytest

from tests.conformance.lines import rufh as line
from tests.conformance.rufh.client import EXPECT, PARTIAL, PROBLEMS, Draft, Upload, limits, problem
from tests.conformance.tus.client import content
from tests.conformance.wire import Fields

BODY = content(10_000)
AT_START = ("Upload-Offset", "0")
INCOMPLETE = ("Upload-Complete", "?0")


@line("P1", "M")
@pytest.mark.parametrize(
    "content_type", [None, "application/octet-stream", "application/offset+octet-stream"]
)
async def test_rufh_P1_another_content_type_is_refused(draft: Draft, content_type: str | None) -> None:
    upload = await draft.begin(len(BODY))
    fields = [AT_START, INCOMPLETE]
    if content_type:
        fields.append(("Content-Type", content_type))
    answer = await draft.ask("PATCH", upload.path, fields, BODY)
    assert answer.status == 415
    await upload.check(0)


@line("P1", "U")
@pytest.mark.parametrize(
    "fields", [[PARTIAL, INCOMPLETE], [PARTIAL, AT_START]], ids=["offset", "completeness"]
)
async def test_rufh_P1_what_must_be_there_must_be_there(draft: Draft, fields: Fields) -> None:
    upload = await draft.begin(len(BODY))
    answer = await draft.ask("PATCH", upload.path, fields, BODY)
    assert answer.status == 400
    await upload.check(0)


@line("P2", "M")
@pytest.mark.parametrize("offset", [0, 3999, 4001, len(BODY) + 1])
async def test_rufh_P2_another_offset_is_refused(draft: Draft, offset: int) -> None:
    upload = await draft.begin(len(BODY), BODY[:4000])
    answer = await upload.append(offset, b"x" * 100)
    assert (answer.status, answer.offset) == (409, 4000)
    assert draft.is_complete(answer) is False
    await upload.check(4000)
    await upload.finish(BODY)


@line("P2", "S")
async def test_rufh_P2_the_problem_is_named(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:4000])
    value = problem(await upload.append(7, b"x"))
    assert value["type"] == PROBLEMS + "mismatching-upload-offset"
    assert (value["expected-offset"], value["provided-offset"]) == (4000, 7)


@line("P3", "M")
async def test_rufh_P3_a_part_is_taken_and_more_expected(draft: Draft) -> None:
    upload = await draft.begin(len(BODY))
    for start in range(0, len(BODY), 4000):
        answer = await upload.append(start, BODY[start : start + 4000])
        assert answer.ok
        assert draft.is_complete(answer) is False
    await upload.check(len(BODY))


@line("P3", "U")
async def test_rufh_P3_the_new_offset_is_told(draft: Draft) -> None:
    upload = await draft.begin(len(BODY))
    assert (await upload.append(0, BODY[:4000])).offset == 4000


@line("P4", "M")
async def test_rufh_P4_the_last_part_completes_the_upload(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:4000])
    answer = await upload.append(4000, BODY[4000:], complete=True)
    assert answer.ok
    assert draft.is_complete(answer) is True
    await upload.check_content(BODY)


@line("P4", "S")
async def test_rufh_P4_the_answer_is_that_of_one_request(draft: Draft) -> None:
    whole = await draft.post(True, BODY)
    upload = await draft.begin(len(BODY), BODY[:4000])
    last = await upload.append(4000, BODY[4000:], complete=True)
    assert (last.status, last.get("content-type")) == (whole.status, whole.get("content-type"))


@line("P4", "M")
async def test_rufh_P4_a_length_need_never_be_told(draft: Draft) -> None:
    upload = await draft.begin(None, BODY[:4000])
    answer = await upload.append(4000, [BODY[4000:5000], BODY[5000:]], complete=True)
    assert answer.ok
    await upload.check_content(BODY)


@line("P5", "M")
@pytest.mark.parametrize("length", [len(BODY), None])
async def test_rufh_P5_an_empty_part_may_be_the_last(draft: Draft, length: int | None) -> None:
    upload = await draft.begin(length, BODY)
    await upload.check(len(BODY))
    answer = await upload.append(len(BODY), b"", complete=True)
    assert answer.ok
    assert draft.is_complete(answer) is True
    await upload.check_content(BODY)


@line("P6", "M")
@pytest.mark.parametrize("said", ["by Upload-Length", "by Content-Length"])
async def test_rufh_P6_another_length_is_refused(draft: Draft, said: str) -> None:
    upload = await draft.begin(len(BODY), BODY[:4000])
    if said == "by Upload-Length":
        answer = await upload.append(4000, BODY[4000:5000], ("Upload-Length", str(len(BODY) + 1)))
    else:
        answer = await upload.append(4000, BODY[4000:5000], complete=True)
    assert 400 <= answer.status < 500
    assert draft.is_complete(answer) is not True
    await upload.check(4000)
    await upload.finish(BODY)


@line("P6", "M")
async def test_rufh_P6_a_length_may_be_told_later(draft: Draft) -> None:
    upload = await draft.begin(None, BODY[:4000])
    assert (await upload.append(4000, BODY[4000:5000], ("Upload-Length", str(len(BODY))))).ok
    assert (await upload.check(5000))["upload-length"] == str(len(BODY))
    await upload.finish(BODY)


@line("P6", "S")
async def test_rufh_P6_another_length_is_called_inconsistent(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:4000])
    answer = await upload.append(4000, BODY[4000:5000], ("Upload-Length", str(len(BODY) + 1)))
    assert answer.status == 400
    assert problem(answer)["type"] == PROBLEMS + "inconsistent-upload-length"


@line("P7", "M")
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_rufh_P7_bytes_beyond_the_length_end_the_upload(draft: Draft, framing: str) -> None:
    upload = await draft.begin(1000, BODY[:400])
    rest = BODY[400:1600]
    answer = await upload.append(400, rest if framing == "length" else [rest[:500], rest[500:]])
    assert 400 <= answer.status < 500
    for refused in (await upload.head(), await upload.append(400, BODY[400:1000], complete=True)):
        assert 400 <= refused.status < 500


@line("P8", "M")
@pytest.mark.parametrize("complete", [True, False])
async def test_rufh_P8_what_broke_off_is_not_complete(draft: Draft, complete: bool) -> None:
    upload = await broken_off(draft, complete)
    await upload.check(await upload.offset())


@line("P8", "S")
@pytest.mark.parametrize("complete", [True, False])
async def test_rufh_P8_what_arrived_is_kept(draft: Draft, complete: bool) -> None:
    upload = await broken_off(draft, complete)
    await upload.until_offset(6000)
    await upload.finish(BODY)


async def broken_off(draft: Draft, complete: bool) -> Upload:
    upload = await draft.begin(len(BODY), BODY[:2000])
    async with upload.appending(2000, len(BODY) - 2000, EXPECT, complete=complete) as exchange:
        await exchange.begun()
        await exchange.send(BODY[2000:6000])
    return upload


@line("P9", "M")
@pytest.mark.parametrize("complete", [True, False])
async def test_rufh_P9_nothing_is_appended_to_a_complete_upload(draft: Draft, complete: bool) -> None:
    upload = await draft.finished(BODY)
    answer = await upload.append(len(BODY), b"more", complete=complete)
    assert 400 <= answer.status < 500
    await upload.check_content(BODY)


@line("P9", "M")
async def test_rufh_P9_a_repeated_end_changes_nothing(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:4000])
    first = await upload.append(4000, BODY[4000:], complete=True)
    again = await upload.append(4000, BODY[4000:], complete=True)
    assert first.ok
    assert again.ok or 400 <= again.status < 500
    await upload.check_content(BODY)


@line("P9", "U")
async def test_rufh_P9_a_repeated_end_gets_the_same_answer(draft: Draft) -> None:
    """Its client lost the first one."""
    upload = await draft.begin(len(BODY), BODY[:4000])
    first = await upload.append(4000, BODY[4000:], complete=True)
    again = await upload.append(4000, BODY[4000:], complete=True)
    assert (again.status, again.body) == (first.status, first.body)
    assert draft.is_complete(again) is True


@line("S9", "U")
async def test_rufh_S9_what_grows_too_large_is_told_the_limits(limited: Draft) -> None:
    most = limits(await limited.ask("OPTIONS"))["max-size"]
    upload = await limited.begin(None)
    answer = await upload.append(0, [b"x" * (most + 1)])
    assert answer.status == 413
    assert limits(answer)["max-size"] == most
