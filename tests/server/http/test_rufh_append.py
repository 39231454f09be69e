"""The IETF draft: Upload Append, over every way a body can come."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator

import pytest
import trio

from tests.server.http.clients import TRANSPORTS, Body, Client, bare, created
from tests.server.http.draft_client import DraftClient, problem, says_complete

DATA = bytes(range(256)) * 1000


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with TRANSPORTS[request.param](max_file_bytes=1_000_000) as made:
        yield made


@pytest.fixture
async def draft(client: Client) -> DraftClient:
    return DraftClient(client)


def stored(draft: DraftClient) -> bytes:
    (blob,) = draft.client.blobs.published_blobs.values()
    return bytes(blob.data)


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@pytest.mark.parametrize("chunked", [False, True], ids=["plain", "chunked"])
async def test_in_three_parts(draft: DraftClient, chunked: bool) -> None:
    parts: list[Body] = [[part] if chunked else part for part in (DATA[:1], DATA[1:70_000], DATA[70_000:])]
    url = await draft.started(parts[0])
    middle = await draft.append(url, 1, parts[1], complete=False)
    assert (middle.status, says_complete(middle), middle.body) == (204, False, b"")
    assert middle.headers["upload-offset"] == "70000"
    last = await draft.append(url, 70_000, parts[2], complete=True)
    assert (last.status, says_complete(last)) == (201, True)
    assert (last.json["status"], last.json["fileSize"]) == ("completed", len(DATA))
    assert (last.headers["location"], last.headers["upload-offset"]) == (url, str(len(DATA)))
    assert stored(draft) == DATA


@pytest.mark.parametrize("body", [b"", None, []], ids=["length 0", "no body", "chunked"])
async def test_rufh_P5_an_empty_body_completes(draft: DraftClient, body: Body) -> None:
    url = await draft.started(b"abc")
    answer = await draft.append(url, 3, body, complete=True)
    assert (answer.status, says_complete(answer), answer.json["fileSize"]) == (201, True, 3)
    assert stored(draft) == b"abc"


async def test_an_empty_part(draft: DraftClient) -> None:
    url = await draft.started(b"abc")
    answer = await draft.append(url, 3, b"", complete=False)
    assert (answer.status, says_complete(answer), answer.headers["upload-offset"]) == (204, False, "3")


async def test_rufh_H3_all_bytes_alone_do_not_complete_it(draft: DraftClient) -> None:
    url = await draft.started(b"ab", upload_length="3")
    answer = await draft.append(url, 2, b"c", complete=False)
    assert (answer.status, says_complete(answer)) == (204, False)
    head = await draft.head(url)
    assert (says_complete(head), head.headers["upload-offset"], head.headers["upload-length"]) == (
        False,
        "3",
        "3",
    )
    assert not draft.client.blobs.published_blobs
    assert (await draft.append(url, 3, b"", complete=True)).status == 201
    assert says_complete(await draft.head(url)) is True
    assert stored(draft) == b"abc"


async def test_rufh_H3_nor_does_the_length_of_nothing(draft: DraftClient) -> None:
    url = await draft.started(b"", upload_length="0")
    head = await draft.head(url)
    assert (says_complete(head), head.headers["upload-length"]) == (False, "0")
    assert (await draft.append(url, 0, b"", complete=True)).status == 201
    assert stored(draft) == b""


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/offset+octet-stream"])
async def test_rufh_P1_another_media_type(draft: DraftClient, kind: str) -> None:
    url = await draft.started(b"abc")
    answer = await draft.append(url, 3, b"d", complete=True, content_type=kind)
    assert answer.code == (415, "UNSUPPORTED_FORMAT")
    assert answer.headers["accept-patch"] == "application/partial-upload"
    assert (says_complete(answer), answer.headers["upload-offset"]) == (False, "3")


@pytest.mark.parametrize("missing", ["Upload-Offset", "Upload-Complete"])
@pytest.mark.parametrize("said", [None, "five", "-1"])
async def test_rufh_P1_what_is_missing(draft: DraftClient, missing: str, said: str | None) -> None:
    url = await draft.started(b"abc")
    headers = draft.appending(3, complete=True)
    del headers[missing]
    headers |= {missing: said} if said else {}
    answer = await draft.client.ask("PATCH", url, b"d", headers)
    assert answer.code == (400, "INVALID_MESSAGE")
    assert missing in answer.json["detail"]
    assert (says_complete(answer), answer.headers["upload-offset"]) == (False, "3")


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("offset", [0, 2, 4, 999_999_999_999_999])
async def test_rufh_P2_another_offset(draft: DraftClient, offset: int, complete: bool) -> None:
    url = await draft.started(b"abc", upload_length="9")
    answer = await draft.append(url, offset, b"defghi", complete=complete)
    assert problem(answer) == (409, "mismatching-upload-offset")
    assert (answer.json["expected-offset"], answer.json["provided-offset"]) == (3, offset)
    assert (answer.json["code"], answer.json["title"]) == ("OFFSET_MISMATCH", "Mismatching Upload Offset")
    assert (says_complete(answer), answer.headers["upload-offset"]) == (False, "3")
    assert (await draft.append(url, 3, b"defghi", complete=True)).status == 201
    assert stored(draft) == b"abcdefghi"


@pytest.mark.parametrize(
    ("length", "body", "complete", "said"),
    [
        ("9", b"def", True, {}),
        ("9", b"defghijk", True, {}),
        ("9", [b"def"], False, {"upload_length": "10"}),
        ("9", [b"def"], True, {"upload_length": "8"}),
        (None, b"def", True, {"upload_length": "7"}),
        (None, b"def", False, {"upload_length": "2"}),
    ],
    ids=["short", "long", "another", "another at the end", "contradicts itself", "less than is here"],
)
async def test_rufh_P6_two_lengths(
    draft: DraftClient, length: str | None, body: Body, complete: bool, said: dict[str, str]
) -> None:
    url = await draft.started(b"abc", **({"upload_length": length} if length else {}))
    answer = await draft.append(url, 3, body, complete=complete, **said)
    assert problem(answer) == (400, "inconsistent-upload-length")
    assert (says_complete(answer), answer.headers["upload-offset"]) == (False, "3")
    assert (await draft.head(url)).headers["upload-offset"] == "3"


async def test_rufh_P6_the_length_may_come_late(draft: DraftClient) -> None:
    url = await draft.started(b"abc")
    assert "upload-length" not in (await draft.head(url)).headers
    await draft.append(url, 3, b"d", complete=False, upload_length="6")
    assert (await draft.head(url)).headers["upload-length"] == "6"
    assert (await draft.append(url, 4, b"ef", complete=True)).status == 201


async def test_rufh_P6_a_length_below_the_offset(draft: DraftClient) -> None:
    url = await draft.started(b"abcde")
    answer = await draft.append(url, 5, complete=False, upload_length="3")
    assert problem(answer) == (400, "inconsistent-upload-length")
    assert answer.json["detail"].startswith("Upload-Length: ")


async def test_a_body_that_ends_before_the_length(draft: DraftClient) -> None:
    url = await draft.started(b"abc", upload_length="9")
    answer = await draft.append(url, 3, [b"d", b"ef"], complete=True)
    assert problem(answer) == (400, "inconsistent-upload-length")
    assert (says_complete(answer), answer.headers["upload-offset"]) == (False, "6")
    assert (await draft.append(url, 6, b"ghi", complete=True)).status == 201
    assert stored(draft) == b"abcdefghi"


@pytest.mark.parametrize("body", [b"defg", [b"de", b"fg"]], ids=["announced", "chunked"])
async def test_rufh_P7_beyond_the_length(draft: DraftClient, body: Body) -> None:
    url = await draft.started(b"abc", upload_length="6")
    answer = await draft.append(url, 3, body, complete=False)
    assert answer.code == (413, "FILE_SIZE_EXCEEDED")
    assert (says_complete(answer), "upload-limit" in answer.headers) == (True, True)
    head = await draft.head(url)
    assert (head.status, "upload-offset" in head.headers) == (410, False)
    assert (await draft.append(url, 6, b"", complete=True)).status == 410
    assert (await draft.append(url, 3, b"def", complete=True)).status == 410
    assert not draft.client.blobs.published_blobs


async def test_rufh_S9_beyond_the_limit(draft: DraftClient) -> None:
    url = await draft.started(b"abc")
    answer = await draft.append(url, 3, bytes(1_000_001), complete=True)
    assert answer.code == (413, "FILE_SIZE_EXCEEDED")
    assert answer.headers["upload-limit"] == "max-size=1000000"
    assert (says_complete(answer), answer.headers["upload-offset"]) == (False, "3")  # nothing was taken


# On a completed upload


@pytest.mark.parametrize("body", [DATA[1000:], [DATA[1000:]]], ids=["plain", "chunked"])
async def test_rufh_P9_the_last_append_again(draft: DraftClient, body: Body) -> None:
    url = await draft.started(DATA[:1000])
    first = await draft.append(url, 1000, body, complete=True)
    again = await draft.append(url, 1000, body, complete=True)
    assert (again.status, again.json, says_complete(again)) == (201, first.json, True)
    nothing = await draft.append(url, len(DATA), b"", complete=True)
    assert (nothing.status, nothing.json) == (201, first.json)
    assert stored(draft) == DATA


async def test_rufh_P9_of_a_creation_that_was_whole(draft: DraftClient) -> None:
    made = await draft.create(b"abc", complete=True)
    again = await draft.append(made.headers["location"], 0, b"abc", complete=True)
    assert (again.status, again.json) == (201, made.json)


@pytest.mark.parametrize(
    ("version", "offset", "body", "complete", "wanted"),
    [
        (8, 2, b"xyz", True, (409, "mismatching-upload-offset")),
        (8, 4, b"", True, (409, "mismatching-upload-offset")),
        (8, 1, b"x", True, (409, "mismatching-upload-offset")),
        (8, 1, b"bc", False, (409, "mismatching-upload-offset")),
        (8, 3, b"x", True, (400, "completed-upload")),
        (8, 3, b"", False, (400, "completed-upload")),
        (6, 2, b"xyz", True, (400, "completed-upload")),
        (6, 3, b"x", True, (400, "completed-upload")),
        (5, 3, b"x", True, (400, "completed-upload")),
    ],
)
async def test_rufh_P9_anything_else_is_refused(
    client: Client, version: int, offset: int, body: bytes, complete: bool, wanted: tuple[int, str]
) -> None:
    draft = DraftClient(client, version)
    url = await draft.started(b"a")
    await draft.append(url, 1, b"bc", complete=True)
    answer = await draft.append(url, offset, body, complete=complete)
    assert problem(answer) == wanted
    assert (says_complete(answer), answer.headers["upload-offset"]) == (True, "3")
    assert stored(draft) == b"abc"


# Digests of a body


async def test_rufh_G3_a_content_digest(draft: DraftClient) -> None:
    url = await draft.started(b"abc")
    wrong = await draft.append(url, 3, b"def", complete=True, content_digest=digest(b"x"))
    assert (wrong.code, says_complete(wrong)) == ((422, "CHECKSUM_MISMATCH"), False)
    assert (wrong.headers["upload-offset"], (await draft.head(url)).headers["upload-offset"]) == ("3", "3")
    fits = await draft.append(url, 3, b"def", complete=True, content_digest=digest(b"def"))
    assert fits.status == 201
    assert stored(draft) == b"abcdef"


async def test_a_malformed_digest_is_refused_before_a_byte_is_taken(draft: DraftClient) -> None:
    url = await draft.started(b"abc")
    answer = await draft.append(url, 3, b"def", complete=True, content_digest="sha-256=:AAAA:")
    assert answer.code == (400, "INVALID_MESSAGE")
    assert (await draft.head(url)).headers["upload-offset"] == "3"


# Pause, from anywhere


async def test_a_paused_upload_holds_its_append_then_lets_it_go(autojump_clock: trio.abc.Clock) -> None:
    async with bare(pause_hold_s=5) as client:
        draft = DraftClient(client)
        session_id = (await created(client))["sessionId"]
        metadata = f"sessionId {base64.b64encode(session_id.encode()).decode()},fileId Zg=="
        url = await draft.started(b"abc", upload_metadata=metadata)
        commands = f"/api/upload/sessions/{session_id}/commands"
        pause = b'{"type": "upload-pause", "fileId": "f"}'
        assert (await client.ask("POST", commands, pause)).status == 200
        began = trio.current_time()
        answer = await draft.append(url, 3, b"def", complete=True)
        assert trio.current_time() - began == pytest.approx(5)
        assert (answer.code, says_complete(answer)) == ((423, "UPLOAD_LOCKED"), False)
        assert (answer.headers["upload-offset"], answer.headers["retry-after"]) == ("3", "5")
        assert (await draft.head(url)).status == 204
        await client.ask("POST", commands, b'{"type": "upload-resume"}')
        assert (await draft.append(url, 3, b"def", complete=True)).status == 201
    assert stored(draft) == b"abcdef"


async def test_unknown_uploads(draft: DraftClient) -> None:
    answer = await draft.append("/files/" + "0" * 32, 0, b"abc", complete=True)
    assert answer.code == (404, "FILE_NOT_FOUND")
    assert "upload-offset" not in answer.headers
    assert (await draft.append("/files/x", 0, b"abc", complete=True)).status == 404
