"""Forms over every way a body can come: what is stored, what is refused, and what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from tests.server.http.clients import TRANSPORTS, Answer, Client, created
from tests.server.http.forms import BOUNDARY, FORM, field, file, form, part

DATA = bytes(range(256)) * 2000  # too big for the small way
UPLOAD = "/api/upload"


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with TRANSPORTS[request.param](max_file_bytes=6_000_000, allowed_formats=()) as made:
        yield made


async def send(client: Client, *parts: bytes, path: str = UPLOAD, pieces: int = 0) -> Answer:
    body = form(*parts)
    cut = [body[at : at + pieces] for at in range(0, len(body), pieces)] if pieces else body
    return await client.ask("POST", path, cut, FORM)


def stored(client: Client, result: dict[str, Any]) -> bytes:
    _, _, category, name = result["uploadPath"].split("/")
    return client.blobs.published_bytes(category, unquote(name))


async def files_of(client: Client, sid: str) -> list[Any]:
    answer = await client.ask("GET", f"/api/upload/sessions/{sid}")
    files: list[Any] = answer.json["files"]
    return files


# The one-liner


@pytest.mark.parametrize(
    "content", [b"", b"abc", DATA, bytes(5_000_000)], ids=["empty", "3", "512000", "5 MB"]
)
@pytest.mark.parametrize("pieces", [0, 65_536], ids=["plain", "chunked"])
async def test_one_file(client: Client, content: bytes, pieces: int) -> None:
    answer = await send(client, file("file", content, "movie.mp4", "video/mp4"), pieces=pieces)
    assert answer.status == 200, answer
    body = answer.json
    assert set(body) == {"sessionId", "watchKey", "overallStatus", "results"}
    assert body["overallStatus"] == "completed"
    (result,) = body["results"]
    assert result.items() >= {
        ("fieldName", "file"), ("fileName", "movie.mp4"), ("ok", True), ("status", "completed")
    }  # fmt: skip
    assert stored(client, result) == content
    (view,) = await files_of(client, body["sessionId"])
    wanted = {
        "fileId": result["fileId"],
        "fileSize": len(content),
        "fileType": "video/mp4",
        "progress": 100,
        "durableBytes": len(content),
        "uploadPath": result["uploadPath"],
    }
    assert view.items() >= wanted.items()
    got = await client.ask("GET", result["uploadPath"])
    assert (got.status, got.body) == (200, content)
    assert not client.blobs.incoming_blobs
    assert client.gateway.statistics().buffer_bytes == 0


async def test_many_in_order_small_and_big(client: Client) -> None:
    contents = [bytes([n % 251]) * (n * 37 % 5000) for n in range(300)]
    contents[150] = bytes(range(256)) * 20_480
    answer = await send(client, *(file("f", data, f"{n}.bin") for n, data in enumerate(contents)))
    assert answer.status == 200
    results = answer.json["results"]
    assert [result["fileName"] for result in results] == [f"{n}.bin" for n in range(300)]
    assert all(result["ok"] for result in results)
    assert [stored(client, result) for result in results] == contents
    assert answer.json["overallStatus"] == "completed"
    assert client.gateway.statistics().buffer_bytes == 0


async def test_fifty_files_in_one_request(client: Client) -> None:
    answer = await send(client, *(file("files", DATA[n:], f"{n}.bin") for n in range(50)), pieces=100_000)
    assert [stored(client, result) for result in answer.json["results"]] == [DATA[n:] for n in range(50)]


@pytest.mark.parametrize(
    ("path", "fields", "category"),
    [
        (UPLOAD, (), "personal"),
        (UPLOAD + "?category=scenic", (), "scenic"),
        (UPLOAD, (field("category", "scenic"),), "scenic"),
        (UPLOAD + "?category=personal", (field("category", "scenic"),), "scenic"),
    ],
)
async def test_category(client: Client, path: str, fields: tuple[bytes, ...], category: str) -> None:
    answer = await send(client, *fields, file("f", b"abc"), path=path)
    assert answer.json["results"][0]["uploadPath"].startswith(f"/upload/{category}/")


@pytest.mark.parametrize("path", [UPLOAD, UPLOAD + "?category=other"])
async def test_an_unknown_category_makes_nothing(client: Client, path: str) -> None:
    fields = () if "?" in path else (field("category", "other"),)
    answer = await send(client, *fields, file("f", b"abc"), path=path)
    assert answer.code == (400, "INVALID_MESSAGE")
    assert answer.json["details"] == {"allowed": ["personal", "scenic"]}
    assert client.gateway.statistics().sessions == 0


async def test_a_late_category_names_the_fix_and_what_was_stored(client: Client) -> None:
    answer = await send(client, file("f", b"abc"), field("category", "scenic"), file("g", b"def"))
    assert answer.code == (400, "INVALID_MESSAGE")
    assert answer.json["detail"].startswith("category: must come before the first file")
    (result,) = answer.json["details"]["results"]
    assert stored(client, result) == b"abc"


async def test_fields_before_the_files_are_kept_as_metadata(client: Client) -> None:
    answer = await send(client, field("tag", "旅行"), field("x", ""), file("f", b"abc"), field("late", "y"))
    session = await client.ask("GET", f"/api/upload/sessions/{answer.json['sessionId']}")
    assert session.json["metadata"] == {"tag": "旅行", "x": ""}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((field("x", "y" * 4097),), "x: a field may have at most 4096 bytes"),
        ((field("x", "y" * 4096), file("f", b"abc")), "metadata: at most 4096 bytes"),
        (tuple(field(f"x{n}", "") for n in range(101)), "at most 100 fields"),
        ((), "the form has no file"),
        ((field("x", "y"),), "the form has no file"),
        ((file("f", b"", ""),), "the form has no file"),
        ((part("form-data; name=f", b"x", "Content-Type: multipart/mixed; boundary=x"),), "multipart/mixed"),
        (
            (part("form-data; name=f", b"x", "Content-Transfer-Encoding: base64"),),
            "Content-Transfer-Encoding",
        ),
    ],
    ids=["field", "metadata", "fields", "nothing", "no file", "not chosen", "nested", "encoded"],
)
async def test_a_form_that_is_refused_whole(client: Client, parts: tuple[bytes, ...], words: str) -> None:
    answer = await send(client, *parts)
    assert answer.code == (400, "INVALID_MESSAGE")
    assert words in answer.json["detail"]
    assert client.gateway.statistics().sessions == 0


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/octet-stream", 415),
        ("", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
    ],
)
async def test_another_body_names_the_fix(client: Client, content_type: str, status: int) -> None:
    answer = await client.ask("POST", UPLOAD, b"abc", {"Content-Type": content_type} if content_type else {})
    assert answer.status == status
    assert answer.json["detail"].startswith("Content-Type: ")


NAMES = {
    "文档 最终版.pdf": "文档 最终版.pdf",
    "a%22b.txt": 'a"b.txt',
    "a%0D%0AX-Evil: 1.txt": "a\r\nX-Evil: 1.txt",
    "../../../etc/passwd": "../../../etc/passwd",
    "x" * 300 + ".txt": "x" * 300 + ".txt",
}


@pytest.mark.parametrize("name", NAMES, ids=["Chinese", "quoted", "line break", "path", "long"])
async def test_names_are_shown_and_never_a_path(client: Client, name: str) -> None:
    answer = await send(client, file("f", b"abc", name), file("g", DATA, name))
    for result, content in zip(answer.json["results"], (b"abc", DATA), strict=True):
        assert result["fileName"] == NAMES[name]
        got = await client.ask("GET", result["uploadPath"])
        assert (got.status, got.body) == (200, content)
        assert "x-evil" not in got.headers


# Into a session


async def test_parts_find_their_registered_files(client: Client) -> None:
    one = {"fileName": "one", "fileId": "a", "fileSize": 3}
    made = await created(client, one, {"fileName": "two", "fileId": "b"})
    path = f"/api/upload/sessions/{made['sessionId']}/files"
    answer = await send(
        client, file("b", DATA, "other"), file("a", b"abc"), file("c", b"new", "c.txt"), path=path
    )
    assert answer.status == 200
    assert [result["fileId"] for result in answer.json["results"][:2]] == ["b", "a"]
    assert [stored(client, result) for result in answer.json["results"]] == [DATA, b"abc", b"new"]
    names = {view["fileName"]: view["status"] for view in await files_of(client, made["sessionId"])}
    assert names == {"one": "completed", "two": "completed", "c.txt": "completed"}


async def test_json_still_registers(client: Client) -> None:
    made = await created(client)
    path = f"/api/upload/sessions/{made['sessionId']}/files"
    body = msgspec.json.encode({"files": [{"fileName": "a"}]})
    assert (await client.ask("POST", path, body, {"Content-Type": "application/json"})).status == 201


@pytest.mark.parametrize("content", [b"abcd", DATA], ids=["small", "big"])
async def test_longer_than_registered_fails_alone(client: Client, content: bytes) -> None:
    made = await created(client, {"fileName": "a", "fileId": "a", "fileSize": 3})
    path = f"/api/upload/sessions/{made['sessionId']}/files"
    answer = await send(client, file("x", b"before"), file("a", content), file("y", b"after"), path=path)
    assert answer.status == 200
    first, bad, last = answer.json["results"]
    assert (first["ok"], bad["ok"], last["ok"]) == (True, False, True)
    assert (bad["status"], bad["error"]["code"]) == ("failed", "FILE_SIZE_EXCEEDED")
    assert answer.json["overallStatus"] == "partial"


@pytest.mark.parametrize("content", [b"ab", DATA], ids=["small", "big"])
async def test_shorter_than_registered_may_be_retried(client: Client, content: bytes) -> None:
    size = len(content) + 1
    made = await created(client, {"fileName": "a", "fileId": "a", "fileSize": size})
    path = f"/api/upload/sessions/{made['sessionId']}/files"
    answer = await send(client, file("a", content), file("y", b"after"), path=path)
    assert answer.status == 200
    short, after = answer.json["results"]
    assert (short["ok"], short["status"], short["error"]["code"]) == (False, "failed", "NETWORK_ERROR")
    assert after["ok"]
    views = {view["fileId"]: view for view in await files_of(client, made["sessionId"])}
    assert views["a"]["canRetry"]
    url = made["files"][0]["uploadUrl"]
    at = len(content)
    assert (await client.ask("PUT", url, b"c", {"Content-Range": f"bytes {at}-{at}/{size}"})).status == 200


async def test_only_bad_parts_answer_as_the_first_of_them(client: Client) -> None:
    made = await created(client, {"fileName": "a", "fileId": "a"})
    path = f"/api/upload/sessions/{made['sessionId']}/files"
    await client.ask("PUT", made["files"][0]["uploadUrl"], b"abc")
    answer = await send(client, file("a", b"abc"), file("x", b"y", "n" * 1025), path=path)
    assert answer.code == (409, "UPLOAD_ALREADY_COMPLETED")
    details = answer.json["details"]
    assert [result["error"]["code"] for result in details["results"]] == [
        "UPLOAD_ALREADY_COMPLETED",
        "INVALID_MESSAGE",
    ]
    assert details["results"][0]["fileId"] == "a"
    assert details["results"][1]["fileId"] is None


async def test_bad_parts_beside_good_ones(client: Client) -> None:
    parts = [
        file("f", b"1", "1"),
        file("f", b"2", "n" * 1025),
        file("f", DATA, "3"),
        part('form-data; name="f"; filename="4"', b"4", "Content-Transfer-Encoding: base64"),
        file("f", bytes(6_000_001), "5"),
        file("f", b"", ""),
        file("f", b"content", ""),
        file("f", b"8", "8"),
    ]
    answer = await send(client, *parts)
    assert answer.status == 200
    codes = [result.get("error", {}).get("code") for result in answer.json["results"]]
    bad = "INVALID_MESSAGE"
    assert codes == [None, bad, None, bad, "FILE_SIZE_EXCEEDED", bad, None]
    assert client.gateway.statistics().appends == 0


async def test_the_same_file_twice_in_a_form(client: Client) -> None:
    made = await created(client, {"fileName": "a", "fileId": "a"})
    path = f"/api/upload/sessions/{made['sessionId']}/files"
    answer = await send(client, file("a", b"first"), file("a", b"second"), path=path)
    assert [result["ok"] for result in answer.json["results"]] == [True, False]
    assert stored(client, answer.json["results"][0]) == b"first"


async def test_a_part_is_a_new_attempt_on_what_has_bytes(client: Client) -> None:
    made = await created(client, {"fileName": "a", "fileId": "a", "fileSize": 3})
    url = made["files"][0]["uploadUrl"]
    await client.ask("PUT", url, b"x", {"Content-Range": "bytes 0-0/3"})
    answer = await send(client, file("a", b"abc"), path=f"/api/upload/sessions/{made['sessionId']}/files")
    assert stored(client, answer.json["results"][0]) == b"abc"
    assert (await client.ask("GET", url)).json["attempt"] == 2


async def test_another_category_than_the_sessions_is_refused(client: Client) -> None:
    made = await created(client, category="scenic")
    path = f"/api/upload/sessions/{made['sessionId']}/files"
    for answer in (
        await send(client, field("category", "personal"), file("f", b"abc"), path=path),
        await send(client, file("f", b"abc"), path=path + "?category=personal"),
    ):
        assert answer.code == (400, "INVALID_MESSAGE")
        assert answer.json["detail"].startswith("category: ")
    assert (await send(client, field("category", "scenic"), file("f", b"abc"), path=path)).status == 200


async def test_who_may_not_add(client: Client) -> None:
    made = await created(client)
    for sid, code in {
        made["watchKey"]: (403, "INSUFFICIENT_PERMISSIONS"),
        "00000000-0000-4000-8000-000000000000": (404, "SESSION_NOT_FOUND"),
        "x": (400, "INVALID_SESSION"),
    }.items():
        answer = await send(client, file("f", b"abc"), path=f"/api/upload/sessions/{sid}/files")
        assert answer.code == code
    assert not client.blobs.published_blobs


# What is wrong with the body itself


@pytest.mark.parametrize(
    ("body", "stored_files"),
    [
        (form(file("a", b"abc"), file("b", DATA))[:-4], 1),
        (form(file("a", b"abc"), file("b", DATA))[:400], 1),
        (form(file("a", b"abc"), file("b", DATA)).replace(b'form-data; name="b"', b"form-data"), 1),
        (form(file("a", DATA), part("nonsense", b"")), 1),
        (form(file("a", b"abc")).replace(BOUNDARY.encode(), b"another"), None),
        (b"", None),
    ],
    ids=["no end", "cut off", "no name", "no disposition", "other boundary", "nothing"],
)
async def test_a_malformed_form_keeps_what_was_whole(
    client: Client, body: bytes, stored_files: int | None
) -> None:
    answer = await client.ask("POST", UPLOAD, body, FORM)
    assert answer.code == (400, "INVALID_MESSAGE")
    assert "the form cannot be read" in answer.json["detail"]
    if stored_files is None:
        assert answer.json["details"] == {}
        return
    results = answer.json["details"]["results"]
    assert sum(result["ok"] for result in results) == stored_files == len(client.blobs.published_blobs)
    assert client.gateway.statistics().appends == client.gateway.statistics().buffer_bytes == 0


async def test_more_files_than_a_session_holds() -> None:
    for transport in TRANSPORTS.values():
        async with transport(max_session_files=3) as client:
            answer = await send(client, *(file("f", b"x", f"{n}") for n in range(5)))
            assert answer.code == (503, "SERVER_BUSY")
            oks = [result["ok"] for result in answer.json["details"]["results"]]
            assert oks == [True, True, True, False]


async def test_a_format_that_is_not_taken() -> None:
    for transport in TRANSPORTS.values():
        async with transport(allowed_formats=("mp4", "image/png")) as client:
            parts = [file("f", b"x", "a.exe"), file("f", b"x", "a.mp4"), file("f", b"x", "b", "image/png")]
            answer = await send(client, *parts)
            results = answer.json["results"]
            assert [result["ok"] for result in results] == [False, True, True]
            assert results[0]["error"]["code"] == "UNSUPPORTED_FORMAT"


async def test_a_full_disk(client: Client) -> None:
    client.blobs.full_at_bytes = 1000
    parts = [
        file("f", bytes(600), "1"),
        file("f", bytes(600), "2"),
        file("f", DATA, "3"),
        file("f", b"4", "4"),
    ]
    answer = await send(client, *parts)
    assert answer.status == 200
    codes = [result.get("error", {}).get("code") for result in answer.json["results"]]
    assert codes == [None, "INSUFFICIENT_STORAGE", "INSUFFICIENT_STORAGE", None]
    assert client.gateway.statistics().buffer_bytes == 0
