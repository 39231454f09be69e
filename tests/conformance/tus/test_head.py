"""HEAD: where to go on (tus 1.0.0, "HEAD")."""

from __future__ import annotations

import pytest

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import Tus, content, length_of


@line("H1", "M")
async def test_tus_H1_the_offset_is_always_told(tus: Tus) -> None:
    body = content(1000)
    upload = await tus.create(len(body))
    assert (await upload.head()).offset == 0
    await upload.append(0, body[:300])
    answer = await upload.head()
    assert answer.status in (200, 204)
    assert answer.offset == 300
    await upload.append(300, body[300:])
    answer = await upload.settled()
    assert answer.status in (200, 204)
    assert answer.offset == 1000


@line("H1", "M")
async def test_tus_H1_an_upload_needs_no_metadata(tus: Tus) -> None:
    upload = tus.created(await tus.post(("Upload-Length", "5"), bare=True))
    assert (await upload.head()).offset == 0
    await upload.append(0, b"hello")
    await upload.check_content(b"hello")


@line("H2", "M")
async def test_tus_H2_a_known_length_is_told(tus: Tus) -> None:
    upload = await tus.create(1000)
    assert length_of(await upload.head()) == 1000
    await upload.append(0, content(1000))
    assert length_of(await upload.settled()) == 1000


@line("H3", "M")
async def test_tus_H3_no_answer_is_kept_by_caches(tus: Tus) -> None:
    upload = await tus.create(10)
    assert "no-store" in (await upload.head()).words("cache-control")
    await upload.append(0, content(10))
    assert "no-store" in (await upload.settled()).words("cache-control")


@line("H3", "U")
async def test_tus_H3_a_missing_upload_is_not_kept_by_caches(tus: Tus) -> None:
    answer = await tus.ask("HEAD", await tus.unknown())
    assert "no-store" in answer.words("cache-control")


@line("H4", "S")
async def test_tus_H4_an_unknown_upload_has_no_offset(tus: Tus) -> None:
    answer = await tus.ask("HEAD", await tus.unknown())
    assert answer.status in (403, 404, 410)
    assert "upload-offset" not in answer


@line("H4", "S")
@pytest.mark.parametrize("name", ["x", "..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "a" * 500, "%00", "%ff"])
async def test_tus_H4_what_is_no_upload_has_no_offset(tus: Tus, name: str) -> None:
    answer = await tus.ask("HEAD", tus.target.path.rstrip("/") + "/" + name)
    assert answer.status in (400, 403, 404, 405, 410, 414)
    assert "upload-offset" not in answer


METADATA = {
    "usual": "filename d29ybGQucGRm,filetype YXBwbGljYXRpb24vcGRm",
    "order": "zeta eg==,filetype YXBwbGljYXRpb24vcGRm,filename d29ybGQucGRm,beta Yg==",
    "empty value": "filename d29ybGQucGRm,filetype YXBwbGljYXRpb24vcGRm,is_confidential",
    "empty value with its space": "is_confidential ,filename d29ybGQucGRm,filetype YXBwbGljYXRpb24vcGRm",
    "binary value": "filename d29ybGQucGRm,filetype YXBwbGljYXRpb24vcGRm,raw AAECA/8=",
}


@line("H5", "M")
@pytest.mark.parametrize("case", METADATA)
async def test_tus_H5_metadata_comes_back_as_it_was_sent(tus: Tus, case: str) -> None:
    upload = await tus.create(5, ("Upload-Metadata", METADATA[case]))
    assert (await upload.head())["upload-metadata"] == METADATA[case]
    await upload.append(0, b"hello")
    assert (await upload.settled())["upload-metadata"] == METADATA[case]


@line("H5", "M")
async def test_tus_H5_without_metadata_there_is_none(tus: Tus) -> None:
    upload = tus.created(await tus.post(("Upload-Length", "5"), bare=True))
    assert "upload-metadata" not in await upload.head()


@line("H8", "C")
async def test_tus_H8_asking_often_is_no_reason_to_refuse(tus: Tus) -> None:
    """tus-js-client takes every answer but 2xx and 423 for "gone" and uploads from the start."""
    upload = await tus.create(1000)
    await upload.append(0, content(1000)[:10])
    for _ in range(100):
        assert (await upload.head()).status in (200, 204)


@line("H12", "U")
@pytest.mark.parametrize("case", ["unfinished", "finished", "unknown", "wrong version"])
async def test_tus_H12_no_answer_has_a_body(tus: Tus, case: str) -> None:
    upload = await tus.create(5)
    if case == "finished":
        await upload.append(0, b"hello")
        await upload.settled()
    path = await tus.unknown() if case == "unknown" else upload.path
    version = "0.2.2" if case == "wrong version" else "1.0.0"
    fields = [("Tus-Resumable", version), ("Connection", "close")]
    async with tus.target.exchange("HEAD", path, fields) as exchange:
        head, _, rest = (await exchange.until_closed()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 ")
    assert rest == b""
