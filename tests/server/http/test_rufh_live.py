"""The IETF draft: what only shows while a request is under way (Concurrency), over real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from penstock.server.uploads.actor import ANYBODY
from tests.server.edge.harness import PATIENCE_S, Raw, until
from tests.server.http.clients import SocketClient, over_sockets, rendered
from tests.server.http.draft_client import DraftClient, says_complete

DATA = bytes(range(256)) * 400


@pytest.fixture(params=[True, False], ids=["direct", "sockets"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[SocketClient]:
    async with over_sockets(fast_path=request.param, in_threads=request.param) as made:
        yield made


@pytest.fixture
async def draft(client: SocketClient) -> DraftClient:
    return DraftClient(client)


def stored(client: SocketClient) -> bytes:
    (blob,) = client.blobs.published_blobs.values()
    return bytes(blob.data)


async def send_half(client: SocketClient, draft: DraftClient, raw: Raw, url: str) -> None:
    """An append of all, half of which is sent and has been taken."""
    head, body, _ = rendered("PATCH", url, DATA, draft.appending(0, complete=True))
    await raw.send(head + body[: len(DATA) // 2])
    await wait_taken(client, url, len(DATA) // 2)


async def wait_taken(client: SocketClient, url: str, count: int) -> None:
    with trio.fail_after(PATIENCE_S):
        while await taken_bytes(client, url) < count:  # noqa: ASYNC110  # a look is all there is
            await trio.sleep(0.005)


async def taken_bytes(client: SocketClient, url: str) -> int:
    """Asked at the gateway: any request of the draft would stop the writer."""
    resources, actor = client.gateway.resources, ANYBODY
    place = await resources.find(actor, url.rpartition("/")[2])
    return (await client.gateway.file(actor, place.session_id, place.file_id)).uploaded_bytes


async def test_rufh_H4_S2_head_stops_the_writer_and_its_offset_holds(
    client: SocketClient, draft: DraftClient
) -> None:
    url = await draft.started()
    async with client.connect() as raw:
        await send_half(client, draft, raw, url)
        head = await draft.head(url)
        assert (head.status, head.headers["upload-offset"]) == (204, str(len(DATA) // 2))
        status, headers, _ = await raw.answer(b"PATCH")
        assert (status, headers[b"upload-complete"], headers[b"connection"]) == (423, b"?0", b"close")
        assert headers[b"upload-offset"] == b"%d" % (len(DATA) // 2)
    last = await draft.append(url, len(DATA) // 2, DATA[len(DATA) // 2 :], complete=True)
    assert last.status == 201
    assert stored(client) == DATA


async def test_rufh_S2_a_new_append_ends_the_one_before(client: SocketClient, draft: DraftClient) -> None:
    url = await draft.started()
    async with client.connect() as raw:
        await send_half(client, draft, raw, url)
        last = await draft.append(url, len(DATA) // 2, DATA[len(DATA) // 2 :], complete=True)
        assert last.status == 201
        assert (await raw.answer(b"PATCH"))[0] == 423
    assert stored(client) == DATA


async def test_an_append_from_elsewhere_leaves_the_writer_alone(
    client: SocketClient, draft: DraftClient
) -> None:
    url = await draft.started()
    async with client.connect() as raw:
        await send_half(client, draft, raw, url)
        wrong = await draft.append(url, len(DATA), b"x", complete=False)
        assert (wrong.status, says_complete(wrong)) == (409, False)
        await raw.send(DATA[len(DATA) // 2 :])
        assert (await raw.answer(b"PATCH"))[0] == 201
    assert stored(client) == DATA


async def test_rufh_D2_delete_ends_what_is_under_way(client: SocketClient, draft: DraftClient) -> None:
    url = await draft.started()
    async with client.connect() as raw:
        await send_half(client, draft, raw, url)
        assert (await draft.cancel(url)).status == 204
        assert client.gateway.statistics().appends == 0
        assert not client.blobs.incoming_blobs
        status, headers, _ = await raw.answer(b"PATCH")
        assert (status, headers[b"upload-complete"]) == (410, b"?0")
        assert b"upload-offset" not in headers


async def test_rufh_C9_a_connection_that_breaks(client: SocketClient, draft: DraftClient) -> None:
    async with client.connect() as raw:
        head, body, _ = rendered("POST", "/files/", DATA, draft.creation(complete=True))
        await raw.send(head)
        interim = await raw.until(b"\r\n\r\n")
        url = interim.partition(b"location: ")[2].partition(b"\r\n")[0].decode()
        await raw.send(body[:1000])
        await wait_taken(client, url, 1000)
    await until(lambda: client.gateway.statistics().appends == 0)
    head_ = await draft.head(url)
    assert (head_.headers["upload-offset"], says_complete(head_)) == ("1000", False)
    assert head_.headers["upload-length"] == str(len(DATA))
    assert (await draft.append(url, 1000, DATA[1000:], complete=True)).status == 201
    assert stored(client) == DATA


async def test_rufh_S1_many_at_once_store_what_was_sent(client: SocketClient, draft: DraftClient) -> None:
    url = await draft.started(upload_length=str(len(DATA)))

    async def try_to_upload() -> None:
        while not client.blobs.published_blobs:
            head = await draft.head(url)
            if head.status != 204:
                continue
            offset = int(head.headers["upload-offset"])
            end = min(offset + 7777, len(DATA))
            await draft.append(url, offset, DATA[offset:end], complete=end == len(DATA))

    with trio.fail_after(3 * PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(try_to_upload)
    assert stored(client) == DATA


async def test_uploads_follow_each_other_on_one_connection(client: SocketClient, draft: DraftClient) -> None:
    async with client.connect() as raw:
        request = b"".join(rendered("POST", "/files/", b"abc", draft.creation(complete=True)))
        await raw.send(request * 5)
        for _ in range(5):
            assert (await raw.answer(b"POST"))[0] == 201
    assert len(client.blobs.published_blobs) == 5
