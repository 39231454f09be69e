"""SIGTERM: everybody is told, everything is kept, and it ends, whatever the peers do."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio

from penstock.server.exits import Exit
from tests.acceptance.api import Answer, Api, Putting
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.gateway import running
from tests.acceptance.sizes import MIB, full_or
from tests.acceptance.watcher import check_facts, watching
from tests.running import PENSTOCK

pytestmark = pytest.mark.acceptance

CONTENT = Content(16 * MIB)
STALLED = full_or(20, 1000)


async def test_it_drains_and_goes_on_after_the_restart(tmp_path: Path) -> None:
    answers: list[Answer] = []
    async with running(tmp_path) as gateway:
        api = Api(gateway)
        upload = await api.create_one(CONTENT.size)
        async with AsyncExitStack() as stack:
            watcher = await stack.enter_async_context(watching(api, upload.session_id))
            guest = await stack.enter_async_context(watching(api, upload.watch_key))
            putting = await stack.enter_async_context(upload.putting(CONTENT))
            await stall_many(stack, api)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_and_hear, putting, answers)
                await watcher.until(
                    lambda: any(e.payload["progress"] > 20 for e in watcher.named("upload-progress"))
                )
                assert await gateway.terminate() == Exit.OK
            for one in (watcher, guest):
                assert (await one.until_closed())[0] == 4001
                assert one.messages[-2]["data"]["payload"]["status"] == "reconnecting"
                assert one.messages[-2]["data"]["event"] == "connection-status"
                check_facts(one)
    assert (answers[0].status, answers[0].json()["code"]) == (503, "SERVER_BUSY")
    assert answers[0].offset > CONTENT.size // 5
    async with running(tmp_path) as gateway:
        upload.api.gateway = gateway
        head = await upload.head()
        assert head.offset == answers[0].offset, "drained at a durable offset"
        async with watching(api) as back:
            since = {"epoch": watcher.facts[0].payload["epoch"], "seq": watcher.events[-1].seq}
            assert (await back.subscribe(upload.session_id, since))["recovered"] is True
            answer = await upload.put(CONTENT, head.offset)
            await back.until_last_word()
            check_facts(back)
        assert file_sha256(gateway.published(answer.json()["uploadPath"])) == CONTENT.sha256()
        assert answer.json()["attempt"] == 1


async def send_and_hear(putting: Putting, answers: list[Answer]) -> None:
    with suppress(trio.BrokenResourceError):
        await putting.send_all(bytes_per_s=4 * MIB)
    answers.append(await putting.answer())


async def stall_many(stack: AsyncExitStack, api: Api) -> None:
    """Peers that are of no help: in mid-head, in mid-body, idle, or with an answer they do not read."""
    whole = await api.create_one(CONTENT.size)
    download = (await whole.put(CONTENT)).json()["uploadPath"]
    for number in range(STALLED):
        if number % 4 == 0:
            stream = await stack.enter_async_context(await api.connect())
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: ")
        elif number % 4 == 1:
            other = await api.create_one(CONTENT.size)
            putting = await stack.enter_async_context(other.putting(CONTENT))
            await putting.send(1000)
        elif number % 4 == 2:
            await stack.enter_async_context(api.exchange("GET", download))
        else:
            await stack.enter_async_context(await api.connect())


async def test_a_second_process_is_told_who_has_the_data(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        second = await trio.run_process(
            [*PENSTOCK, "--port", "0"], cwd=tmp_path, capture_stderr=True, capture_stdout=True, check=False
        )
        assert second.returncode == Exit.DATA_BUSY
        assert f"in use by process {gateway.process.pid}" in second.stderr.decode()
        assert (await Api(gateway).call("GET", "/healthz")).status == 200


async def test_held_and_silent_requests_are_answered_too(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        api = Api(gateway)
        upload = await api.create_one(CONTENT.size)
        paused = await api.create_one(CONTENT.size)
        await paused.pause()
        async with paused.putting(CONTENT) as held, upload.putting(CONTENT) as putting:
            await held.send(1)
            await putting.send(MIB)
            gateway.process.terminate()
            assert (await held.answer()).status == 503
            assert (await putting.answer()).status == 503
        assert await gateway.wait() == Exit.OK
