"""Creation (draft: "Upload Creation")."""

from __future__ import annotations

import pytest

from tests.conformance.lines import rufh as line
from tests.conformance.rufh.client import EXPECT, PROBLEMS, Draft, Upload, hints, limits, problem
from tests.conformance.tus.client import content
from tests.conformance.wire import Answer, Exchange

BODY = content(10_000)
WHOLE = ("Upload-Length", str(len(BODY)))


async def hint_of(exchange: Exchange) -> Answer:
    """The first interim answer, which must be the 104 that names the upload."""
    hint = await exchange.interim()
    assert hint.status == 104, hint
    return hint


@line("C1", "S")
@pytest.mark.parametrize("complete", [True, False])
async def test_rufh_C1_the_upload_is_announced_before_the_body(draft: Draft, complete: bool) -> None:
    async with draft.posting(complete, len(BODY)) as exchange:
        hint = await hint_of(exchange)
        answer = await exchange.answer_to(BODY)
    assert answer.ok
    assert (await draft.upload(hint).state()).offset == len(BODY)


@line("C1", "M")
async def test_rufh_C1_the_announcement_has_the_place_and_the_limits(server: Draft) -> None:
    async with server.posting(False, len(BODY)) as exchange:
        hint = await hint_of(exchange)
        assert "location" in hint
        assert limits(hint)
        assert (await exchange.answer_to(BODY)).ok


@line("C2", "M")
async def test_rufh_C2_a_whole_upload_is_answered_by_its_target(draft: Draft) -> None:
    async with draft.posting(True, len(BODY)) as exchange:
        hint = await hint_of(exchange)
        answer = await exchange.answer_to(BODY)
    assert answer.ok
    await draft.upload(hint).check_content(BODY)


@line("C2", "S")
async def test_rufh_C2_a_whole_upload_is_said_to_be_complete(draft: Draft) -> None:
    assert draft.is_complete(await draft.post(True, BODY)) is True


@line("C3", "M")
async def test_rufh_C3_a_part_is_answered_with_the_place_of_the_upload(draft: Draft) -> None:
    answer = await draft.post(False, BODY[:4000], WHOLE)
    assert answer.ok
    assert limits(answer)
    upload = draft.upload(answer)
    await upload.check(4000)
    await upload.finish(BODY)


@line("C3", "S")
async def test_rufh_C3_a_part_is_answered_by_201_and_as_incomplete(draft: Draft) -> None:
    answer = await draft.post(False, BODY[:4000], WHOLE)
    assert answer.status == 201
    assert draft.is_complete(answer) is False


@line("C4", "M")
async def test_rufh_C4_the_place_is_the_same_in_all_answers(draft: Draft) -> None:
    answer = await draft.post(False, BODY[:4000], WHOLE)
    places = {hint["location"] for hint in hints(answer) if "location" in hint}
    assert places | {answer["location"]} == {answer["location"]}


@line("C5", "M")
async def test_rufh_C5_an_upload_may_begin_with_nothing(draft: Draft) -> None:
    upload = draft.upload(await draft.post(False, b"", WHOLE))
    await upload.check(0)
    await upload.finish(BODY)


@line("C6", "M")
async def test_rufh_C6_nothing_may_be_all(draft: Draft) -> None:
    async with draft.posting(True, 0) as exchange:
        hint = await hint_of(exchange)
        answer = await exchange.answer()
    assert answer.ok
    await draft.upload(hint).check_content(b"")


@line("C7", "M")
async def test_rufh_C7_the_length_is_kept_as_said(draft: Draft) -> None:
    upload = draft.upload(await draft.post(False, BODY[:4000], WHOLE))
    assert (await upload.state())["upload-length"] == str(len(BODY))


@line("C7", "M")
async def test_rufh_C7_the_length_is_kept_as_implied(draft: Draft) -> None:
    async with draft.posting(True, len(BODY)) as exchange:
        upload = draft.upload(await hint_of(exchange))
        await exchange.send(BODY[:4000])
    assert (await upload.state())["upload-length"] == str(len(BODY))


@line("C7", "M")
async def test_rufh_C7_a_length_that_was_not_told_is_not_known(draft: Draft) -> None:
    upload = draft.upload(await draft.post(False, BODY[:4000]))
    assert "upload-length" not in await upload.state()


@line("C7", "M")
async def test_rufh_C7_two_lengths_that_differ_are_refused(draft: Draft) -> None:
    answer = await draft.post(True, BODY, ("Upload-Length", str(len(BODY) + 1)))
    assert 400 <= answer.status < 500


@line("C7", "S")
async def test_rufh_C7_two_lengths_that_differ_are_called_inconsistent(draft: Draft) -> None:
    answer = await draft.post(True, BODY, ("Upload-Length", str(len(BODY) + 1)))
    assert answer.status == 400
    assert problem(answer)["type"] == PROBLEMS + "inconsistent-upload-length"
    assert draft.is_complete(answer) is not True


@line("C8", "S")
@pytest.mark.parametrize("complete", [True, False])
async def test_rufh_C8_what_is_too_large_is_told_the_limits(limited: Draft, complete: bool) -> None:
    most = limits(await limited.ask("OPTIONS"))["max-size"]
    length = ("Upload-Length", str(most + 1))
    async with limited.posting(complete, most + 1 if complete else 5, length) as exchange:
        answer = await exchange.answer_to(b"x" * (most + 1) if complete else b"hello")
    assert answer.status == 413
    assert limits(answer)["max-size"] == most


@line("C9", "M")
@pytest.mark.parametrize("complete", [True, False])
async def test_rufh_C9_what_broke_off_is_not_complete(draft: Draft, complete: bool) -> None:
    upload = await broken_off(draft, complete)
    await upload.until_offset(4000)
    await upload.check(4000)


@line("C9", "S")
@pytest.mark.parametrize("complete", [True, False])
async def test_rufh_C9_what_arrived_is_kept(draft: Draft, complete: bool) -> None:
    upload = await broken_off(draft, complete)
    await upload.until_offset(4000)
    await upload.finish(BODY)


async def broken_off(draft: Draft, complete: bool) -> Upload:
    async with draft.posting(complete, len(BODY), EXPECT) as exchange:
        upload = draft.upload(await hint_of(exchange))
        await exchange.begun()
        await exchange.send(BODY[:4000])
    return upload


DISPOSITIONS = {
    "plain": 'inline; filename="film.mp4"',
    "extended first": "inline; filename=\"x\"; filename*=UTF-8''%e6%96%87.mp4",
    "path": 'inline; filename="../../etc/passwd"',
    "line feed": "inline; filename*=UTF-8''a%0d%0aX-Injected:%201",
    "broken": 'inline; filename="',
}


@line("C12", "U")
@pytest.mark.parametrize("case", DISPOSITIONS)
async def test_rufh_C12_a_name_is_no_path_and_no_header(draft: Draft, case: str) -> None:
    answer = await draft.post(False, BODY, ("Content-Disposition", DISPOSITIONS[case]), WHOLE)
    if answer.status == 400:
        return
    upload = draft.upload(answer)
    await upload.finish(BODY)
    got = await draft.ask("GET", upload.path)
    assert "x-injected" not in got
    assert "/" not in (got.get("content-disposition") or "")


@line("C13", "U")
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
async def test_rufh_C13_other_methods_create_nothing(draft: Draft, method: str) -> None:
    answer = await draft.ask(method, None, [draft.completeness(complete=True)])
    assert "location" not in answer
    assert hints(answer) == []
    assert answer.status < 500


@line("C14", "U")
async def test_rufh_C14_other_addresses_do_not_mind(draft: Draft) -> None:
    if not draft.target.ours:
        pytest.skip("no other address of the server is known")
    answer = await draft.ask("POST", "/api/upload/sessions", [draft.completeness(complete=True)], b"{}")
    assert answer.status == 201
    assert hints(answer) == []
    assert "upload-complete" not in answer


@line("S5", "S")
async def test_rufh_S5_upload_urls_cannot_be_guessed(draft: Draft) -> None:
    names = [(await draft.begin(5)).path.rstrip("/").rpartition("/")[2] for _ in range(20)]
    assert len(set(names)) == len(names)
    assert all(len(name) >= 22 for name in names), "128 bits"
