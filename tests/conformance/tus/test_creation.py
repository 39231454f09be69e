"""Creation (tus 1.0.0, "Creation")."""

from __future__ import annotations

import base64
import re

import pytest

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import METADATA, Tus, content, idempotency_key, length_of
from tests.conformance.wire import NoAnswer, number

FIVE = ("Upload-Length", "5")
TOO_LONG = ("Upload-Length", str(2**52))  # four pebibytes; in JavaScript still a number


@line("C1", "M")
async def test_tus_C1_a_creation_names_the_upload(tus: Tus) -> None:
    answer = await tus.post(FIVE)
    assert answer.status == 201
    upload = tus.created(answer)
    assert (await upload.head()).offset == 0


@line("C2", "M")
@pytest.mark.parametrize("lengths", [[], [FIVE, ("Upload-Defer-Length", "1")]], ids=["neither", "both"])
async def test_tus_C2_a_length_or_the_promise_of_one(tus: Tus, lengths: list[tuple[str, str]]) -> None:
    answer = await tus.post(*lengths)
    assert answer.status == 400
    assert "location" not in answer


NO_PROMISES: dict[str, list[tuple[str, str]]] = {
    "deferred 0": [("Upload-Defer-Length", "0")],
    "deferred 2": [("Upload-Defer-Length", "2")],
    "deferred x": [("Upload-Defer-Length", "x")],
    "deferred empty": [("Upload-Defer-Length", "")],
    "length and deferred 0": [FIVE, ("Upload-Defer-Length", "0")],
}


@line("C2", "S")
@pytest.mark.parametrize("case", NO_PROMISES)
async def test_tus_C2_the_promise_of_a_length_is_a_1(tus: Tus, case: str) -> None:
    answer = await tus.post(*NO_PROMISES[case])
    assert answer.status in (400, 422)
    assert "location" not in answer


@line("C3", "M")
async def test_tus_C3_what_is_too_large_is_refused(limited: Tus) -> None:
    limit = number((await limited.options())["tus-max-size"])
    answer = await limited.post(("Upload-Length", str(limit + 1)))
    assert answer.status == 413
    assert "location" not in answer


@line("C4", "M")
async def test_tus_C4_an_empty_upload_is_finished_at_once(tus: Tus) -> None:
    upload = await tus.create(0)
    answer = await upload.settled()
    assert (answer.offset, length_of(answer)) == (0, 0)
    await upload.check_content(b"")


@line("C4", "M")
async def test_tus_C4_an_empty_append_to_an_empty_upload_is_fine(tus: Tus) -> None:
    upload = await tus.create(0)
    answer = await upload.patch(0, b"")
    assert (answer.status, answer.offset) == (204, 0)


MALFORMED = {
    "no base64": "filename !!!",
    "cut base64": "filename YWI",
    "key twice": "filename YQ==,filename Yg==",
    "no key": "filename YQ==,,other Yg==",
    "three words": "filename YQ== Yg==",
    "two spaces": "filename  YQ==",
}


@line("C5", "U")
@pytest.mark.parametrize("case", MALFORMED)
async def test_tus_C5_malformed_metadata_is_refused(tus: Tus, case: str) -> None:
    answer = await tus.post(FIVE, ("Upload-Metadata", MALFORMED[case]))
    assert answer.status == 400
    assert "location" not in answer


@line("C5", "U")
@pytest.mark.parametrize("metadata", ["a.b/c=d;e YQ==", "0,1 YQ==", "__proto__ YQ==,constructor"])
async def test_tus_C5_odd_keys_are_keys(tus: Tus, metadata: str) -> None:
    whole = f"{METADATA[1]},{metadata}"
    upload = await tus.create(5, ("Upload-Metadata", whole))
    assert (await upload.head())["upload-metadata"] == whole


NAMES = {
    "path": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "backslashes": "..\\..\\boot.ini",
    "parent": "..",
    "nul": "a\0b",
    "line feed": "a\r\nX-Injected: 1",
    "quotes": 'a"; filename="b',
    "long": "文" * 700,
}


@line("C6", "U")
@pytest.mark.parametrize("case", NAMES)
async def test_tus_C6_a_name_is_no_path_and_no_header(tus: Tus, case: str) -> None:
    name = base64.b64encode(NAMES[case].encode()).decode()
    answer = await tus.post(FIVE, ("Upload-Metadata", f"filename {name},filetype dmlkZW8vbXA0"))
    if answer.status == 400:
        return
    upload = tus.created(answer)
    assert ".." not in upload.location
    await upload.append(0, b"hello")
    got = await upload.check_content(b"hello")
    assert "x-injected" not in got
    disposition = got.get("content-disposition") or ""
    assert "/" not in disposition
    assert ".." not in re.findall('filename="([^"]*)"', disposition)


@line("C6", "U")
async def test_tus_C6_metadata_has_a_limit(tus: Tus) -> None:
    metadata = "filename " + base64.b64encode(content(150_000)).decode()
    try:
        answer = await tus.post(FIVE, ("Upload-Metadata", metadata))
    except NoAnswer:
        return  # not even read
    assert answer.status in (400, 413, 431)
    assert "location" not in answer


@line("C8", "U")
async def test_tus_C8_upload_urls_cannot_be_guessed(tus: Tus) -> None:
    names = [(await tus.create(5)).path.rstrip("/").rpartition("/")[2] for _ in range(20)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._~+-]{22,}", name) for name in names), "128 bits"
    # A time in front is no harm, if what is left is chance: of 20 characters by chance few are the same.
    assert sum(len(set(column)) > 6 for column in zip(*names, strict=True)) >= 22


@line("C9", "U")
async def test_tus_C9_a_repeated_creation_makes_one_upload(tus: Tus) -> None:
    key = idempotency_key()
    first = await tus.create(5, key)
    await first.append(0, b"he")
    again = await tus.create(5, key)
    assert again.path == first.path
    assert await again.offset() == 2


@line("C9", "U")
async def test_tus_C9_a_key_is_for_one_creation(tus: Tus) -> None:
    key = idempotency_key()
    await tus.create(5, key)
    assert (await tus.post(("Upload-Length", "6"), key)).status == 422


@line("C10", "U")
async def test_tus_C10_what_no_disk_can_hold_is_refused_before_the_first_byte(tus: Tus) -> None:
    answer = await tus.post(TOO_LONG)
    assert answer.status in (413, 507)
    assert "location" not in answer
