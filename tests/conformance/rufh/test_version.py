"""Interop versions and field syntax (draft: "Draft Version Identification", "State"; RFC 9651)."""

from __future__ import annotations

import gzip

import pytest

from tests.conformance.lines import rufh as line
from tests.conformance.rufh.client import (
    DIALECTS,
    LATEST,
    PARTIAL,
    VERSION,
    Draft,
    Upload,
    hints,
    limits,
)
from tests.conformance.tus.client import content

BODY = content(10_000)
COMPLETE = ("Upload-Complete", "?1")
INCOMPLETE = ("Upload-Complete", "?0")
AT_START = ("Upload-Offset", "0")


@line("V1", "M")
@pytest.mark.parametrize("version", [None, 99])
async def test_rufh_V1_no_104_without_a_version_both_know(draft: Draft, version: int | None) -> None:
    answer = await draft.speaking(version).post(True, BODY)
    assert hints(answer) == []


@line("V2", "M")
@pytest.mark.parametrize("version", [*DIALECTS, LATEST])
async def test_rufh_V2_every_104_carries_the_version(draft: Draft, version: int) -> None:
    answer = await draft.speaking(version).post(True, BODY)
    assert hints(answer)
    assert {hint[VERSION] for hint in hints(answer)} == {str(version)}


@line("V3", "U")
@pytest.mark.parametrize("version", [None, 99])
async def test_rufh_V3_without_a_known_version_one_request_works(draft: Draft, version: int | None) -> None:
    answer = await draft.speaking(version).post(True, BODY)
    assert answer.ok
    assert answer.get("upload-complete") in (None, "?1")


@line("V3", "U")
@pytest.mark.parametrize("version", [None, 99])
async def test_rufh_V3_without_a_known_version_so_do_several(draft: Draft, version: int | None) -> None:
    upload = await draft.speaking(version).begin(len(BODY), BODY[:100])
    offset = await upload.offset()
    assert (await upload.append(offset, BODY[offset:], complete=True)).ok
    await Upload(draft, upload.location).check_content(BODY)


@line("V3", "U")
async def test_rufh_V3_head_without_a_version_tells_the_state(draft: Draft) -> None:
    """It has no other field by which it could be told from any HEAD, and the RFC will have no versions."""
    upload = await draft.speaking(None).begin(len(BODY), BODY[:100])
    await upload.check(100)
    await upload.finish(BODY)


@line("V4", "U")
async def test_rufh_V4_of_two_protocols_one_is_spoken(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:100])
    both = await draft.ask("HEAD", upload.path, [("Tus-Resumable", "1.0.0")])
    assert "upload-complete" in both
    created = await draft.post(False, b"", ("Tus-Resumable", "1.0.0"))
    assert created.get("upload-complete") == "?0"


NO_OFFSETS = {
    "negative": "-1",
    "decimal": "0.0",
    "text": '"0"',
    "token": "zero",
    "list": "0, 0",
    "inner list": "(0)",
    "too long": "0" * 16,
    "empty": "",
}


async def check_refused(upload: Upload, *fields: tuple[str, str]) -> None:
    answer = await upload.draft.ask("PATCH", upload.path, fields, BODY)
    assert answer.status == 400
    await upload.check(0)


@line("F1", "M")
@pytest.mark.parametrize("value", NO_OFFSETS)
async def test_rufh_F1_an_offset_that_is_none_counts_as_missing(draft: Draft, value: str) -> None:
    upload = await draft.begin(len(BODY))
    await check_refused(upload, PARTIAL, INCOMPLETE, ("Upload-Offset", NO_OFFSETS[value]))


@line("F1", "M")
async def test_rufh_F1_an_offset_that_comes_twice_counts_as_missing(draft: Draft) -> None:
    await check_refused(await draft.begin(len(BODY)), PARTIAL, INCOMPLETE, AT_START, AT_START)


@line("F1", "M")
@pytest.mark.parametrize("value", NO_OFFSETS)
async def test_rufh_F1_a_length_that_is_none_counts_as_missing(draft: Draft, value: str) -> None:
    answer = await draft.post(False, b"", ("Upload-Length", NO_OFFSETS[value]))
    assert answer.ok
    assert "upload-length" not in await draft.upload(answer).state()


NO_BOOLEANS = {
    "number": "1",
    "word": "true",
    "two": "?2",
    "list": "?1, ?1",
    "inner list": "(?1)",
    "empty": "",
}


@line("F2", "M")
@pytest.mark.parametrize("value", NO_BOOLEANS)
async def test_rufh_F2_a_completeness_that_is_none_completes_nothing(draft: Draft, value: str) -> None:
    upload = await draft.begin(len(BODY))
    await check_refused(upload, PARTIAL, AT_START, ("Upload-Complete", NO_BOOLEANS[value]))


@line("F2", "M")
async def test_rufh_F2_a_completeness_that_comes_twice_completes_nothing(draft: Draft) -> None:
    await check_refused(await draft.begin(len(BODY)), PARTIAL, AT_START, COMPLETE, COMPLETE)


@line("F3", "M")
async def test_rufh_F3_limits_are_a_dictionary_of_numbers(server: Draft) -> None:
    known = {"max-size", "min-size", "max-append-size", "min-append-size", "max-age"}
    assert set(limits(await (await server.begin(5)).state())) <= known
    assert set(limits(await server.ask("OPTIONS"))) <= known


@line("F4", "U")
async def test_rufh_F4_parameters_mean_nothing(draft: Draft) -> None:
    answer = await draft.ask(
        "POST", None, [("Upload-Complete", "?0;x=1"), ("Upload-Length", f"{len(BODY)};a")]
    )
    upload = draft.upload(answer)
    assert (await upload.check(0))["upload-length"] == str(len(BODY))
    fields = [PARTIAL, ("Upload-Offset", '0;why="not"'), ("Upload-Complete", "?1;b=?0")]
    assert (await draft.ask("PATCH", upload.path, fields, BODY)).ok
    await upload.check_content(BODY)


@line("F5", "M")
async def test_rufh_F5_codings_of_the_content_are_content(draft: Draft) -> None:
    body = gzip.compress(BODY)
    coded = ("Content-Encoding", "gzip")
    upload = draft.upload(await draft.post(False, body[:1000], coded, ("Upload-Length", str(len(body)))))
    await upload.check(1000)
    await upload.finish(body)


@line("F5", "M")
async def test_rufh_F5_codings_of_the_transfer_are_not(draft: Draft) -> None:
    upload = await draft.begin(len(BODY))
    assert (await upload.append(0, [BODY[:1], BODY[1:4000]])).ok
    await upload.check(4000)
    await upload.finish(BODY)
