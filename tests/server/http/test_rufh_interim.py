"""The IETF draft: 104 (Upload Resumption Supported), on the messages an application sends and on the wire."""

from __future__ import annotations

import base64
import hashlib
import itertools
from typing import Any

import pytest
import trio

from tests.server.edge.h2_client import talking
from tests.server.http.clients import SocketClient, bare, over_sockets, rendered
from tests.server.http.draft_client import DraftClient, Slow, says_complete

QUICK: dict[str, Any] = {"sync_every_bytes": 1}  # what was taken is durable as soon as it is written


# What is told, and when


@pytest.mark.parametrize("complete", [True, False])
async def test_rufh_C1_V2_the_url_comes_before_the_body(
    complete: bool, autojump_clock: trio.abc.Clock
) -> None:
    async with bare() as client, trio.open_nursery() as nursery:
        draft = DraftClient(client)
        request = Slow(client, "POST", "/files/", draft.creation(complete=complete))
        nursery.start_soon(request.run)
        await trio.testing.wait_all_tasks_blocked()
        ((_, told),) = request.interims
        assert set(told) == {"location", "upload-limit", "upload-draft-interop-version"}
        assert told["upload-limit"] == "max-age=86400"
        assert told["upload-draft-interop-version"] == "8"
        head = await draft.head(told["location"])
        assert (head.status, head.headers["upload-offset"], says_complete(head)) == (204, "0", False)


async def test_rufh_C4_every_location_of_a_creation_is_the_same(autojump_clock: trio.abc.Clock) -> None:
    async with bare(**QUICK) as client, trio.open_nursery() as nursery:
        request = Slow(client, "POST", "/files/", DraftClient(client).creation(complete=False))
        nursery.start_soon(request.run)
        request.feed(b"abc")
        await trio.sleep(5)
        request.finish()
        await trio.sleep(5)
        locations = {told["location"] for _, told in request.interims if "location" in told}
        assert locations == {request.answer.headers["location"]}
        assert request.offsets == [3]


async def test_rufh_P11_progress_of_an_append(autojump_clock: trio.abc.Clock) -> None:
    async with bare(**QUICK) as client, trio.open_nursery() as nursery:
        draft = DraftClient(client)
        url = await draft.started(b"abc")
        request = Slow(client, "PATCH", url, draft.appending(3, complete=True))
        nursery.start_soon(request.run)
        request.feed(b"d")
        await trio.sleep(10)
        request.feed(b"ef")
        await trio.sleep(10)
        request.finish()
        await trio.sleep(1)
        assert [(round(at), told["upload-offset"]) for at, told in request.interims] == [(2, "4"), (12, "6")]
        assert all(told["upload-draft-interop-version"] == "8" for _, told in request.interims)
        assert (request.answer.status, request.answer.json["fileSize"]) == (201, 6)


async def test_rufh_I3_progress_of_an_append_has_no_location(autojump_clock: trio.abc.Clock) -> None:
    async with bare(**QUICK) as client, trio.open_nursery() as nursery:
        draft = DraftClient(client)
        url = await draft.started()
        request = Slow(client, "PATCH", url, draft.appending(0, complete=False))
        nursery.start_soon(request.run)
        for _ in range(3):
            request.feed(b"x")
            await trio.sleep(5)
        assert request.offsets == [1, 2, 3]
        assert all("location" not in told for _, told in request.interims)
        nursery.cancel_scope.cancel()


async def test_rufh_I2_at_most_one_a_second(autojump_clock: trio.abc.Clock) -> None:
    async with bare(**QUICK, buffer_pool_bytes=64 * 1024) as client, trio.open_nursery() as nursery:
        draft = DraftClient(client)
        request = Slow(client, "PATCH", await draft.started(), draft.appending(0, complete=False))
        nursery.start_soon(request.run)
        for _ in range(100):
            request.feed(bytes(64 * 1024))
            await trio.sleep(0.1)
        request.finish()
        await trio.sleep(1)
        times = [at for at, _ in request.interims]
        assert 5 < len(times) <= 10
        assert all(after - before >= 1 for before, after in itertools.pairwise(times))
        assert request.offsets == sorted(set(request.offsets))


async def test_rufh_I5_only_durable_offsets_are_told(autojump_clock: trio.abc.Clock) -> None:
    async with bare(sync_every_s=30) as client, trio.open_nursery() as nursery:
        draft = DraftClient(client)
        request = Slow(client, "PATCH", await draft.started(), draft.appending(0, complete=False))
        nursery.start_soon(request.run)
        for second in range(60):
            request.feed(b"x")
            await trio.sleep(1)
            (blob,) = client.blobs.incoming_blobs.values()
            assert max(request.offsets, default=0) <= blob.durable
            assert second > 25 or not request.offsets
        assert request.offsets
        nursery.cancel_scope.cancel()


async def test_what_is_not_verified_yet_is_not_told(autojump_clock: trio.abc.Clock) -> None:
    value = base64.b64encode(hashlib.sha256(b"xx").digest()).decode()
    async with bare(**QUICK) as client, trio.open_nursery() as nursery:
        draft = DraftClient(client)
        headers = draft.appending(0, complete=True, content_digest=f"sha-256=:{value}:")
        request = Slow(client, "PATCH", await draft.started(), headers)
        nursery.start_soon(request.run)
        for _ in range(2):
            request.feed(b"x")
            await trio.sleep(10)
        request.finish()
        await trio.sleep(1)
        assert (request.interims, request.answer.status) == ([], 201)


@pytest.mark.parametrize(
    ("version", "announced", "progress"),
    [("8", 1, [1]), ("6", 1, [1]), ("5", 1, [1]), ("3", 1, []), ("7", 0, []), (None, 0, [])],
)
async def test_rufh_V1_who_is_told(
    version: str | None, announced: int, progress: list[int], autojump_clock: trio.abc.Clock
) -> None:
    async with bare(**QUICK) as client, trio.open_nursery() as nursery:
        headers = {"Upload-Incomplete": "?0"} if version == "3" else {"Upload-Complete": "?1"}
        headers |= {"Upload-Draft-Interop-Version": version} if version else {}
        request = Slow(client, "POST", "/files/", headers)
        nursery.start_soon(request.run)
        request.feed(b"x")
        await trio.sleep(5)
        request.finish()
        await trio.sleep(1)
        assert request.answer.status == 201
        assert sum("location" in told for _, told in request.interims) == announced
        assert request.offsets == progress
        assert {told["upload-draft-interop-version"] for _, told in request.interims} == (
            {version} if announced else set()
        )


async def test_a_refused_creation_announces_nothing() -> None:
    async with bare(max_file_bytes=1) as client:
        headers = DraftClient(client).creation(complete=False, upload_length="2")
        request = Slow(client, "POST", "/files/", headers)
        await request.run()
        assert (request.answer.status, request.interims) == (413, [])


async def test_rufh_C9_P8_what_came_before_a_break_stays(autojump_clock: trio.abc.Clock) -> None:
    async with bare() as client, trio.open_nursery() as nursery:
        draft = DraftClient(client)
        request = Slow(client, "POST", "/files/", draft.creation(complete=True))
        nursery.start_soon(request.run)
        request.feed(b"abc")
        await trio.sleep(0.1)
        request.leave()
        await trio.sleep(1)
        url = request.interims[0][1]["location"]
        head = await draft.head(url)
        assert (head.headers["upload-offset"], says_complete(head)) == ("3", False)
        more = Slow(client, "PATCH", url, draft.appending(3, complete=True))
        nursery.start_soon(more.run)
        more.feed(b"de")
        await trio.sleep(0.1)
        more.leave()
        await trio.sleep(1)
        head = await draft.head(url)
        assert (head.headers["upload-offset"], says_complete(head)) == ("5", False)
        assert (await draft.append(url, 5, b"f", complete=True)).status == 201


async def test_a_body_that_stalls(autojump_clock: trio.abc.Clock) -> None:
    async with bare(body_idle_timeout_s=5, **QUICK) as client:
        draft = DraftClient(client)
        request = Slow(client, "POST", "/files/", draft.creation(complete=True))
        request.feed(b"abc")
        await request.run()
        assert (request.answer.status, says_complete(request.answer)) == (408, False)
        assert request.answer.headers["upload-offset"] == "3"
        assert request.answer.headers["location"] == request.interims[0][1]["location"]


# On the wire


async def served_104(client: SocketClient, version: str = "HTTP/1.1") -> bytes:
    """All that a creation with a body of three bytes is answered."""
    async with client.connect() as raw:
        headers = {**DraftClient(client).creation(complete=True), "Connection": "close"}
        request = b"".join(rendered("POST", "/files/", b"abc", headers))
        await raw.send(request.replace(b"HTTP/1.1", version.encode()))
        return await raw.rest()


@pytest.mark.parametrize("fast_path", [True, False], ids=["direct", "sockets"])
async def test_rufh_I1_over_http_1(fast_path: bool) -> None:
    async with over_sockets(fast_path=fast_path) as client:
        interim, answer, _ = (await served_104(client)).split(b"\r\n\r\n")
        assert interim.startswith(b"HTTP/1.1 104 Upload Resumption Supported\r\n")
        location = next(line for line in interim.split(b"\r\n") if line.startswith(b"location: "))
        assert answer.startswith(b"HTTP/1.1 201 ")
        assert location in answer.split(b"\r\n")
        assert b"104" not in (await served_104(client, "HTTP/1.0")).partition(b"\r\n")[0]


@pytest.mark.parametrize("fast_path", [True, False], ids=["direct", "sockets"])
async def test_rufh_I4_beside_100_continue(fast_path: bool) -> None:
    async with over_sockets(fast_path=fast_path) as client, client.connect() as raw:
        headers = {**DraftClient(client).creation(complete=True), "Expect": "100-continue"}
        head, body, _ = rendered("POST", "/files/", b"abc", headers)
        await raw.send(head)
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 104 ")
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await raw.send(body)
        assert (await raw.answer())[0] == 201


@pytest.mark.parametrize("fast_path", [True, False], ids=["direct", "sockets"])
async def test_progress_while_the_body_is_on_its_way(fast_path: bool) -> None:
    async with over_sockets(fast_path=fast_path, **QUICK) as client, client.connect() as raw:
        draft = DraftClient(client)
        url = await draft.started()
        head, body, _ = rendered("PATCH", url, b"abcdef", draft.appending(0, complete=True))
        await raw.send(head + body[:3])
        interim = await raw.until(b"\r\n\r\n")
        assert interim.startswith(b"HTTP/1.1 104 ")
        assert b"upload-offset: 3\r\n" in interim
        await raw.send(body[3:])
        assert (await raw.answer())[0] == 201


async def test_over_http_2() -> None:
    async with bare(**QUICK) as client, talking(client.app) as (h2, _):
        headers = [(b"upload-draft-interop-version", b"8"), (b"upload-complete", b"?1")]
        stream_id = h2.request("POST", "/files/", headers, end=False)
        got = h2.answers[stream_id]
        await h2.until(lambda: got.informational == [104])
        await h2.send_body(stream_id, b"abc", end=False)
        await h2.until(lambda: got.informational == [104, 104])
        await h2.send_body(stream_id, b"def")
        await h2.answer(stream_id)
        assert (got.status, got.headers[b"upload-complete"]) == (201, b"?1")
