"""Downloads: whole, in parts, conditional, and harmless."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email import message_from_bytes
from email.utils import formatdate
from typing import Any

import pytest

from penstock.storage.errors import StoreError
from tests.server.edge.harness import until
from tests.server.http.clients import Answer, BareClient, Client, bare, created, over_sockets, rendered

DATA = bytes(range(256)) * 4000  # several reads


@pytest.fixture
async def client() -> AsyncIterator[BareClient]:
    async with bare() as made:
        yield made
        assert made.blobs.open_readers == 0


async def finished(client: Client, data: bytes = DATA, name: str = "a.bin", **fields: Any) -> str:
    """The uploadPath of a finished file."""
    made = await created(client, {"fileName": name, "fileId": "a", **fields})
    path: str = (await client.ask("PUT", made["files"][0]["uploadUrl"], data)).json["uploadPath"]
    return path


async def get(client: Client, path: str, **headers: str) -> Answer:
    return await client.ask("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})


async def test_whole(client: BareClient) -> None:
    path = await finished(client)
    answer = await get(client, path)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    head = await client.ask("HEAD", path)
    assert (head.status, head.body, head.headers) == (200, b"", answer.headers)


async def test_an_empty_file(client: BareClient) -> None:
    answer = await get(client, await finished(client, b""), Range="bytes=0-")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


async def test_over_a_connection() -> None:
    async with over_sockets() as client:
        path = await finished(client)
        assert (await get(client, path)).body == DATA
        head = await client.ask("HEAD", path)
        assert (head.headers["content-length"], head.body) == (str(len(DATA)), b"")
        async with client.connect() as raw:
            await raw.send(b"".join(rendered("GET", path)))
            await raw.until(b"\r\n\r\n")
        await until(lambda: client.blobs.open_readers == 0)


@pytest.mark.parametrize(
    "path", ["/upload/personal/x", "/upload/other/x", "/upload/personal/..%2f..%2fstate.db"]
)
async def test_what_is_not_there(client: BareClient, path: str) -> None:
    assert (await get(client, path)).status == 404


async def test_bytes_that_are_gone(client: BareClient) -> None:
    path = await finished(client)
    client.blobs.published_blobs.clear()
    assert (await get(client, path)).code == (404, "FILE_NOT_FOUND")


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=5-", 5, None), ("bytes=-3", -3, None), ("BYTES=10-300000", 10, 300_001),
     ("bytes=0-99999999", 0, None), ("bytes=-99999999", 0, None), ("bytes=7-8, 9999999-", 7, 9)],
)  # fmt: skip
async def test_a_part(client: BareClient, wanted: str, start: int, end: int | None) -> None:
    answer = await get(client, await finished(client), Range=wanted)
    part = DATA[start:end]
    first = start % len(DATA)
    assert (answer.status, answer.body) == (206, part)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(len(part))


async def test_several_parts(client: BareClient) -> None:
    answer = await get(client, await finished(client), Range="bytes=0-3, 300000-600000,-2")
    assert answer.status == 206
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "content-range" not in answer.headers
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    _, *parts = message_from_bytes(head + answer.body).walk()
    got = [(part["Content-Range"], part["Content-Type"]) for part in parts]
    size = len(DATA)
    assert got == [
        (f"bytes 0-3/{size}", "application/octet-stream"),
        (f"bytes 300000-600000/{size}", "application/octet-stream"),
        (f"bytes {size - 2}-{size - 1}/{size}", "application/octet-stream"),
    ]
    pieces = answer.body.split(b"\r\n--" + answer.headers["content-type"].partition("boundary=")[2].encode())
    assert [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:4]] == [
        DATA[:4],
        DATA[300_000:600_001],
        DATA[-2:],
    ]


@pytest.mark.parametrize(
    "wanted",
    [
        "lines=1-2",
        "bytes=",
        "bytes=x-",
        "bytes=-",
        "bytes=5-4",
        "bytes=0-,0-",
        "bytes=" + ",".join(["0-0"] * 17),
    ],
)
async def test_ranges_that_are_ignored(client: BareClient, wanted: str) -> None:
    answer = await get(client, await finished(client), Range=wanted)
    assert (answer.status, answer.body) == (200, DATA)


@pytest.mark.parametrize("wanted", [f"bytes={len(DATA)}-", "bytes=-0", "bytes=9999999-99999999,-0"])
async def test_ranges_outside(client: BareClient, wanted: str) -> None:
    answer = await get(client, await finished(client), Range=wanted)
    assert answer.code[0] == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


async def test_conditions(client: BareClient) -> None:
    path = await finished(client)
    seen = (await get(client, path)).headers
    etag, date = seen["etag"], seen["last-modified"]
    for headers in ({"If_None_Match": etag}, {"If_None_Match": f'"x", W/{etag}'}, {"If_None_Match": "*"},
                    {"If_Modified_Since": date}):  # fmt: skip
        answer = await get(client, path, **headers)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
        assert "content-length" not in answer.headers
    for headers in ({"If_None_Match": '"x"', "If_Modified_Since": date}, {"If_Match": etag},
                    {"If_Modified_Since": formatdate(0, usegmt=True)}):  # fmt: skip
        assert (await get(client, path, **headers)).status == 200
    for headers in ({"If_Match": '"x"'}, {"If_Unmodified_Since": formatdate(0, usegmt=True)}):
        assert (await get(client, path, **headers)).code[0] == 412


async def test_a_part_of_the_same_file_only(client: BareClient) -> None:
    path = await finished(client)
    seen = (await get(client, path)).headers
    for holds in (seen["etag"], seen["last-modified"]):
        assert (await get(client, path, Range="bytes=0-0", If_Range=holds)).status == 206
    for stale in ('"x"', f"W/{seen['etag']}", formatdate(0, usegmt=True), "nonsense"):
        assert (await get(client, path, Range="bytes=0-0", If_Range=stale)).body == DATA


@pytest.mark.parametrize(
    ("name", "kind", "served", "disposition"),
    [
        ("a.bin", "", "application/octet-stream", 'attachment; filename="a.bin"'),
        ("a.mp4", "", "video/mp4", 'inline; filename="a.mp4"'),
        ("a.txt", "text/plain; charset=x", "text/plain", 'inline; filename="a.txt"'),
        ("a.pdf", "application/pdf", "application/pdf", 'inline; filename="a.pdf"'),
        ("a.html", "text/html", "text/html", 'attachment; filename="a.html"'),
        ("a.svg", "image/svg+xml", "image/svg+xml", 'attachment; filename="a.svg"'),
        ("a", "image/png\r\nX-Evil: 1", "application/octet-stream", 'attachment; filename="a"'),
        ("电影 1.mp4", "video/mp4", "video/mp4",
         "inline; filename=\"__ 1.mp4\"; filename*=UTF-8''%E7%94%B5%E5%BD%B1%201.mp4"),
        ('a"b\\c/d', "", "application/octet-stream",
         "attachment; filename=\"a_b_c_d\"; filename*=UTF-8''a%22b_c_d"),
        ("a\r\nX-Evil: 1", "", "application/octet-stream",
         "attachment; filename=\"a__X-Evil: 1\"; filename*=UTF-8''a__X-Evil%3A%201"),
    ],
)  # fmt: skip
async def test_names_and_types_do_no_harm(
    client: BareClient, name: str, kind: str, served: str, disposition: str
) -> None:
    answer = await get(client, await finished(client, b"x", name, fileType=kind))
    assert answer.headers["content-type"] == served
    assert answer.headers["content-disposition"] == disposition
    assert "x-evil" not in answer.headers


async def test_another_size_than_was_stored_is_not_served(client: BareClient) -> None:
    path = await finished(client)
    (blob,) = client.blobs.published_blobs.values()
    del blob.data[-1:]
    assert (await get(client, path)).code == (500, "SERVER_ERROR")


async def test_a_store_that_fails_in_the_middle_cuts_the_answer() -> None:
    async with over_sockets() as client:
        size = 30_000_000  # more than the kernel holds between us and a client that does not read
        path = await finished(client, bytes(size))
        async with client.connect() as raw:
            await raw.send(b"".join(rendered("GET", path)))
            head = await raw.until(b"\r\n\r\n")
            client.blobs.fault = StoreError("the disk is gone")
            body = await raw.rest()
        assert f"content-length: {size}".encode() in head
        assert 0 < len(body) < size
        await until(lambda: client.blobs.open_readers == 0)
