"""The IETF draft: Upload Creation, over every way a body can come."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import AsyncIterator

import pytest
import trio

from tests.server.http.clients import TRANSPORTS, Body, Client, bare, created, one_file
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


def digest(data: bytes, algorithm: str = "sha-256") -> str:
    value = hashlib.new(algorithm.replace("-", ""), data).digest()
    return f"{algorithm}=:{base64.b64encode(value).decode()}:"


def encoded(**pairs: str) -> str:
    """As Upload-Metadata."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


@pytest.mark.parametrize("body", [DATA, [DATA[:1], DATA[1:70_000], DATA[70_000:]]], ids=["plain", "chunked"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_rufh_C2_all_at_once(draft: DraftClient, body: Body, method: str) -> None:
    answer = await draft.create(body, complete=True, method=method)
    assert (answer.status, says_complete(answer)) == (201, True)
    assert answer.headers["upload-offset"] == str(len(DATA))
    assert answer.headers["upload-draft-interop-version"] == "8"
    view = answer.json
    assert (view["status"], view["fileSize"]) == ("completed", len(DATA))
    assert view["uploadPath"].startswith("/upload/personal/")
    assert view["tusUrl"] == answer.headers["location"]
    assert "uploadUrl" not in view  # who has an upload's URL need not know its session
    assert stored(draft) == DATA


@pytest.mark.parametrize("body", [b"abc", [b"a", b"bc"]], ids=["plain", "chunked"])
async def test_rufh_C3_the_first_part(draft: DraftClient, body: Body) -> None:
    answer = await draft.create(body, complete=False, upload_length="9")
    assert (answer.status, says_complete(answer), answer.body) == (201, False, b"")
    assert answer.headers["upload-offset"] == "3"
    assert answer.headers["upload-limit"].startswith("max-size=1000000, max-age=")
    head = await draft.head(answer.headers["location"])
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("3", "9")


@pytest.mark.parametrize("body", [b"", None, []], ids=["length 0", "no body", "chunked"])
async def test_rufh_C5_a_careful_creation(draft: DraftClient, body: Body) -> None:
    answer = await draft.create(body, complete=False)
    assert (answer.status, answer.headers["upload-offset"], says_complete(answer)) == (201, "0", False)
    last = await draft.append(answer.headers["location"], 0, DATA, complete=True)
    assert last.status == 201
    assert stored(draft) == DATA


@pytest.mark.parametrize("body", [b"", None, []], ids=["length 0", "no body", "chunked"])
async def test_rufh_C6_an_empty_file(draft: DraftClient, body: Body) -> None:
    answer = await draft.create(body, complete=True)
    assert (answer.status, says_complete(answer), answer.headers["upload-offset"]) == (201, True, "0")
    assert answer.json["status"] == "completed"
    assert stored(draft) == b""
    assert says_complete(await draft.head(answer.headers["location"])) is True


@pytest.mark.parametrize(("complete", "length"), [(True, "4"), (True, "2"), (False, "2")])
async def test_rufh_C7_two_lengths(draft: DraftClient, complete: bool, length: str) -> None:
    answer = await draft.create(b"abc", complete=complete, upload_length=length)
    assert problem(answer) == (400, "inconsistent-upload-length")
    assert says_complete(answer) is False
    assert "location" not in answer.headers
    assert draft.client.gateway.statistics().sessions == 0


async def test_rufh_C7_a_body_that_ends_before_its_length(draft: DraftClient) -> None:
    answer = await draft.create([b"ab", b"c"], complete=True, upload_length="9")
    assert problem(answer) == (400, "inconsistent-upload-length")
    assert (says_complete(answer), answer.headers["upload-offset"]) == (False, "3")
    last = await draft.append(answer.headers["location"], 3, b"defghi", complete=True)
    assert last.status == 201
    assert stored(draft) == b"abcdefghi"


@pytest.mark.parametrize("version", [6, 8])
async def test_rufh_C8_S9_too_large(client: Client, version: int) -> None:
    draft = DraftClient(client, version)
    for answer in (
        await draft.create(bytes(1_000_001), complete=True),
        await draft.create(b"", complete=False, upload_length="1000001"),
    ):
        assert answer.code == (413, "FILE_SIZE_EXCEEDED")
        assert answer.headers["upload-limit"] == "max-size=1000000"
        assert (says_complete(answer), "location" in answer.headers) == (False, False)
    assert client.gateway.statistics().sessions == 0


async def test_too_large_while_it_comes(draft: DraftClient) -> None:
    answer = await draft.create([bytes(600_000), bytes(600_000)], complete=True)
    assert answer.code == (413, "FILE_SIZE_EXCEEDED")
    assert (answer.headers["upload-limit"], says_complete(answer)) == ("max-size=1000000", True)
    assert not draft.client.blobs.published_blobs


async def test_rufh_C10_what_the_target_refuses() -> None:
    async with bare(allowed_formats=("txt",)) as narrow:
        draft = DraftClient(narrow)
        answer = await draft.create(b"abc", complete=True, content_disposition="inline; filename=a.exe")
        assert answer.code == (415, "UNSUPPORTED_FORMAT")
        assert (answer.json["details"], says_complete(answer)) == ({"allowed": ["txt"]}, False)


async def test_rufh_C12_name_and_type(draft: DraftClient) -> None:
    answer = await draft.create(
        b"abc",
        complete=True,
        content_disposition="inline; filename=\"x\"; filename*=UTF-8''%E2%82%AC..%2F.txt",
        content_type="text/plain",
    )
    view = answer.json
    assert (view["fileName"], view["fileType"]) == ("€../.txt", "text/plain")
    assert ".." not in view["uploadPath"].rpartition("/")[2]
    assert view["uploadPath"].count("/") == 3


@pytest.mark.parametrize("disposition", ["", "inline", "inline; filename=", "nonsense;;;"])
async def test_a_file_nobody_named(draft: DraftClient, disposition: str) -> None:
    answer = await draft.create(b"abc", complete=True, content_disposition=disposition)
    assert answer.status == 201
    assert answer.json["fileName"]


async def test_a_name_that_is_too_long(draft: DraftClient) -> None:
    answer = await draft.create(b"abc", complete=True, content_disposition=f"inline; filename={'x' * 1025}")
    assert answer.code == (400, "INVALID_MESSAGE")
    assert says_complete(answer) is False


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH"])
async def test_rufh_C13_other_methods_make_nothing(draft: DraftClient, method: str) -> None:
    headers = draft.appending(0, complete=True)
    answer = await draft.client.ask(method, "/files/", b"" if method == "PATCH" else None, headers)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, PUT, OPTIONS")
    assert draft.client.gateway.statistics().sessions == 0


async def test_rufh_V3_without_a_version_it_works_and_says_none(client: Client) -> None:
    draft = DraftClient(client, None)
    answer = await draft.create(b"abc", complete=False)
    assert (answer.status, says_complete(answer)) == (201, False)
    assert "upload-draft-interop-version" not in answer.headers
    last = await draft.append(answer.headers["location"], 3, b"def", complete=True)
    assert (last.status, says_complete(last)) == (201, True)
    assert "upload-draft-interop-version" not in last.headers
    assert stored(draft) == b"abcdef"


async def test_rufh_V4_the_draft_wins_over_tus(draft: DraftClient) -> None:
    answer = await draft.create(b"abc", complete=True, tus_resumable="1.0.0", upload_length="3")
    assert (answer.status, says_complete(answer)) == (201, True)
    assert "tus-resumable" not in answer.headers


@pytest.mark.parametrize("value", [{}, {"upload_complete": "yes"}, {"upload_complete": "?1, ?1"}])
async def test_rufh_F2_no_upload_begins_without_completeness(
    draft: DraftClient, value: dict[str, str]
) -> None:
    headers = {**draft.version, **{name.replace("_", "-"): said for name, said in value.items()}}
    answer = await draft.client.ask("POST", "/files/", b"abc", headers)
    assert answer.code == (400, "INVALID_MESSAGE")
    assert "Upload-Complete" in answer.json["detail"]
    assert draft.client.gateway.statistics().sessions == 0


async def test_rufh_F5_content_codings_stay_and_transfer_codings_go(draft: DraftClient) -> None:
    packed = gzip.compress(DATA)
    answer = await draft.create(
        [packed[:10], packed[10:]],
        complete=True,
        content_encoding="gzip",
        upload_length=str(len(packed)),
    )
    assert (answer.status, answer.headers["upload-offset"]) == (201, str(len(packed)))
    assert stored(draft) == packed


async def test_rufh_S5_urls_cannot_be_guessed(draft: DraftClient) -> None:
    urls = {await draft.started() for _ in range(5)}
    assert len(urls) == 5
    assert {len(url.rpartition("/")[2]) for url in urls} == {44}, "a time, 128 random bits"
    assert (await draft.head("/files/" + "0" * 32)).status == 404


# Sessions


async def test_it_joins_a_session(draft: DraftClient) -> None:
    made = await created(draft.client, category="scenic")
    metadata = encoded(sessionId=made["sessionId"], fileId="f1", filename="a.txt", category="scenic")
    answer = await draft.create(b"abc", complete=True, upload_metadata=metadata)
    assert answer.status == 201
    assert (answer.json["fileId"], answer.json["fileName"]) == ("f1", "a.txt")
    snapshot = await draft.client.ask("GET", f"/api/upload/sessions/{made['sessionId']}")
    assert (snapshot.json["completedFiles"], snapshot.json["category"]) == (1, "scenic")


async def test_it_fills_a_registered_file(draft: DraftClient) -> None:
    url = await one_file(draft.client, 3)
    session_id = url.split("/")[4]
    metadata = encoded(sessionId=session_id, fileId="a")
    wrong = await draft.create(b"abcd", complete=True, upload_metadata=metadata)
    assert problem(wrong) == (400, "inconsistent-upload-length")
    answer = await draft.create(b"abc", complete=True, upload_metadata=metadata)
    assert (answer.status, answer.json["fileName"]) == (201, "a.bin")
    again = await draft.create(b"abc", complete=True, upload_metadata=metadata)
    assert again.code == (409, "UPLOAD_ALREADY_COMPLETED")
    assert says_complete(again) is False


async def test_a_file_with_bytes_is_gone_on_with_at_its_url(draft: DraftClient) -> None:
    url = await one_file(draft.client, 5)
    await draft.client.ask("PUT", url, b"ab", {"Content-Range": "bytes 0-1/5"})
    metadata = encoded(sessionId=url.split("/")[4], fileId="a")
    answer = await draft.create(b"abcde", complete=True, upload_metadata=metadata)
    assert problem(answer) == (409, "mismatching-upload-offset")
    assert (says_complete(answer), answer.headers["upload-offset"]) == (False, "2")
    last = await draft.append(answer.headers["location"], 2, b"cde", complete=True)
    assert last.status == 201
    assert stored(draft) == b"abcde"


async def test_an_unknown_session(draft: DraftClient) -> None:
    metadata = encoded(sessionId="00000000-0000-4000-8000-000000000000")
    answer = await draft.create(b"abc", complete=True, upload_metadata=metadata)
    assert answer.code == (404, "SESSION_NOT_FOUND")


# Again, after the answer was lost


async def test_the_same_key_finds_the_upload_again(draft: DraftClient) -> None:
    first = await draft.create(b"abc", complete=True, idempotency_key="k")
    again = await draft.create(b"abc", complete=True, idempotency_key="k")
    assert (again.status, again.json, says_complete(again)) == (201, first.json, True)
    assert again.headers["location"] == first.headers["location"]
    assert len(draft.client.blobs.published_blobs) == 1


async def test_the_same_key_for_the_first_part(draft: DraftClient) -> None:
    first = await draft.create(b"abc", complete=False, idempotency_key="k")
    again = await draft.create(b"abc", complete=False, idempotency_key="k")
    assert (again.status, says_complete(again), again.headers["upload-offset"]) == (201, False, "3")
    assert again.headers["location"] == first.headers["location"]


async def test_the_same_key_for_an_upload_that_broke_off(draft: DraftClient) -> None:
    first = await draft.create([b"ab"], complete=True, upload_length="5", idempotency_key="k")
    assert first.status == 400
    again = await draft.create([b"ab"], complete=True, upload_length="5", idempotency_key="k")
    assert problem(again) == (409, "mismatching-upload-offset")
    assert (again.json["expected-offset"], again.json["provided-offset"]) == (2, 0)
    assert again.headers["location"] == first.headers["location"]
    assert (says_complete(again), again.headers["upload-offset"]) == (False, "2")


async def test_the_same_key_for_another_upload(draft: DraftClient) -> None:
    await draft.create(b"abc", complete=True, idempotency_key="k")
    other = await draft.create(b"abcd", complete=True, idempotency_key="k")
    assert other.code == (422, "IDEMPOTENCY_KEY_REUSED")


# Digests


async def test_rufh_G3_a_content_digest(draft: DraftClient) -> None:
    fits = await draft.create(DATA, complete=True, content_digest=digest(DATA))
    assert fits.status == 201
    wrong = await draft.create(DATA, complete=True, content_digest=digest(b"x"))
    assert (wrong.code, says_complete(wrong)) == ((422, "CHECKSUM_MISMATCH"), False)
    assert wrong.headers["upload-offset"] == "0"
    head = await draft.head(wrong.headers["location"])
    assert (head.headers["upload-offset"], says_complete(head)) == ("0", False)
    assert stored(draft) == DATA


async def test_rufh_G4_unknown_algorithms_are_not_checked(draft: DraftClient) -> None:
    answer = await draft.create(b"abc", complete=True, content_digest="crc32c=:AAAAAA==:")
    assert answer.status == 201
    malformed = await draft.create(b"abc", complete=True, content_digest="sha-256=:AAAA:")
    assert malformed.code == (400, "INVALID_MESSAGE")


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
async def test_rufh_G1_the_digest_of_the_whole(draft: DraftClient, algorithm: str) -> None:
    answer = await draft.create(DATA, complete=True, repr_digest=digest(DATA, algorithm))
    assert (answer.status, answer.headers["repr-digest"]) == (201, digest(DATA, algorithm))
    assert stored(draft) == DATA


async def test_rufh_G1_P4_a_whole_that_is_another(draft: DraftClient) -> None:
    answer = await draft.create(DATA, complete=True, repr_digest=digest(b"x"))
    assert answer.code == (422, "CHECKSUM_MISMATCH")
    assert says_complete(answer) is True  # all of it has come, and it was refused
    assert not draft.client.blobs.published_blobs
    url = await draft.started(b"abc", repr_digest=digest(b"x"))
    last = await draft.append(url, 3, b"def", complete=True)
    assert (last.code, says_complete(last)) == ((422, "CHECKSUM_MISMATCH"), True)
    assert "upload-offset" not in last.headers
    assert (await draft.head(url)).status == 410
    assert (await draft.append(url, 6, b"", complete=True)).status == 410


async def test_rufh_G2_a_digest_that_is_wanted(draft: DraftClient) -> None:
    url = await draft.started(DATA[:1000], want_repr_digest="sha-512=1, sha-256=3, md5=10")
    assert "repr-digest" not in (await draft.head(url)).headers
    last = await draft.append(url, 1000, DATA[1000:], complete=True)
    assert last.headers["repr-digest"] == digest(DATA)
    assert (await draft.head(url)).headers["repr-digest"] == digest(DATA)


# The server's own troubles


async def test_rufh_C11_while_it_shuts_down(draft: DraftClient) -> None:
    url = await draft.started(b"abc")
    await draft.client.gateway.drain()
    answer = await draft.create(b"abc", complete=True)
    assert (answer.code, says_complete(answer)) == ((503, "SERVER_BUSY"), False)
    assert answer.headers["retry-after"]
    append = await draft.append(url, 3, b"def", complete=True)
    assert (append.status, says_complete(append), append.headers["upload-offset"]) == (503, False, "3")
    assert (await draft.head(url)).headers["upload-offset"] == "3"


async def test_a_full_disk(draft: DraftClient) -> None:
    draft.client.blobs.full_at_bytes = 10
    answer = await draft.create([bytes(100)], complete=True)
    assert (answer.code, says_complete(answer)) == ((507, "INSUFFICIENT_STORAGE"), False)
    draft.client.blobs.full_at_bytes = 1000
    offset = int((await draft.head(answer.headers["location"])).headers["upload-offset"])
    last = await draft.append(answer.headers["location"], offset, bytes(100 - offset), complete=True)
    assert last.status == 201
    assert stored(draft) == bytes(100)


async def test_a_session_that_is_paused(autojump_clock: trio.abc.Clock) -> None:
    async with bare(pause_hold_s=5) as client:
        draft = DraftClient(client)
        made = await created(client)
        commands = f"/api/upload/sessions/{made['sessionId']}/commands"
        assert (await client.ask("POST", commands, b'{"type": "upload-pause"}')).status == 200
        metadata = encoded(sessionId=made["sessionId"])
        began = trio.current_time()
        answer = await draft.create(b"abc", complete=True, upload_metadata=metadata)
        assert (answer.code, says_complete(answer)) == ((423, "UPLOAD_LOCKED"), False)
        assert trio.current_time() - began == pytest.approx(5)
        assert (answer.headers["upload-offset"], "retry-after" in answer.headers) == ("0", True)
        await client.ask("POST", commands, b'{"type": "upload-resume"}')
        assert (await draft.append(answer.headers["location"], 0, b"abc", complete=True)).status == 201
