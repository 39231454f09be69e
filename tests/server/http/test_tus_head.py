"""Looking at an upload over tus (HEAD, GET) and ending it (DELETE)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio

from penstock.protocol.errors import ServerError
from penstock.server.app import create_app
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.failing import fail_file
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.session import LiveSession
from penstock.storage.errors import StoreError
from tests.server.edge.harness import until
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
from tests.server.http.tus_client import OCTET, TUS, UNKNOWN, create, head, metadata, offset, patch, stored


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with TRANSPORTS[request.param]() as made:
        yield made


@pytest.fixture
async def plain() -> AsyncIterator[BareClient]:
    async with bare() as made:
        yield made


async def live(client: Client, url: str) -> tuple[LiveSession, LiveFile]:
    place = await client.gateway.resources.find(ANYBODY, url.rpartition("/")[2])
    session = client.gateway._registry.sessions[place.session_id]
    return session, session.files[place.file_id]


async def restarted(client: BareClient) -> BareClient:
    """Another gateway on the same stores."""
    old = client.gateway
    new = await Gateway.open(client.blobs, old._store, old.settings, server_key=b"k" * 32, boot_id="boot-1")
    return BareClient(new, client.blobs, create_app(new, old.settings))


async def command(client: Client, url: str, name: str) -> None:
    session, _ = await live(client, url)
    path = f"/api/upload/sessions/{session.session_id}/commands"
    answer = await client.ask("POST", path, msgspec.json.encode({"type": name}))
    assert answer.status == 200, answer


# HEAD


async def test_tus_H1_H2_H3_the_offset_at_every_step(client: Client) -> None:
    url = await create(client, 5)
    for body, at in [(b"", 0), (b"ab", 2), (b"cde", 5)]:
        await patch(client, url, at - len(body), body)
        answer = await head(client, url)
        assert (answer.status, answer.headers["upload-offset"], answer.headers["upload-length"]) == (
            200,
            str(at),
            "5",
        )


async def test_tus_H4_an_unknown_upload(client: Client) -> None:
    answer = await head(client, UNKNOWN)
    assert answer.status == 404
    assert "upload-offset" not in answer.headers


async def test_tus_H9_a_length_that_is_not_known(plain: BareClient) -> None:
    answer = await head(plain, await create(plain))
    assert answer.headers["upload-defer-length"] == "1"
    assert "upload-length" not in answer.headers


async def test_tus_H11_a_paused_upload(plain: BareClient) -> None:
    url = await create(plain, 5, b"ab")
    await command(plain, url, "upload-pause")
    assert await offset(plain, url) == 2


async def test_tus_H8_a_failed_upload_is_gone(plain: BareClient) -> None:
    url = await create(plain, 5, b"ab")
    session, file = await live(plain, url)
    await fail_file(session, file, ServerError("torn"))
    answer = await head(plain, url)
    assert answer.status == 410
    assert "upload-offset" not in answer.headers
    assert (await patch(plain, url, 2, b"cde")).status == 410
    assert (await plain.ask("GET", url)).status == 410


async def test_tus_H8_a_cancel_by_command_is_first_423_then_410(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bare() as plain:
        url = await create(plain, 5, b"ab")
        await command(plain, url, "upload-cancel")
        answer = await head(plain, url)
        assert answer.status == 423
        assert answer.headers["retry-after"]
        assert (await plain.ask("HEAD", url)).status == 410  # who names no version does not begin again
        assert (await patch(plain, url, 2, b"cde")).status == 410
        await trio.sleep(61)
        assert (await head(plain, url)).status == 410


async def test_tus_H8_a_store_in_trouble_passes(
    plain: BareClient, capsys: pytest.CaptureFixture[str]
) -> None:
    url = await create(plain, 5, b"ab")
    again = await restarted(plain)
    plain.blobs.fault = StoreError("the disk is away")
    answer = await head(again, url)
    assert answer.status == 423
    assert answer.headers["retry-after"]
    plain.blobs.fault = None
    assert await offset(again, url) == 2
    assert "the disk is away" in capsys.readouterr().out


async def test_a_store_in_trouble_tells_nobody_where_uploads_are(plain: BareClient) -> None:
    made = await created(plain, {"fileName": "a", "fileId": "a", "fileSize": 5})
    url = made["files"][0]["tusUrl"]
    await patch(plain, url, 0, b"ab")
    plain.blobs.incoming_blobs.clear()
    refused = await patch(plain, url, 2, b"cde")
    assert refused.code == (500, "SERVER_ERROR")
    watched = await plain.ask("GET", f"/api/upload/sessions/{made['watchKey']}")
    assert watched.json["files"][0]["error"]["code"] == "SERVER_ERROR"
    upload_id = url.rpartition("/")[2].encode()
    assert upload_id not in refused.body + watched.body


async def test_tus_H8_a_draining_server_still_says_the_offset_or_423(plain: BareClient) -> None:
    url = await create(plain, 5, b"ab")
    await plain.gateway.drain()
    assert (await head(plain, url)).status in (200, 423)
    assert (await plain.ask("POST", "/files/", b"", {**TUS, "Upload-Length": "5"})).status == 503


async def test_tus_H12_heads_have_no_body_and_the_length_that_get_has(client: Client) -> None:
    url = await create(client, 3, Upload_Metadata=metadata(filename="a.txt"))
    assert (await head(client, url)).headers["content-length"] == "0"
    await patch(client, url, 0, b"abc")
    assert (await head(client, url)).headers["content-length"] == "3"
    assert (await head(client, UNKNOWN)).status == 404


async def test_who_only_looks_disturbs_nobody(plain: BareClient) -> None:
    url = await create(plain, 5, b"ab")
    answer = await plain.ask("HEAD", url)
    assert (answer.status, answer.headers["upload-offset"]) == (200, "2")


@pytest.fixture(params=[True, False], ids=["direct", "sockets"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[SocketClient]:
    async with over_sockets(fast_path=request.param, in_threads=request.param, takeover_probe_s=0.05) as made:
        yield made


async def test_tus_H7_L4_who_looks_waits_for_a_writer_and_who_resumes_stops_it(served: SocketClient) -> None:
    url = await create(served, 5)
    _, file = await live(served, url)
    async with served.connect() as raw:
        start, *_ = rendered("PATCH", url, b"abcde", {**OCTET, "Upload-Offset": "0"})
        await raw.send(start + b"ab")
        await until(lambda: file.received == 2)
        looked = await served.ask("HEAD", url)
        assert looked.status == 423
        assert looked.headers["retry-after"]
        assert "upload-length" not in looked.headers
        seen = await served.ask("GET", url)
        assert seen.status == 204
        assert file.append is not None  # still at it
        assert await offset(served, url) == 2
        status, lines, _ = await raw.answer(b"PATCH")
    assert (status, lines[b"upload-offset"]) == (423, b"2")


async def test_tus_H7_a_writer_at_work_is_left_alone(served: SocketClient) -> None:
    url = await create(served, 1 << 30)
    _, file = await live(served, url)
    async with served.connect() as raw, trio.open_nursery() as nursery:
        start, *_ = rendered("PATCH", url, b"x", {**OCTET, "Upload-Offset": "0"})
        await raw.send(start.replace(b"content-length: 1", b"content-length: 1073741824"))

        async def drip() -> None:
            while True:
                await raw.send(b"x" * 1000)
                await trio.sleep(0.005)

        nursery.start_soon(drip)
        await until(lambda: file.received > 1000)
        answer = await head(served, url)
        assert answer.status == 423
        assert file.append is not None
        nursery.cancel_scope.cancel()


# GET


async def test_before_the_end_get_says_what_head_says(client: Client) -> None:
    url = await create(client, 5, b"ab", Upload_Metadata="a YQ==")
    looked, got = await head(client, url), await client.ask("GET", url)
    assert (got.status, got.body) == (204, b"")
    names = ("upload-offset", "upload-length", "upload-metadata", "upload-expires", "cache-control")
    assert [got.headers[name] for name in names] == [looked.headers[name] for name in names]


async def test_after_the_end_get_is_the_file(client: Client) -> None:
    url = await create(client, 5, b"abcde", Upload_Metadata=metadata(filename="ä b.txt"))
    answer = await client.ask("GET", url)
    assert (answer.status, answer.body) == (200, b"abcde")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-disposition"].endswith("filename*=UTF-8''%C3%A4%20b.txt")
    assert answer.headers["x-content-type-options"] == "nosniff"
    part = await client.ask("GET", url, None, {"Range": "bytes=1-2"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"bc", "bytes 1-2/5")
    known = await client.ask("GET", url, None, {"If-None-Match": answer.headers["etag"]})
    assert known.status == 304
    assert (await client.ask("GET", url, None, {"Range": "bytes=9-"})).status == 416


async def test_get_of_nothing(plain: BareClient) -> None:
    assert (await plain.ask("GET", UNKNOWN)).code == (404, "FILE_NOT_FOUND")


# DELETE


@pytest.mark.parametrize("body", [b"", b"ab", b"abcde"], ids=["new", "begun", "finished"])
async def test_tus_T1_T2_an_upload_is_removed(client: Client, body: bytes) -> None:
    url = await create(client, 5, body)
    answer = await client.ask("DELETE", url, None, TUS)
    assert (answer.status, answer.body) == (204, b"")
    assert not client.blobs.incoming_blobs
    assert not client.blobs.published_blobs
    for method in ("HEAD", "DELETE", "GET"):
        assert (await client.ask(method, url, None, TUS)).status in (404, 410), method
    assert (await patch(client, url, len(body), b"x")).status in (404, 410)


async def test_tus_T2_an_unknown_upload(plain: BareClient) -> None:
    assert (await plain.ask("DELETE", UNKNOWN, None, TUS)).code == (404, "FILE_NOT_FOUND")


async def test_tus_T3_a_running_append_is_stopped_first(served: SocketClient) -> None:
    url = await create(served, 5)
    _, file = await live(served, url)
    async with served.connect() as raw:
        start, *_ = rendered("PATCH", url, b"abcde", {**OCTET, "Upload-Offset": "0"})
        await raw.send(start + b"ab")
        await until(lambda: file.received == 2)
        assert (await served.ask("DELETE", url, None, TUS)).status == 204
        status, lines, _ = await raw.answer(b"PATCH")
    assert (status, lines[b"connection"]) == (410, b"close")
    assert not served.blobs.incoming_blobs
    assert served.gateway.statistics().appends == 0


async def test_tus_T4_finished_files_can_be_kept() -> None:
    async with bare(terminate_finished=False) as plain:
        url = await create(plain, 3, b"abc")
        answer = await plain.ask("DELETE", url, None, TUS)
        assert answer.code == (403, "INSUFFICIENT_PERMISSIONS")
        assert stored(plain) == b"abc"
        unfinished = await create(plain, 5)
        assert (await plain.ask("DELETE", unfinished, None, TUS)).status == 204


async def test_tus_T5_the_session_is_told(plain: BareClient) -> None:
    url = await create(plain, 5, b"ab")
    session, _ = await live(plain, url)
    await plain.ask("DELETE", url, None, TUS)
    view: Any = (await plain.ask("GET", f"/api/upload/sessions/{session.session_id}")).json
    assert [one["status"] for one in view["files"]] == ["cancelled"]
    assert plain.gateway.statistics().reserved_bytes == 0
