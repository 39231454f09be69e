"""tus creation: lengths, metadata, first bytes in the same request, repetitions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio

from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.resources import Place
from tests.server.edge.harness import PATIENCE_S, until
from tests.server.http.clients import (
    TRANSPORTS,
    BareClient,
    Client,
    SocketClient,
    bare,
    created,
    over_sockets,
    rendered,
)
from tests.server.http.tus_client import (
    OCTET,
    TUS,
    checksum,
    create,
    head,
    metadata,
    offset,
    patch,
    post,
    stored,
)

DATA = bytes(range(256)) * 500


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with TRANSPORTS[request.param](max_file_bytes=1_000_000) as made:
        yield made


@pytest.fixture
async def plain() -> AsyncIterator[BareClient]:
    async with bare(max_file_bytes=1_000_000) as made:
        yield made


async def place_of(client: Client, url: str) -> Place:
    return await client.gateway.resources.find(ANYBODY, url.rpartition("/")[2])


async def session_of(client: Client, url: str) -> Any:
    """The snapshot of an upload's session."""
    place = await place_of(client, url)
    return (await client.ask("GET", f"/api/upload/sessions/{place.session_id}")).json


def sessions(client: Client) -> int:
    return client.gateway.statistics().sessions


# Lengths


@pytest.mark.parametrize("path", ["/files", "/files/"])
async def test_tus_C1_C8_a_new_upload(plain: BareClient, path: str) -> None:
    answer = await plain.ask("POST", path, b"", {**TUS, "Upload-Length": "5"})
    assert (answer.status, answer.body) == (201, b"")
    url = answer.headers["location"]
    assert len(url.removeprefix("/files/")) == 44
    assert answer.headers["upload-offset"] == "0"
    looked = await head(plain, url)
    assert (looked.headers["upload-offset"], looked.headers["upload-length"]) == ("0", "5")
    assert await create(plain, 5) != url


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Upload_Length": "5", "Upload_Defer_Length": "1"},
        {"Upload_Defer_Length": "0"},
        {"Upload_Defer_Length": "2"},
        {"Upload_Defer_Length": "x"},
        *(
            {"Upload_Length": wrong}
            for wrong in ("-1", "+1", "1.0", "0x10", "1e3", "", str(2**63), "1" * 200)
        ),
        {"Upload-Length": "5", "upload-length": "5"},
        {"Upload_Length": "5", "Upload_Concat": "whole"},
    ],
)
async def test_tus_C2_G7_wrong_lengths_make_nothing(plain: BareClient, fields: dict[str, Any]) -> None:
    assert (await post(plain, **fields)).code == (400, "INVALID_MESSAGE")
    assert sessions(plain) == 0


async def test_tus_C3_too_large_makes_nothing(plain: BareClient) -> None:
    answer = await post(plain, Upload_Length=1_000_001)
    assert answer.code == (413, "FILE_SIZE_EXCEEDED")
    assert sessions(plain) == 0


async def test_tus_C10_what_does_not_fit_the_disk_makes_nothing() -> None:
    async with bare() as plain:
        assert (await post(plain, Upload_Length=2**63 - 1)).code == (507, "INSUFFICIENT_STORAGE")
        assert sessions(plain) == 0


@pytest.mark.parametrize("headers", [TUS, OCTET], ids=["plain", "with-upload"])
async def test_tus_C4_an_empty_file_is_complete_at_once(client: Client, headers: dict[str, str]) -> None:
    answer = await client.ask("POST", "/files/", b"", {**headers, "Upload-Length": "0"})
    assert (answer.status, answer.headers["upload-offset"]) == (201, "0")
    assert "upload-expires" not in answer.headers
    looked = await head(client, answer.headers["location"])
    assert (looked.headers["upload-offset"], looked.headers["upload-length"]) == ("0", "0")
    assert stored(client) == b""
    session = await session_of(client, answer.headers["location"])
    assert session["overallStatus"] == "completed"


# Metadata


async def test_tus_H5_metadata_is_echoed_as_it_came(client: Client) -> None:
    said = "b Yg==, filename YS50eHQ=,empty,empty2 ,\tbinary /wAB"
    url = await create(client, 3, Upload_Metadata=said)
    assert (await head(client, url)).headers["upload-metadata"] == said
    await patch(client, url, 0, b"abc")
    assert (await head(client, url)).headers["upload-metadata"] == said
    session = await session_of(client, url)
    assert session["files"][0]["fileName"] == "a.txt"
    assert session["metadata"] == {"b": "b", "empty": "", "empty2": ""}


async def test_no_metadata_no_echo(plain: BareClient) -> None:
    url = await create(plain, 3)
    assert "upload-metadata" not in (await head(plain, url)).headers
    assert (await session_of(plain, url))["files"][0]["fileName"]  # whatever; it must have one


@pytest.mark.parametrize(
    "said", ["a !", "a YQ", "a YQ==,a YQ==", ",", "a YQ==,", "é YQ==", "filename /w==", "sessionId eA=="]
)
async def test_tus_C5_malformed_metadata_makes_nothing(plain: BareClient, said: str) -> None:
    answer = await plain.ask("POST", "/files/", b"", {**TUS, "Upload-Length": "3", "Upload-Metadata": said})
    assert answer.status == 400
    assert answer.json["detail"].startswith("Upload-Metadata: ")
    assert sessions(plain) == 0


async def test_tus_C6_metadata_has_a_limit(plain: BareClient) -> None:
    fits = metadata(note="x" * 3000)
    assert (await post(plain, Upload_Length=3, Upload_Metadata=fits)).status == 201
    too_much = metadata(note="x" * 3100)
    assert (await post(plain, Upload_Length=3, Upload_Metadata=too_much)).status == 400


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "a/b\\c", "x\x00y", 'a\r\nX-Injected: "1"', "..", "图" * 300, "\u202egpj.exe"],
)
async def test_tus_C6_G8_names_become_neither_paths_nor_headers(client: Client, name: str) -> None:
    url = await create(client, 3, b"abc", Upload_Metadata=metadata(filename=name))
    (category, stored_name) = next(iter(client.blobs.published_blobs))
    assert category == "personal"
    assert not set(stored_name) & set("/\\\x00\r\n")
    assert len(stored_name.encode()) <= 255
    answer = await client.ask("GET", url)
    assert (answer.status, answer.body) == (200, b"abc")
    assert "x-injected" not in answer.headers
    assert (await session_of(client, url))["files"][0]["fileName"] == name


async def test_names_and_types_by_every_key_that_clients_use(plain: BareClient) -> None:
    url = await create(plain, 3, b"abc", Upload_Metadata=metadata(name="b.png", type="image/png"))
    answer = await plain.ask("GET", url)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'inline; filename="b.png"'


async def test_it_joins_a_session_and_its_file(client: Client) -> None:
    made = await created(client, {"fileName": "a", "fileId": "a", "fileSize": 3}, open=True)
    said = metadata(sessionId=made["sessionId"], fileId="a", filename="other", note="ignored")
    url = await create(client, 3, Upload_Metadata=said)
    await patch(client, url, 0, b"abc")
    further = await create(client, 1, Upload_Metadata=metadata(sessionId=made["sessionId"], filename="b"))
    await patch(client, further, 0, b"x")
    session = (await client.ask("GET", f"/api/upload/sessions/{made['sessionId']}")).json
    assert [(file["fileName"], file["status"]) for file in session["files"]] == [
        ("a", "completed"),
        ("b", "completed"),
    ]
    assert session["metadata"] == {}
    assert sessions(client) == 1


async def test_it_goes_on_with_bytes_that_came_another_way(plain: BareClient) -> None:
    made = await created(plain, {"fileName": "a", "fileId": "a", "fileSize": 3})
    url = made["files"][0]["uploadUrl"]
    await plain.ask("PUT", url, b"ab", {"Content-Range": "bytes 0-1/3"})
    said = metadata(sessionId=made["sessionId"], fileId="a")
    answer = await post(plain, b"abc", Upload_Length=3, Upload_Metadata=said)
    assert (answer.status, answer.headers["upload-offset"]) == (201, "2")  # its body was not read
    assert (await patch(plain, answer.headers["location"], 2, b"c")).status == 204
    assert stored(plain) == b"abc"


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"category": "nowhere"}, 400),
        ({"sessionId": "00000000-0000-4000-8000-000000000000"}, 404),
        ({"fileId": "a"}, 400),
    ],
)
async def test_places_that_are_not_there(plain: BareClient, values: dict[str, str], status: int) -> None:
    assert (await post(plain, Upload_Length=3, Upload_Metadata=metadata(**values))).status == status


async def test_a_category(plain: BareClient) -> None:
    await create(plain, 3, b"abc", Upload_Metadata=metadata(category="scenic"))
    ((category, _),) = plain.blobs.published_blobs
    assert category == "scenic"


async def test_a_watch_key_makes_nothing(plain: BareClient) -> None:
    made = await created(plain, open=True)
    answer = await post(plain, Upload_Length=3, Upload_Metadata=metadata(sessionId=made["watchKey"]))
    assert answer.code == (403, "INSUFFICIENT_PERMISSIONS")


# Creation with the first bytes


@pytest.mark.parametrize("body", [DATA, [DATA[:1], DATA[1:70_000], DATA[70_000:]]], ids=["plain", "chunked"])
async def test_tus_W2_W6_all_at_once(client: Client, body: Any) -> None:
    answer = await post(client, body, Upload_Length=len(DATA))
    assert (answer.status, answer.headers["upload-offset"]) == (201, str(len(DATA)))
    assert "upload-expires" not in answer.headers
    assert stored(client) == DATA


@pytest.mark.parametrize("body", [b"abc", [b"a", b"bc"]], ids=["plain", "chunked"])
async def test_tus_W2_E2_the_first_bytes(client: Client, body: Any) -> None:
    answer = await post(client, body, Upload_Length=5)
    assert (answer.status, answer.headers["upload-offset"]) == (201, "3")
    assert answer.headers["upload-expires"].endswith(" GMT")
    assert (await patch(client, answer.headers["location"], 3, b"de")).headers["upload-offset"] == "5"
    assert stored(client) == b"abcde"


async def test_tus_W2_with_a_length_to_come(client: Client) -> None:
    answer = await post(client, b"abc", Upload_Defer_Length=1)
    assert (answer.status, answer.headers["upload-offset"]) == (201, "3")
    looked = await head(client, answer.headers["location"])
    assert looked.headers["upload-defer-length"] == "1"


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/json", ""])
@pytest.mark.parametrize("body", [b"abc", [b"abc"]], ids=["plain", "chunked"])
async def test_tus_W3_a_body_of_another_type_makes_nothing(client: Client, kind: str, body: Any) -> None:
    headers = {**TUS, "Upload-Length": "3", **({"Content-Type": kind} if kind else {})}
    answer = await client.ask("POST", "/files/", body, headers)
    assert answer.code == (415, "UNSUPPORTED_FORMAT")
    assert sessions(client) == 0


async def test_tus_W3_a_type_without_a_body_is_none(plain: BareClient) -> None:
    headers = {**TUS, "Upload-Length": "3", "Content-Type": "application/json"}
    assert (await plain.ask("POST", "/files/", b"", headers)).status == 201
    assert (await plain.ask("POST", "/files/", None, headers)).status == 201


async def test_tus_P6_more_than_the_length_makes_nothing(client: Client) -> None:
    answer = await post(client, b"abcdef", Upload_Length=5)
    assert answer.code == (413, "FILE_SIZE_EXCEEDED")
    assert sessions(client) == 0


async def test_tus_P6_more_than_the_length_unannounced(client: Client) -> None:
    answer = await post(client, [b"abc", b"def"], Upload_Length=5)
    assert answer.code == (413, "FILE_SIZE_EXCEEDED")
    looked = await head(client, answer.headers["location"])
    assert int(looked.headers["upload-offset"]) <= 5


async def test_tus_K2_a_checksum_of_the_first_bytes(client: Client) -> None:
    good = await post(client, b"abc", Upload_Length=5, Upload_Checksum=checksum("sha1", b"abc"))
    assert (good.status, good.headers["upload-offset"]) == (201, "3")
    bad = await post(client, b"abc", Upload_Length=5, Upload_Checksum=checksum("sha1", b"other"))
    assert bad.code == (460, "CHECKSUM_MISMATCH")
    assert await offset(client, bad.headers["location"]) == 0


@pytest.mark.parametrize("said", ["sha3 AAAA", "sha1 AAAA", "sha1 ?"])
async def test_tus_K4_a_malformed_checksum_makes_nothing(plain: BareClient, said: str) -> None:
    answer = await post(plain, b"abc", Upload_Length=5, Upload_Checksum=said)
    assert answer.code == (400, "INVALID_MESSAGE")
    assert sessions(plain) == 0


async def test_a_checksum_of_nothing_is_refused(plain: BareClient) -> None:
    answer = await post(plain, Upload_Length=5, Upload_Checksum=checksum("sha1", b""))
    assert answer.code == (400, "INVALID_MESSAGE")


async def test_a_full_disk_leaves_what_fitted(plain: BareClient) -> None:
    plain.blobs.full_at_bytes = 1000
    answer = await post(plain, [bytes(800), bytes(800)], Upload_Defer_Length=1)
    assert answer.code == (507, "INSUFFICIENT_STORAGE")
    assert (await head(plain, answer.headers["location"])).status == 200


# While the bytes are on their way


@pytest.fixture(params=[True, False], ids=["direct", "sockets"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[SocketClient]:
    async with over_sockets(
        fast_path=request.param, in_threads=request.param, takeover_probe_s=0.05, pause_hold_s=0.2
    ) as made:
        yield made


async def lone_file(client: SocketClient) -> Any:
    """The only file there is, once its first bytes are here."""
    with trio.fail_after(PATIENCE_S):
        while True:
            for session in client.gateway._registry.sessions.values():
                for file in session.files.values():
                    if file.received:
                        return file
            await trio.sleep(0.005)


async def test_tus_W4_a_broken_body_leaves_an_upload_that_a_repetition_finds(served: SocketClient) -> None:
    headers = {**OCTET, "Upload-Length": "5", "Idempotency-Key": "mine"}
    async with served.connect() as raw:
        start, *_ = rendered("POST", "/files/", b"abcde", headers)
        await raw.send(start + b"abc")
        file = await lone_file(served)
    await until(lambda: file.append is None)
    again = await served.ask("POST", "/files/", b"abcde", headers)
    assert (again.status, again.headers["upload-offset"]) == (201, "3")
    assert again.headers["location"] == f"/files/{file.row.upload_id}"
    assert (await patch(served, again.headers["location"], 3, b"de")).status == 204
    assert stored(served) == b"abcde"
    assert sessions(served) == 1


async def test_paused_beyond_the_hold_the_upload_is_made_all_the_same(served: SocketClient) -> None:
    async with served.connect() as raw:
        start, *_ = rendered("POST", "/files/", b"abcde", {**OCTET, "Upload-Length": "5"})
        await raw.send(start + b"abc")
        file = await lone_file(served)
        commands = f"/api/upload/sessions/{file.row.session_id}/commands"
        pause = msgspec.json.encode({"type": "upload-pause"})
        assert (await served.ask("POST", commands, pause)).status == 200
        status, lines, _ = await raw.answer(b"POST")
    assert (status, lines[b"upload-offset"]) == (201, b"3")
    assert lines[b"location"].decode() == f"/files/{file.row.upload_id}"


async def test_tus_W5_nothing_is_asked_for_before_the_upload_is_let_in(served: SocketClient) -> None:
    waits = {"Expect": "100-continue"}
    for more, status in [({"Upload-Length": "2"}, b"413"), ({}, b"400")]:
        async with served.connect() as raw:
            await raw.send(rendered("POST", "/files/", b"abc", {**OCTET, **waits, **more})[0])
            assert (await raw.until(b"\r\n")).startswith(b"HTTP/1.1 " + status)
    async with served.connect() as raw:
        start, body, _ = rendered("POST", "/files/", b"abc", {**OCTET, **waits, "Upload-Length": "3"})
        await raw.send(start)
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await raw.send(body)
        assert (await raw.answer())[0] == 201


# Repetitions


async def test_tus_C9_the_same_key_and_request_is_the_same_upload(client: Client) -> None:
    fields: dict[str, Any] = {"Upload_Length": 5, "Upload_Metadata": metadata(a="b"), "Idempotency_Key": "k"}
    first = await post(client, **fields)
    url = first.headers["location"]
    await patch(client, url, 0, b"ab")
    again = await post(client, **fields)
    assert (again.status, again.headers["location"]) == (201, url)
    assert again.headers["upload-offset"] == "2"
    assert sessions(client) == 1
    await patch(client, url, 2, b"cde")
    done = await post(client, **fields)
    assert (done.status, done.headers["upload-offset"]) == (201, "5")


@pytest.mark.parametrize(
    "other",
    [
        {"Upload_Length": 6},
        {"Upload_Defer_Length": 1},
        {"Upload_Length": 5, "Upload_Metadata": "b"},
        {"Upload_Length": 5, "Upload_Concat": "partial"},
    ],
)
async def test_tus_C9_the_same_key_with_another_request(plain: BareClient, other: dict[str, Any]) -> None:
    await create(plain, 5, Idempotency_Key="k")
    answer = await post(plain, **other, Idempotency_Key="k")
    assert answer.code == (422, "IDEMPOTENCY_KEY_REUSED")
    assert sessions(plain) == 1


async def test_tus_C9_without_a_key_each_request_makes_one(plain: BareClient) -> None:
    assert await create(plain, 5) != await create(plain, 5)
    assert sessions(plain) == 2
