"""One upload made of several (tus 1.0.0, "Concatenation")."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import METADATA, OCTET, Tus, Upload, content, length_of
from tests.conformance.wire import Answer

PARTIAL = ("Upload-Concat", "partial")
FIRST, SECOND = content(5000, 1), content(7000, 2)


@pytest.fixture(autouse=True)
def offered(tus: Tus) -> None:
    trio.run(tus.require, "concatenation")


async def partial(tus: Tus, body: bytes, *fields: tuple[str, str]) -> Upload:
    return await tus.finished(body, PARTIAL, *fields)


def final(*locations: str) -> tuple[str, str]:
    return ("Upload-Concat", "final;" + " ".join(locations))


async def concatenated(tus: Tus, *locations: str) -> Upload:
    return tus.created(await tus.post(final(*locations)))


@line("X1", "M")
async def test_tus_X1_a_partial_upload_says_that_it_is_one(tus: Tus) -> None:
    upload = await tus.create(len(FIRST), PARTIAL)
    answer = await upload.head()
    assert (answer["upload-concat"], answer.offset) == ("partial", 0)
    await upload.append(0, FIRST)
    answer = await upload.settled()
    assert (answer["upload-concat"], answer.offset) == ("partial", len(FIRST))


@line("X2", "M")
async def test_tus_X2_the_parts_come_in_the_order_of_the_list(tus: Tus) -> None:
    first, second = await partial(tus, FIRST), await partial(tus, SECOND)
    upload = await concatenated(tus, second.location, first.location)
    await upload.check_content(SECOND + FIRST)


@line("X2", "M")
async def test_tus_X2_one_part_is_a_list_too(tus: Tus) -> None:
    upload = await concatenated(tus, (await partial(tus, FIRST)).location)
    await upload.check_content(FIRST)


@line("X3", "U")
async def test_tus_X3_a_final_upload_has_no_length_of_its_own(tus: Tus) -> None:
    part = await partial(tus, FIRST)
    answer = await tus.post(final(part.location), ("Upload-Length", str(len(FIRST))))
    assert answer.status in (400, 403)
    assert "location" not in answer


@line("X3", "U")
async def test_tus_X3_a_final_upload_has_no_body(tus: Tus) -> None:
    part = await partial(tus, FIRST)
    answer = await tus.post(final(part.location), OCTET, body=b"more")
    assert answer.status in (400, 403)
    assert "location" not in answer


@line("X4", "M")
async def test_tus_X4_urls_may_be_absolute_or_relative(tus: Tus) -> None:
    first, second = await partial(tus, FIRST), await partial(tus, SECOND)
    upload = await concatenated(tus, first.path, f"http://{tus.target.authority}{second.path}")
    await upload.check_content(FIRST + SECOND)


NOT_OURS = {
    "another server": "http://other.example{path}",
    "unknown": "{unknown}",
    "traversal": "{creation}../../../../etc/passwd",
    "encoded traversal": "{creation}..%2f..%2f..%2fetc%2fpasswd",
    "absolute path": "/etc/passwd",
    "file": "file:///etc/passwd",
    "creation URL": "{creation}",
}


@line("X4", "U")
@pytest.mark.parametrize("case", NOT_OURS)
async def test_tus_X4_only_uploads_of_this_server_are_taken(tus: Tus, case: str) -> None:
    first, second = await partial(tus, FIRST), await partial(tus, SECOND)
    places = {"path": second.path, "unknown": await tus.unknown(), "creation": tus.target.path}
    answer = await tus.post(final(first.path, NOT_OURS[case].format(**places)))
    assert 400 <= answer.status < 500
    assert "location" not in answer


@line("X4", "U")
@pytest.mark.parametrize("value", ["final", "final;", "finally;/files/a", "whatever", ""])
async def test_tus_X4_a_malformed_list_is_refused(tus: Tus, value: str) -> None:
    answer = await tus.post(("Upload-Concat", value))
    assert answer.status == 400


@line("X4", "U")
async def test_tus_X4_an_ordinary_upload_is_no_part(tus: Tus) -> None:
    upload = await tus.finished(FIRST)
    await upload.settled()
    answer = await tus.post(final(upload.location))
    assert 400 <= answer.status < 500


@line("X5", "U")
async def test_tus_X5_a_part_may_come_twice_and_in_several_uploads(tus: Tus) -> None:
    first, second = await partial(tus, FIRST), await partial(tus, SECOND)
    twice = await concatenated(tus, first.location, second.location, first.location)
    await twice.check_content(FIRST + SECOND + FIRST)
    other = await concatenated(tus, second.location, first.location)
    await other.check_content(SECOND + FIRST)


@line("X6", "M")
async def test_tus_X6_an_unfinished_part_is_refused(tus: Tus) -> None:
    if "concatenation-unfinished" in await tus.extensions():
        pytest.skip("the server offers concatenation-unfinished")
    unfinished = await tus.create(len(FIRST), PARTIAL)
    await unfinished.append(0, FIRST[:100])
    answer = await tus.post(final(unfinished.location))
    assert 400 <= answer.status < 500
    await unfinished.append(100, FIRST[100:])
    await (await concatenated(tus, unfinished.location)).check_content(FIRST)


@line("X7", "M")
async def test_tus_X7_nothing_is_appended_to_a_final_upload(tus: Tus) -> None:
    part = await partial(tus, FIRST)
    upload = await concatenated(tus, part.location)
    for body in (b"more", b""):
        assert (await upload.patch(len(FIRST), body)).status == 403
    await upload.check_content(FIRST)


@line("X8", "M")
async def test_tus_X8_head_of_a_final_upload_says_of_what_it_is_made(tus: Tus) -> None:
    first, second = await partial(tus, FIRST), await partial(tus, SECOND)
    wanted = final(first.location, second.location)
    answer = await tus.created(await tus.post(wanted)).settled()
    assert answer["upload-concat"] == wanted[1]
    assert answer.offset == length_of(answer) == len(FIRST) + len(SECOND)


@line("X9", "S")
async def test_tus_X9_before_a_final_upload_is_done_it_has_no_offset(tus: Tus) -> None:
    if "concatenation-unfinished" not in await tus.extensions():
        pytest.skip("the server announces a final upload only when it is done")
    unfinished = await tus.create(len(FIRST), PARTIAL)
    upload = await concatenated(tus, unfinished.location)
    answer = await upload.head()
    assert "upload-offset" not in answer
    assert length_of(answer) == len(FIRST)


@line("X10", "M")
async def test_tus_X10_metadata_of_parts_stays_with_them(tus: Tus) -> None:
    part = await partial(tus, FIRST, ("Upload-Metadata", "filename cGFydA==,filetype dmlkZW8vbXA0"))
    plain = tus.created(await tus.post(final(part.location), bare=True))
    assert "upload-metadata" not in await plain.head()
    other = await partial(tus, FIRST, ("Upload-Metadata", "filename cGFydA==,filetype dmlkZW8vbXA0"))
    named = tus.created(await tus.post(final(other.location), METADATA))
    value = (await named.settled())["upload-metadata"]
    assert "cGFydA==" not in value
    assert "ZmlsbS5tcDQ=" in value


@line("X12", "U")
async def test_tus_X12_the_final_upload_does_not_need_its_parts(tus: Tus) -> None:
    part = await partial(tus, FIRST)
    upload = await concatenated(tus, part.location)
    assert (await part.head()).status in (200, 204, 404, 410)
    await part.delete()
    await upload.check_content(FIRST)


@line("X13", "C")
async def test_tus_X13_a_repeated_concatenation_makes_one_upload(tus: Tus) -> None:
    """tus-js-client sends it again if the answer took too long."""
    locations = [(await partial(tus, body)).location for body in (FIRST, SECOND)]
    first = await concatenated(tus, *locations)
    again = await concatenated(tus, *locations)
    assert again.path == first.path
    await again.check_content(FIRST + SECOND)


@line("X13", "C")
async def test_tus_X13_two_concatenations_at_once_make_one_upload(tus: Tus) -> None:
    locations = [(await partial(tus, body)).location for body in (FIRST, SECOND)]
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await tus.post(final(*locations)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
    uploads = [tus.created(answer) for answer in answers]
    assert len({upload.path for upload in uploads}) == 1
    await uploads[0].check_content(FIRST + SECOND)
