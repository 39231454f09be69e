"""tus concatenation: partials on their own, then one file of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio

from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.file import LiveFile
from tests.fakes.blobs import FakeWriter
from tests.server.edge.harness import until
from tests.server.http.clients import TRANSPORTS, Answer, BareClient, Client, bare, created
from tests.server.http.tus_client import (
    OCTET,
    TUS,
    UNKNOWN,
    create,
    head,
    metadata,
    offset,
    patch,
    post,
    stored,
)


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with TRANSPORTS[request.param]() as made:
        yield made


@pytest.fixture
async def plain() -> AsyncIterator[BareClient]:
    async with bare() as made:
        yield made


async def partial(client: Client, data: bytes, **fields: str) -> str:
    return await create(client, len(data), data, Upload_Concat="partial", **fields)


async def final(client: Client, *urls: str, **fields: Any) -> Answer:
    return await post(client, Upload_Concat=f"final;{' '.join(urls)}", **fields)


async def test_tus_X1_a_partial(client: Client) -> None:
    url = await create(client, 5, b"ab", Upload_Concat="partial", Upload_Metadata="a YQ==")
    answer = await head(client, url)
    assert answer.headers["upload-concat"] == "partial"
    assert (answer.headers["upload-offset"], answer.headers["upload-length"]) == ("2", "5")
    assert answer.headers["upload-metadata"] == "a YQ=="
    assert answer.headers["upload-expires"]
    assert (await patch(client, url, 2, b"cde")).headers["upload-offset"] == "5"
    assert await offset(client, url) == 5
    assert (await client.ask("GET", url)).status == 204  # no file by itself
    assert not client.blobs.published_blobs


async def test_tus_X2_X8_a_final(client: Client) -> None:
    one, other = await partial(client, b"abc"), await partial(client, b"de")
    answer = await final(client, one, other, Upload_Metadata=metadata(filename="whole.txt"))
    assert (answer.status, answer.headers["upload-offset"], answer.body) == (201, "5", b"")
    url = answer.headers["location"]
    assert stored(client) == b"abcde"
    looked = await head(client, url)
    assert (looked.headers["upload-offset"], looked.headers["upload-length"]) == ("5", "5")
    assert looked.headers["upload-concat"] == f"final;{one} {other}"
    assert looked.headers["upload-metadata"] == metadata(filename="whole.txt")
    got = await client.ask("GET", url)
    assert (got.status, got.body) == (200, b"abcde")


@pytest.mark.parametrize("more", [{"Upload_Length": "5"}, {"Upload_Defer_Length": "1"}])
async def test_tus_X3_a_final_has_no_length(plain: BareClient, more: dict[str, str]) -> None:
    answer = await final(plain, await partial(plain, b"abc"), **more)
    assert answer.code == (400, "INVALID_MESSAGE")
    assert not plain.blobs.published_blobs


@pytest.mark.parametrize("headers", [OCTET, TUS], ids=["as-upload", "untyped"])
async def test_tus_X3_W7_a_final_has_no_body(client: Client, headers: dict[str, str]) -> None:
    asked = {**headers, "Upload-Concat": f"final;{await partial(client, b'abc')}"}
    answer = await client.ask("POST", "/files/", b"abc", asked)
    assert answer.code == (403, "INSUFFICIENT_PERMISSIONS")
    assert not client.blobs.published_blobs


async def test_tus_X3_W7_a_chunked_body_of_a_final_is_one_too(client: Client) -> None:
    asked = {**OCTET, "Upload-Concat": f"final;{await partial(client, b'abc')}"}
    answer = await client.ask("POST", "/files/", [b"abc"], asked)
    assert answer.code == (403, "INSUFFICIENT_PERMISSIONS")
    assert not client.blobs.published_blobs


async def test_tus_X4_absolute_urls_of_ours(plain: BareClient) -> None:
    one = await partial(plain, b"abc")
    asked = {**TUS, "Host": "localhost:8005", "Upload-Concat": f"final;http://localhost:8005{one}"}
    assert (await plain.ask("POST", "/files/", b"", asked)).status == 201
    assert stored(plain) == b"abc"


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example{}",
        "http://localhost:9999{}",
        "//evil.example{}",
        "http://localhost:8005@evil.example{}",
        "{}/",
        "{}/../x",
        "/elsewhere/{}x",
        "../../etc/passwd",
        UNKNOWN,
        "",
    ],
)
async def test_tus_X4_other_urls_make_nothing(plain: BareClient, url: str) -> None:
    one = await partial(plain, b"abc")
    asked = {**TUS, "Host": "localhost:8005", "Upload-Concat": f"final;{one} {url.format(one)}"}
    if not url:
        asked["Upload-Concat"] = "final;"
    answer = await plain.ask("POST", "/files/", b"", asked)
    assert answer.code == (400, "INVALID_MESSAGE")
    assert answer.json["detail"].startswith("Upload-Concat: ")
    assert not plain.blobs.published_blobs


async def test_tus_X4_only_partials(plain: BareClient) -> None:
    whole = await create(plain, 3, b"abc")
    assert (await final(plain, whole)).code == (400, "INVALID_MESSAGE")


async def test_tus_X5_a_partial_may_be_used_again(plain: BareClient) -> None:
    one, other = await partial(plain, b"abc"), await partial(plain, b"de")
    assert (await final(plain, one, other, one)).headers["upload-offset"] == "8"
    assert stored(plain) == b"abcdeabc"
    assert (await final(plain, other, one)).status == 201
    assert {bytes(blob.data) for blob in plain.blobs.published_blobs.values()} == {b"abcdeabc", b"deabc"}


async def test_tus_X6_unfinished_partials_are_refused(plain: BareClient) -> None:
    done, begun = await partial(plain, b"abc"), await create(plain, 5, b"ab", Upload_Concat="partial")
    answer = await final(plain, done, begun)
    assert 400 <= answer.status < 500
    assert answer.status not in (409, 423)  # it would be tried again
    assert await offset(plain, begun) == 2
    assert not plain.blobs.published_blobs


@pytest.mark.parametrize(("at", "body"), [(0, b"x"), (3, b""), (3, b"x"), (1, b"bc")])
async def test_tus_X7_a_final_takes_no_bytes(plain: BareClient, at: int, body: bytes) -> None:
    one = await partial(plain, b"abc")
    url = (await final(plain, one)).headers["location"]
    assert (await patch(plain, url, at, body)).code == (403, "INSUFFICIENT_PERMISSIONS")
    assert stored(plain) == b"abc"
    assert await offset(plain, one) == 3


async def test_tus_X9_a_final_that_is_not_done(plain: BareClient, monkeypatch: pytest.MonkeyPatch) -> None:
    one, copying = await partial(plain, b"abc"), trio.Event()
    copy = FakeWriter.copy_from

    async def wait_and_copy(writer: FakeWriter, source: str, start: int, count: int) -> None:
        await copying.wait()
        await copy(writer, source, start, count)

    monkeypatch.setattr(FakeWriter, "copy_from", wait_and_copy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(final, plain, one)
        await until(lambda: [file for file in files(plain) if file.row.is_final and file.append])
        (file,) = (file for file in files(plain) if file.row.is_final)
        url = f"/files/{file.row.upload_id}"
        for headers in (TUS, {}):
            looked = await plain.ask("HEAD", url, None, headers)
            assert (looked.status, looked.headers["upload-length"]) == (200, "3")
            assert looked.headers["upload-concat"] == f"final;{one}"
            assert "upload-offset" not in looked.headers
        for at in (0, 1, 3):
            assert (await patch(plain, url, at, b"x")).code == (403, "INSUFFICIENT_PERMISSIONS")
        copying.set()
    assert stored(plain) == b"abc"
    assert await offset(plain, url) == 3


def files(client: Client) -> list[LiveFile]:
    sessions = client.gateway._registry.sessions.values()
    return [file for session in sessions for file in session.files.values()]


async def test_tus_X10_X11_partials_are_neither_files_nor_news(plain: BareClient) -> None:
    one = await partial(plain, b"abc", Upload_Metadata=metadata(filename="part", note="of a part"))
    answer = await final(plain, one)
    looked = await head(plain, answer.headers["location"])
    assert "upload-metadata" not in looked.headers
    place = await plain.gateway.resources.find(ANYBODY, answer.headers["location"].rpartition("/")[2])
    session = (await plain.ask("GET", f"/api/upload/sessions/{place.session_id}")).json
    assert [file["fileId"] for file in session["files"]] == [place.file_id]
    assert session["metadata"] == {}
    assert session["overallStatus"] == "completed"


async def test_tus_X12_partials_can_be_removed_with_the_final() -> None:
    async with bare(keep_partials=False) as plain:
        one = await partial(plain, b"abc")
        assert (await final(plain, one)).status == 201
        assert (await head(plain, one)).status in (404, 410)
        assert not plain.blobs.incoming_blobs


async def test_tus_X13_the_same_list_again_is_the_same_file(client: Client) -> None:
    one, other = await partial(client, b"abc"), await partial(client, b"de")
    first, again = await final(client, one, other), await final(client, one, other)
    assert (again.status, again.headers["location"]) == (201, first.headers["location"])
    assert (await final(client, other, one)).headers["location"] != first.headers["location"]


async def test_partials_of_a_registered_file(plain: BareClient) -> None:
    made = await created(plain, {"fileName": "a", "fileId": "a", "fileSize": 5})
    said = metadata(sessionId=made["sessionId"], fileId="a")
    one = await partial(plain, b"abc", Upload_Metadata=said)
    other = await create(plain, 2, Upload_Concat="partial", Upload_Metadata=said)
    path = f"/api/upload/sessions/{made['sessionId']}"
    assert (await plain.ask("GET", path)).json["files"][0]["uploadedBytes"] == 3
    await plain.ask("POST", f"{path}/commands", msgspec.json.encode({"type": "upload-pause"}))
    assert await offset(plain, other) == 0
    await plain.ask("POST", f"{path}/commands", msgspec.json.encode({"type": "upload-resume"}))
    await patch(plain, other, 0, b"de")
    assert (await final(plain, one, other, Upload_Metadata=said)).status == 201
    view = (await plain.ask("GET", path)).json
    assert [(file["fileId"], file["status"]) for file in view["files"]] == [("a", "completed")]
    assert stored(plain) == b"abcde"


@pytest.mark.parametrize("whole", [False, True])
async def test_a_partial_has_no_other_address_than_its_own(plain: BareClient, whole: bool) -> None:
    made = await created(plain, {"fileName": "a", "fileId": "a", "fileSize": 5})
    said = {"sessionId": made["sessionId"], **({"fileId": "a"} if whole else {})}
    url = await create(plain, 3, b"a", Upload_Concat="partial", Upload_Metadata=metadata(**said))
    file_id = f"+{url.rpartition('/')[2]}"
    path = f"/api/upload/sessions/{made['sessionId']}"
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert (await plain.ask(method, f"{path}/files/{file_id}", b"abc")).status == 404
    for command in ("upload-pause", "upload-resume", "upload-cancel"):
        answer = await plain.ask(
            "POST", f"{path}/commands", msgspec.json.encode({"type": command, "fileId": file_id})
        )
        assert answer.code == (404, "FILE_NOT_FOUND")
    assert await offset(plain, url) == 1


async def test_a_partial_is_deleted_like_any_upload(plain: BareClient) -> None:
    one = await partial(plain, b"abc")
    assert (await plain.ask("DELETE", one, None, TUS)).status == 204
    assert (await head(plain, one)).status in (404, 410)
    assert not plain.blobs.incoming_blobs
    assert (await final(plain, one)).code == (400, "INVALID_MESSAGE")


async def test_an_empty_partial(plain: BareClient) -> None:
    empty, one = await partial(plain, b""), await partial(plain, b"abc")
    assert (await final(plain, empty, one, empty)).status == 201
    assert stored(plain) == b"abc"
