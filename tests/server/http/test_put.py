"""PUT and HEAD on a file's URL, over every way its body can come."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio

from tests.server.edge.harness import PATIENCE_S, until
from tests.server.http.clients import (
    TRANSPORTS,
    Client,
    SocketClient,
    created,
    one_file,
    over_sockets,
    rendered,
)

DATA = bytes(range(256)) * 1000


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with TRANSPORTS[request.param](max_file_bytes=1_000_000) as made:
        yield made


def stored(client: Client) -> bytes:
    (blob,) = client.blobs.published_blobs.values()
    return bytes(blob.data)


def digest(algorithm: str, data: bytes) -> str:
    value = base64.b64encode(hashlib.new(algorithm.replace("-", ""), data).digest()).decode()
    return f"{algorithm}=:{value}:"


@pytest.mark.parametrize("size", [None, len(DATA)])
@pytest.mark.parametrize("body", [DATA, [DATA[:1], DATA[1:70_000], DATA[70_000:]]], ids=["plain", "chunked"])
async def test_all_at_once(client: Client, size: int | None, body: bytes | list[bytes]) -> None:
    answer = await client.ask("PUT", await one_file(client, size), body)
    assert answer.status == 200
    view = answer.json
    assert (view["status"], view["fileSize"], view["progress"]) == ("completed", len(DATA), 100)
    assert view["uploadPath"].startswith("/upload/personal/")
    assert stored(client) == DATA
    assert not client.blobs.incoming_blobs


@pytest.mark.parametrize("size", [None, 0])
@pytest.mark.parametrize("body", [b"", [], None], ids=["length 0", "chunked", "no body"])
async def test_an_empty_file(client: Client, size: int | None, body: bytes | list[bytes] | None) -> None:
    answer = await client.ask("PUT", await one_file(client, size), body)
    if body is None and size is None:  # neither a length nor a chunk: the empty body is the file
        assert answer.status == 200
    assert answer.json["status"] == "completed"
    assert stored(client) == b""


async def test_in_parts(client: Client) -> None:
    url = await one_file(client)
    first = await client.ask("PUT", url, DATA[:1000], {"Content-Range": f"bytes 0-999/{len(DATA)}"})
    assert (first.status, first.headers["upload-offset"]) == (202, "1000")
    assert first.json["durableBytes"] == 1000
    head = await client.ask("HEAD", url)
    assert (head.status, head.body) == (200, b"")
    wanted = {
        "upload-offset": "1000",
        "upload-length": str(len(DATA)),
        "upload-state": "uploading",
        "upload-attempt": "1",
        "cache-control": "no-store",
    }
    assert wanted.items() <= head.headers.items()
    rest = [DATA[1000:5000], DATA[5000:]]
    last = await client.ask("PUT", url, rest, {"Content-Range": f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"})
    assert last.status == 200
    assert stored(client) == DATA
    done = await client.ask("HEAD", url)
    assert (done.headers["upload-offset"], done.headers["upload-state"]) == (str(len(DATA)), "completed")


async def test_the_total_may_come_late(client: Client) -> None:
    url = await one_file(client)
    first = await client.ask("PUT", url, b"ab", {"Content-Range": "bytes 0-1/*"})
    assert first.status == 202
    assert "upload-length" not in (await client.ask("HEAD", url)).headers
    last = await client.ask("PUT", url, b"c", {"Content-Range": "bytes 2-2/3"})
    assert last.status == 200
    assert stored(client) == b"abc"


@pytest.mark.parametrize("first", [0, 1, 3])
async def test_another_offset_is_refused_with_the_right_one(client: Client, first: int) -> None:
    url = await one_file(client, 10)
    await client.ask("PUT", url, b"ab", {"Content-Range": "bytes 0-1/10"})
    answer = await client.ask("PUT", url, b"x", {"Content-Range": f"bytes {first}-{first}/10"})
    assert answer.code == (409, "OFFSET_MISMATCH")
    assert (answer.headers["upload-offset"], answer.json["details"]) == ("2", {"offset": 2})
    assert (await client.ask("HEAD", url)).headers["upload-offset"] == "2"


@pytest.mark.parametrize(
    ("body", "content_range", "words"),
    [
        (b"ab", "bytes 0-2/10", "Content-Range: 3 bytes are named, Content-Length says 2"),
        (b"ab", "bytes */10", "Content-Range: bytes first-last/total is expected"),
        (b"ab", "lines 0-1/10", "Content-Range: bytes first-last/total"),
        (b"ab", "bytes 0-1/11", "Content-Range: the file has 10 bytes, not 11"),
    ],
)
async def test_a_wrong_range_is_refused(client: Client, body: bytes, content_range: str, words: str) -> None:
    url = await one_file(client, 10)
    answer = await client.ask("PUT", url, body, {"Content-Range": content_range})
    assert answer.code == (400, "INVALID_MESSAGE")
    assert words in answer.json["detail"]
    assert (await client.ask("GET", url)).json["status"] == "pending"


@pytest.mark.parametrize(("body", "kept"), [([b"ab"], 2), ([b"ab", b"cd"], 3)], ids=["short", "long"])
async def test_a_chunked_body_must_fill_its_range(client: Client, body: list[bytes], kept: int) -> None:
    url = await one_file(client, 10)
    answer = await client.ask("PUT", url, body, {"Content-Range": "bytes 0-2/10"})
    assert answer.code == (400, "NETWORK_ERROR")
    view = (await client.ask("GET", url)).json
    assert (view["status"], view["canRetry"], view["durableBytes"]) == ("failed", True, kept)


async def test_all_again_is_a_new_attempt(client: Client) -> None:
    url = await one_file(client, 3)
    await client.ask("PUT", url, b"xx", {"Content-Range": "bytes 0-1/3"})
    answer = await client.ask("PUT", url, b"abc")
    assert (answer.status, answer.json["attempt"]) == (200, 2)
    assert stored(client) == b"abc"


async def test_a_complete_file_takes_no_more(client: Client) -> None:
    url = await one_file(client)
    await client.ask("PUT", url, b"abc")
    assert (await client.ask("PUT", url, b"abc")).code == (409, "UPLOAD_ALREADY_COMPLETED")
    assert stored(client) == b"abc"


async def test_a_cancelled_file_takes_nothing(client: Client) -> None:
    url = await one_file(client)
    await client.ask("DELETE", url)
    assert (await client.ask("PUT", url, b"abc")).code == (410, "UPLOAD_CANCELLED")
    assert (await client.ask("HEAD", url)).status == 410


@pytest.mark.parametrize(
    ("size", "body", "words"),
    [
        (None, bytes(1_000_001), "at most 1000000 bytes"),
        (3, b"abcd", "go beyond the file's 3"),
        (3, [b"ab", b"cd"], "goes beyond the file's 3"),
    ],
    ids=["declared", "registered", "chunked"],
)
async def test_too_large(client: Client, size: int | None, body: bytes | list[bytes], words: str) -> None:
    url = await one_file(client, size)
    answer = await client.ask("PUT", url, body)
    assert answer.code == (413, "FILE_SIZE_EXCEEDED")
    assert words in answer.json["detail"]
    assert not client.blobs.published_blobs


async def test_less_than_registered_names_the_way_out(client: Client) -> None:
    answer = await client.ask("PUT", await one_file(client, 3), b"ab")
    assert answer.code == (400, "INVALID_MESSAGE")
    assert "send a part of it with Content-Range" in answer.json["detail"]


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
async def test_a_digest_that_fits(client: Client, algorithm: str) -> None:
    headers = {"Content-Digest": f"md5=:AAAA:, {digest(algorithm, DATA)}"}
    assert (await client.ask("PUT", await one_file(client), DATA, headers)).status == 200
    assert stored(client) == DATA


async def test_a_digest_that_does_not_fit(client: Client) -> None:
    url = await one_file(client, 3)
    await client.ask("PUT", url, b"a", {"Content-Range": "bytes 0-0/3"})
    headers = {"Content-Range": "bytes 1-2/3", "Content-Digest": digest("sha-256", b"other")}
    assert (await client.ask("PUT", url, b"bc", headers)).code == (422, "CHECKSUM_MISMATCH")
    assert (await client.ask("HEAD", url)).headers["upload-offset"] == "1"


async def test_unknown_digests_are_ignored(client: Client) -> None:
    answer = await client.ask("PUT", await one_file(client), b"abc", {"Content-Digest": "crc32c=:AAAAAA==:"})
    assert answer.status == 200


@pytest.mark.parametrize("value", ["sha-256=abc", "sha-256=:AAAA:", "sha-256=:?:", ""])
async def test_a_malformed_digest_is_refused(client: Client, value: str) -> None:
    answer = await client.ask("PUT", await one_file(client), b"abc", {"Content-Digest": value})
    assert answer.code == (400, "INVALID_MESSAGE")
    assert answer.json["detail"].startswith("Content-Digest: ")


async def test_headers_of_other_dialects_mean_nothing_here(client: Client) -> None:
    headers = {"Upload-Complete": "?0", "Upload-Offset": "7", "Tus-Resumable": "1.0.0"}
    assert (await client.ask("PUT", await one_file(client), b"abc", headers)).status == 200


async def test_unknown_places(client: Client) -> None:
    url = await one_file(client)
    wrong = "00000000-0000-4000-8000-000000000000"
    assert (await client.ask("PUT", url + "x", b"abc")).code == (404, "FILE_NOT_FOUND")
    other = f"/api/upload/sessions/{wrong}/files/a"
    assert (await client.ask("PUT", other, b"abc")).code == (404, "SESSION_NOT_FOUND")
    assert (await client.ask("PUT", "/api/upload/sessions/x/files/a", b"abc")).code == (
        400,
        "INVALID_SESSION",
    )


async def test_a_full_disk(client: Client) -> None:
    url = await one_file(client)
    client.blobs.full_at_bytes = 10
    answer = await client.ask("PUT", url, bytes(100))
    assert answer.code == (507, "INSUFFICIENT_STORAGE")


async def test_who_only_watches_may_not_write(client: Client) -> None:
    made = await created(client, {"fileName": "a", "fileId": "a"})
    url = f"/api/upload/sessions/{made['watchKey']}/files/a"
    assert (await client.ask("PUT", url, b"abc")).code == (403, "INSUFFICIENT_PERMISSIONS")
    assert (await client.ask("DELETE", url)).code == (403, "INSUFFICIENT_PERMISSIONS")
    head = await client.ask("HEAD", url)
    assert (head.status, head.headers["upload-state"]) == (200, "pending")
    assert made["sessionId"].encode() not in (await client.ask("GET", url)).body


# What only shows while a body is on its way


@pytest.fixture(params=[True, False], ids=["direct", "sockets"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[SocketClient]:
    async with over_sockets(fast_path=request.param, in_threads=request.param, takeover_probe_s=0.05) as made:
        yield made


async def view_of(client: Client, url: str) -> Any:
    return (await client.ask("GET", url)).json


async def wait_received(client: Client, url: str, count: int) -> None:
    with trio.fail_after(PATIENCE_S):
        while (await view_of(client, url))["uploadedBytes"] < count:  # noqa: ASYNC110  # asked over HTTP
            await trio.sleep(0.005)


@pytest.mark.parametrize("announced", [10**15, 2**63, 10**19])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_length_beyond_the_disk_takes_no_room_from_others(
    served: SocketClient, announced: int, begun: bool
) -> None:
    served.blobs.full_at_bytes = 10**12
    url = await one_file(served)
    async with served.connect() as raw:
        if begun:  # its next PUT is a new attempt, whose length is as free
            await raw.send(f"PUT {url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc".encode())
            await wait_received(served, url, 3)
            await raw.finish()
            await until(lambda: served.gateway.statistics().appends == 0)
    reserved_bytes = served.gateway.statistics().reserved_bytes
    async with served.connect() as raw:
        head = f"PUT {url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {announced}\r\n\r\nabc"
        await raw.send(head.encode())
        status, _, _ = await raw.answer()
    assert status == 507
    assert served.gateway.statistics().reserved_bytes == reserved_bytes
    assert (await served.ask("PUT", url, b"abc")).status == 200
    assert served.gateway.statistics().reserved_bytes == 0


async def test_a_writer_at_work_is_left_alone_and_one_that_hangs_is_not(served: SocketClient) -> None:
    made = await created(served, {"fileName": "a", "fileId": "a"})
    url = made["files"][0]["uploadUrl"]
    async with served.connect() as raw:
        head, *_ = rendered("PUT", url, b"x" * 10)
        await raw.send(head + b"x")
        await wait_received(served, url, 1)
        peeked = await served.ask("HEAD", url.replace(made["sessionId"], made["watchKey"]))
        assert peeked.status == 200
        plain = await served.ask("PUT", url, b"y")
        assert plain.code == (423, "UPLOAD_LOCKED")
        forced = await served.ask("HEAD", url)  # no byte comes within the probe
        assert (forced.status, forced.headers["upload-offset"]) == (200, "1")
        status, lines, _ = await raw.answer()
    assert (status, lines[b"upload-offset"]) == (423, b"1")


async def test_a_part_takes_over_from_where_it_stands(served: SocketClient) -> None:
    url = await one_file(served, 4)
    async with served.connect() as raw:
        head, *_ = rendered("PUT", url, b"abcd")
        await raw.send(head + b"ab")
        await wait_received(served, url, 2)
        await served.ask("HEAD", url)
        assert (await served.ask("PUT", url, b"cd", {"Content-Range": "bytes 2-3/4"})).status == 200
    assert stored(served) == b"abcd"


async def test_a_broken_body_keeps_what_came(served: SocketClient) -> None:
    url = await one_file(served, 4)
    async with served.connect() as raw:
        head, *_ = rendered("PUT", url, b"abcd")
        await raw.send(head + b"ab")
        await wait_received(served, url, 2)
    with trio.fail_after(PATIENCE_S):
        while not (await view_of(served, url))["canRetry"]:  # noqa: ASYNC110  # asked over HTTP
            await trio.sleep(0.005)
    assert (await served.ask("HEAD", url)).headers["upload-offset"] == "2"
    assert (await served.ask("PUT", url, b"cd", {"Content-Range": "bytes 2-3/4"})).status == 200
    assert stored(served) == b"abcd"


async def test_cancel_ends_the_request(served: SocketClient) -> None:
    url = await one_file(served, 4)
    async with served.connect() as raw:
        head, *_ = rendered("PUT", url, b"abcd")
        await raw.send(head + b"ab")
        await wait_received(served, url, 2)
        assert (await served.ask("DELETE", url)).status == 204
        status, lines, _ = await raw.answer()
    assert (status, lines[b"connection"]) == (410, b"close")
    assert not served.blobs.incoming_blobs
    assert served.gateway.statistics().appends == 0


async def test_a_pause_holds_the_request_until_resume(served: SocketClient) -> None:
    url = await one_file(served, 4)
    commands = url.partition("/files/")[0] + "/commands"

    async def command(name: str) -> Any:
        answer = await served.ask("POST", commands, msgspec.json.encode({"type": name, "fileId": "a"}))
        assert answer.status == 200
        return answer.json

    async with served.connect() as raw:
        head, *_ = rendered("PUT", url, b"abcd")
        await raw.send(head + b"ab")
        await wait_received(served, url, 2)
        paused = await command("upload-pause")
        assert (paused["ok"], paused["status"], paused["uploadedBytes"]) == (True, "paused", 2)
        await raw.send(b"cd")
        assert (await view_of(served, url))["uploadedBytes"] == 2
        await command("upload-resume")
        status, _, _ = await raw.answer()
    assert status == 200
    assert stored(served) == b"abcd"


async def test_nothing_is_asked_for_before_the_upload_is_let_in(served: SocketClient) -> None:
    url = await one_file(served, 2)
    async with served.connect() as raw:
        head, *_ = rendered("PUT", url, b"abc", {"Expect": "100-continue"})
        await raw.send(head)
        assert (await raw.until(b"\r\n")).startswith(b"HTTP/1.1 413 ")
    async with served.connect() as raw:
        head, body, _ = rendered("PUT", url, b"ab", {"Expect": "100-continue"})
        await raw.send(head)
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await raw.send(body)
        assert (await raw.answer())[0] == 200


async def test_uploads_follow_each_other_on_one_connection(served: SocketClient) -> None:
    made = await created(served, *[{"fileName": f"{n}.bin", "fileSize": 5} for n in range(5)])
    async with served.connect() as raw:
        await raw.send(b"".join(b"".join(rendered("PUT", f["uploadUrl"], b"abcde")) for f in made["files"]))
        answers = [await raw.answer() for _ in made["files"]]
    assert [status for status, _, _ in answers] == [200] * 5
    assert [bytes(blob.data) for blob in served.blobs.published_blobs.values()] == [b"abcde"] * 5
    await until(lambda: served.blobs.open_writers == 0)
