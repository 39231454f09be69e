"""The IETF draft: Offset Retrieval, Upload Cancellation, limits, and what each dialect has of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.server.http.clients import TRANSPORTS, Client, bare
from tests.server.http.draft_client import DraftClient, problem, says_complete

VERSIONS = [3, 5, 6, 8]
DAY_S = 24 * 3600


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with TRANSPORTS[request.param]() as made:
        yield made


@pytest.fixture
async def draft(client: Client) -> DraftClient:
    return DraftClient(client)


def stored(client: Client) -> bytes:
    (blob,) = client.blobs.published_blobs.values()
    return bytes(blob.data)


# Offset Retrieval


async def test_rufh_H1_H2_an_upload_under_way(draft: DraftClient) -> None:
    url = await draft.started(b"abc", upload_length="9")
    head = await draft.head(url)
    assert (head.status, head.body, says_complete(head)) == (204, b"", False)
    wanted = {"upload-offset": "3", "upload-length": "9", "cache-control": "no-store"}
    assert wanted.items() <= head.headers.items()
    key, _, seconds = head.headers["upload-limit"].partition("=")
    assert (key, DAY_S - 60 < int(seconds) <= DAY_S) == ("max-age", True)
    assert "location" not in head.headers


async def test_rufh_H1_a_completed_upload(draft: DraftClient) -> None:
    made = await draft.create(b"abc", complete=True)
    head = await draft.head(made.headers["location"])
    assert (head.status, says_complete(head)) == (204, True)
    wanted = {"upload-offset": "3", "upload-length": "3", "upload-limit": "min-size=0"}
    assert wanted.items() <= head.headers.items()


async def test_rufh_H6_get_says_what_head_says_and_then_brings_the_file(draft: DraftClient) -> None:
    url = await draft.started(b"abc")
    early = await draft.client.ask("GET", url, None, draft.version)
    assert (early.status, early.body, early.headers["upload-offset"]) == (204, b"", "3")
    assert says_complete(early) is False
    await draft.append(url, 3, b"def", complete=True)
    late = await draft.client.ask("GET", url, None, {**draft.version, "Range": "bytes=1-2"})
    assert (late.status, late.body) == (206, b"bc")


async def test_rufh_H7_no_such_upload(draft: DraftClient) -> None:
    head = await draft.head("/files/" + "0" * 32)
    assert (head.status, "upload-offset" in head.headers) == (404, False)


async def test_rufh_H7_an_upload_that_has_expired(autojump_clock: trio.abc.Clock) -> None:
    async with bare(retention_s=600, ended_retention_s=600) as client:
        draft = DraftClient(client)
        url = await draft.started(b"abc")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.gateway.janitor.run)
            await trio.sleep(300)
            assert (await draft.head(url)).headers["upload-limit"] == "max-age=300"
            await trio.sleep(400)
            assert (await draft.head(url)).status == 410
            await trio.sleep(700)
            assert (await draft.head(url)).status == 404
            nursery.cancel_scope.cancel()


async def test_rufh_S4_the_end_of_life_never_comes_earlier(autojump_clock: trio.abc.Clock) -> None:
    async with bare(retention_s=600) as client:
        draft = DraftClient(client)
        url = await draft.started(b"abc")
        ends = []
        for offset in (3, 4, 5):
            await trio.sleep(100)
            left_s = int((await draft.head(url)).headers["upload-limit"].removeprefix("max-age="))
            ends.append(trio.current_time() + left_s)
            await draft.append(url, offset, b"x", complete=False)
        assert ends == sorted(ends)
        assert ends[2] > ends[0]


# Limits


@pytest.mark.parametrize(("most", "limit"), [(0, ""), (77, "max-size=77, ")])
async def test_rufh_O1_O2_O5_O6_options(most: int, limit: str) -> None:
    async with bare(max_file_bytes=most) as client:
        for headers in (None, DraftClient(client).version):
            answer = await client.ask("OPTIONS", "/files/", None, headers)
            assert answer.status == 204
            assert answer.headers["upload-limit"] == f"{limit}max-age={DAY_S}"
            assert "application/partial-upload" in answer.headers["accept-patch"]
            assert answer.headers["tus-version"] == "1.0.0"


# Upload Cancellation


async def test_rufh_D1_D4_cancelled(draft: DraftClient) -> None:
    url = await draft.started(b"abc")
    answer = await draft.cancel(url)
    assert (answer.status, answer.body) == (204, b"")
    assert not draft.client.blobs.incoming_blobs
    append = await draft.append(url, 3, b"def", complete=True)
    assert append.code == (410, "UPLOAD_CANCELLED")
    for gone in (append, await draft.head(url), await draft.cancel(url)):
        assert (gone.status, "upload-offset" in gone.headers) == (410, False)


async def test_a_finished_file_is_cancelled_where_that_is_allowed() -> None:
    for allowed, status in ((True, 204), (False, 403)):
        async with bare(terminate_finished=allowed) as client:
            draft = DraftClient(client)
            made = await draft.create(b"abc", complete=True)
            assert (await draft.cancel(made.headers["location"])).status == status
            assert len(client.blobs.published_blobs) == (0 if allowed else 1)


# Dialects


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_whole_upload_in_every_dialect(client: Client, version: int) -> None:
    draft = DraftClient(client, version)
    old = version == 3
    yes, no = ("?0", "?1") if old else ("?1", "?0")
    name, other = (
        ("upload-incomplete", "upload-complete") if old else ("upload-complete", "upload-incomplete")
    )
    made = await draft.create(b"ab", complete=False)
    url = made.headers["location"]
    middle = await draft.append(url, 2, b"cd", complete=False)
    head = await draft.head(url)
    wrong = await draft.append(url, 3, b"x", complete=False)
    last = await draft.append(url, 4, b"ef", complete=True)
    statuses = [answer.status for answer in (made, middle, head, wrong, last)]
    assert statuses == [201, 204 if version == 8 else 201, 204, 409, 201]
    assert [answer.headers[name] for answer in (made, middle, head, wrong, last)] == [no, no, no, no, yes]
    offsets = [answer.headers["upload-offset"] for answer in (made, middle, head, wrong, last)]
    assert offsets == ["2", "4", "4", "4", "6"]
    for answer in (made, middle, head, wrong, last):
        assert other not in answer.headers
        assert answer.headers["upload-draft-interop-version"] == str(version)
    key = "max-age=" if version == 8 else "expires="
    assert made.headers["upload-limit"].startswith(key)
    assert head.headers["upload-limit"].startswith(key)
    assert (await draft.head(url)).headers[name] == yes
    assert stored(client) == b"abcdef"


@pytest.mark.parametrize("version", [3, 5])
async def test_an_omitted_completeness_completes_in_the_older_dialects(client: Client, version: int) -> None:
    draft = DraftClient(client, version)
    url = await draft.started(b"ab")
    answer = await client.ask("PATCH", url, b"c", {**draft.version, "Upload-Offset": "2"})
    assert (answer.status, stored(client)) == (201, b"abc")


@pytest.mark.parametrize("version", VERSIONS)
async def test_rufh_H8_fields_in_head_and_delete(client: Client, version: int) -> None:
    draft = DraftClient(client, version)
    url = await draft.started(b"ab")
    head = await client.ask("HEAD", url, None, {**draft.version, "Upload-Offset": "2"})
    delete = await client.ask("DELETE", url, None, draft.creation(complete=True))
    assert (head.status, delete.status) == ((204, 204) if version == 8 else (400, 400))


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_upload_that_is_no_more(client: Client, version: int) -> None:
    draft = DraftClient(client, version)
    url = await draft.started(b"ab")
    await draft.cancel(url)
    gone = [await draft.head(url), await draft.append(url, 2, b"c", complete=True), await draft.cancel(url)]
    assert [answer.status for answer in gone] == [410 if version == 8 else 404] * 3
    assert not any("upload-offset" in answer.headers for answer in gone)


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
@pytest.mark.parametrize("version", [3, 5, 6])
async def test_older_dialects_stop_at_the_length(client: Client, version: int, chunked: bool) -> None:
    draft = DraftClient(client, version)
    url = await draft.started(b"ab", upload_length="4")
    answer = await draft.append(url, 2, [b"cd", b"e"] if chunked else b"cde", complete=False)
    assert answer.code == (400, "FILE_SIZE_EXCEEDED")
    assert answer.headers["upload-offset"] == "4"
    assert (await draft.head(url)).headers["upload-offset"] == "4"
    assert (await draft.append(url, 4, b"", complete=True)).status == 201
    assert stored(client) == b"abcd"


async def test_problems_of_the_draft_keep_our_codes(draft: DraftClient) -> None:
    url = await draft.started(b"ab", upload_length="4")
    answer = await draft.append(url, 2, b"c", complete=True)
    assert problem(answer) == (400, "inconsistent-upload-length")
    assert (answer.json["code"], answer.json["title"]) == (
        "INVALID_MESSAGE",
        "Inconsistent Upload Length Values",
    )
