"""Polling: validators, waiting, languages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from tests.server.edge.harness import until
from tests.server.http.clients import BareClient, Conversation, bare, created, over_sockets, rendered


@pytest.fixture
async def client() -> AsyncIterator[BareClient]:
    async with bare() as made:
        yield made


async def session(client: BareClient) -> tuple[str, str]:
    """The progress and the file URL of a new session."""
    made = await created(client, {"fileName": "a.bin", "fileId": "a", "fileSize": 4})
    return f"/api/upload/progress/{made['sessionId']}", made["files"][0]["uploadUrl"]


PART = {"Content-Range": "bytes 0-1/4"}


async def test_numbers_and_files(autojump_clock: MockClock, client: BareClient) -> None:
    progress, url = await session(client)
    await client.ask("PUT", url, b"ab", PART)
    answer = (await client.ask("GET", progress)).json
    wanted = {"uploadedBytes": 2, "totalBytes": 4, "totalProgress": 50, "overallStatus": "uploading"}
    assert wanted.items() <= answer.items()
    assert [(file["fileId"], file["durableBytes"]) for file in answer["files"]] == [("a", 2)]
    assert (answer["filesTotal"], answer["cursor"]) == (1, None)


async def test_nothing_new_is_304(autojump_clock: MockClock, client: BareClient) -> None:
    progress, url = await session(client)
    first = await client.ask("GET", progress)
    known = {"If-None-Match": first.headers["etag"]}
    again = await client.ask("GET", progress, headers=known)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    await client.ask("PUT", url, b"ab", PART)
    assert (await client.ask("GET", progress, headers=known)).status == 200


async def test_languages(autojump_clock: MockClock, client: BareClient) -> None:
    progress, _ = await session(client)
    chinese = await client.ask("GET", progress, headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    english = await client.ask("GET", f"{progress}?lang=en", headers={"Accept-Language": "zh"})
    assert (chinese.json["message"], english.json["message"]) == ("等待上传", "Waiting for files")
    assert chinese.headers["etag"] != english.headers["etag"]
    assert "Accept-Language" in chinese.headers["vary"]


@pytest.mark.parametrize(
    ("prefer", "waited"), [("wait=7", 7), ("respond-async, wait=20", 20), ("wait=900", 50)]
)
async def test_a_wait_ends(autojump_clock: MockClock, client: BareClient, prefer: str, waited: int) -> None:
    progress, _ = await session(client)
    started_at = trio.current_time()
    conversation = Conversation(client.app, "GET", progress, headers={"Prefer": prefer})
    await conversation.run()
    assert trio.current_time() - started_at == pytest.approx(waited)
    answer = conversation.answer
    assert (answer.status, answer.headers["preference-applied"]) == (200, f"wait={waited}")
    known = {"Prefer": "wait=1", "If-None-Match": answer.headers["etag"]}
    assert (await client.ask("GET", progress, headers=known)).status == 304
    assert client.gateway.statistics().watches == 0


@pytest.mark.parametrize("prefer", ["wait", "wait=x", "wait=-1", "wait=0", "waits=9", "return=minimal"])
async def test_other_preferences_are_ignored(
    autojump_clock: MockClock, client: BareClient, prefer: str
) -> None:
    progress, _ = await session(client)
    started_at = trio.current_time()
    answer = await client.ask("GET", progress, headers={"Prefer": prefer})
    assert trio.current_time() == started_at
    assert "preference-applied" not in answer.headers


async def test_a_change_ends_the_wait(autojump_clock: MockClock, client: BareClient) -> None:
    progress, url = await session(client)
    waiting = Conversation(client.app, "GET", progress, headers={"Prefer": "wait=50"})
    started_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.run)
        await trio.sleep(10)
        assert not waiting.answered
        await client.ask("PUT", url, b"ab", PART)
    assert trio.current_time() - started_at == pytest.approx(10)
    assert waiting.answer.status == 200
    assert waiting.answer.json["overallStatus"] == "uploading"


async def test_what_is_already_new_is_not_waited_for(autojump_clock: MockClock, client: BareClient) -> None:
    progress, url = await session(client)
    etag = (await client.ask("GET", progress)).headers["etag"]
    await client.ask("PUT", url, b"ab", PART)
    started_at = trio.current_time()
    answer = await client.ask("GET", progress, headers={"Prefer": "wait=50", "If-None-Match": etag})
    assert (answer.status, trio.current_time()) == (200, started_at)


async def test_draining_ends_the_wait(autojump_clock: MockClock, client: BareClient) -> None:
    progress, _ = await session(client)
    waiting = Conversation(client.app, "GET", progress, headers={"Prefer": "wait=50"})
    started_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.run)
        await trio.sleep(1)
        await client.gateway.drain()
    assert trio.current_time() - started_at == pytest.approx(1)
    assert waiting.answer.status == 200


async def test_who_leaves_is_not_waited_for(autojump_clock: MockClock, client: BareClient) -> None:
    progress, _ = await session(client)
    waiting = Conversation(client.app, "GET", progress, headers={"Prefer": "wait=50"})
    started_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.run)
        await trio.sleep(1)
        assert client.gateway.statistics().watches == 1
        waiting.leave()
    assert trio.current_time() - started_at == pytest.approx(1)
    assert not waiting.answered
    assert client.gateway.statistics().watches == 0


async def test_a_closed_connection_ends_its_wait() -> None:
    async with over_sockets() as client:
        made = await created(client)
        async with client.connect() as raw:
            path = f"/api/upload/progress/{made['sessionId']}"
            await raw.send(b"".join(rendered("GET", path, headers={"Prefer": "wait=50"})))
            await until(lambda: client.gateway.statistics().watches == 1)
        await until(lambda: client.gateway.statistics().watches == 0)
