"""A well-behaved client that is at work while others misbehave, and must not notice any of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.acceptance.api import STEP_BYTES, Answer, Api, Upload
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.sizes import MIB
from tests.acceptance.watcher import Watcher, check_facts, check_offsets, watching

CONTENT = Content(96 * MIB)
BYTES_PER_S = MIB


class Control:
    """An upload that lasts as long as it has to, a second file to command, and a watcher of both."""

    def __init__(self, upload: Upload, second: Upload, watcher: Watcher) -> None:
        self._upload = upload
        self._second = second
        self._watcher = watcher
        self._hurry = trio.Event()
        self._sent_bytes = 0
        self.answer: Answer

    async def run(self) -> None:
        async with self._upload.putting(CONTENT) as putting:
            while putting.position < CONTENT.size:
                await putting.send(STEP_BYTES)
                self._sent_bytes = putting.exchange.sent_bytes
                with trio.move_on_after(STEP_BYTES / BYTES_PER_S):
                    await self._hurry.wait()
            self.answer = await putting.answer()

    async def is_well(self) -> None:
        """The upload goes on, commands are obeyed, and the watcher hears of both."""
        sent, facts = self._sent_bytes, len(self._watcher.facts)
        assert (await self._second.pause()).status == 200
        assert (await self._second.resume()).status == 200
        await self._watcher.until(lambda: len(self._watcher.facts) >= facts + 2)
        await self._upload.until_received(sent + 1)

    async def finish(self) -> None:
        self._hurry.set()
        await self._watcher.until_event("upload-completed")

    def check(self) -> None:
        """Not an error, not a gap, not a byte."""
        assert self.answer.status == 200
        stored = self._upload.api.gateway.published(self.answer.json()["uploadPath"])
        assert file_sha256(stored) == CONTENT.sha256()
        check_facts(self._watcher)
        check_offsets(self._watcher.events)
        assert self._watcher.closed is None
        assert not [message for message in self._watcher.messages if message["type"] == "error"]
        assert {event.name for event in self._watcher.events} == {
            "upload-started",
            "upload-progress",
            "upload-completed",
        }


@asynccontextmanager
async def control(api: Api) -> AsyncIterator[Control]:
    """At work during the block, and checked at its end."""
    created = await api.create(
        {"fileName": "control.bin", "fileId": "control", "fileSize": CONTENT.size},
        {"fileName": "second.bin", "fileId": "second", "fileSize": 1},
    )
    session_id, key = created["sessionId"], created["watchKey"]
    upload, second = (Upload(api, session_id, name, key) for name in ("control", "second"))
    async with watching(api, session_id) as watcher:
        async with trio.open_nursery() as nursery:
            client = Control(upload, second, watcher)
            nursery.start_soon(client.run)
            yield client
            await client.finish()
        client.check()
