"""tus-js-client in a Node process of its own, and what it tells."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.running import PATIENCE_S

PLACE = Path(__file__).parent / "tus_js_client"
COMMAND = ("node", str(PLACE / "upload.js"))

Told = dict[str, Any]


class TusJs:
    """One upload. What the client told lies in `told`, in order."""

    def __init__(self, process: trio.Process) -> None:
        self.told: list[Told] = []
        self.ended = trio.Event()
        self._process = process
        self._moved = trio.lowlevel.ParkingLot()

    async def read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self.told += map(json.loads, lines)
            self._moved.unpark_all()
        self.ended.set()
        self._moved.unpark_all()

    async def command(self, name: str) -> None:
        """Have it do something: abort, start, terminate."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{name}\n".encode())

    async def until(self, event: str, count: int = 1) -> Told:
        """The `count`th such event."""
        with trio.fail_after(PATIENCE_S):
            while len(found := self.named(event)) < count:
                assert not self.ended.is_set(), f"no {event}: {self.told[-3:]}"
                await self._moved.park()
        return found[count - 1]

    async def end(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit code."""
        with trio.fail_after(patience_s):
            await self.ended.wait()
            return await self._process.wait()

    async def succeed(self, patience_s: float = PATIENCE_S) -> None:
        assert await self.end(patience_s) == 0, self.told[-5:]

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def named(self, event: str) -> list[Told]:
        return [told for told in self.told if told["event"] == event]

    @property
    def methods(self) -> list[str]:
        """Of its requests, as they were meant."""
        return [told.get("override") or told["method"] for told in self.named("request")]

    @property
    def statuses(self) -> list[int]:
        return [told["status"] for told in self.named("answer")]

    @property
    def url(self) -> str:
        """The upload's; of several (the parts of a parallel upload) the newest."""
        url: str = self.named("url")[-1]["url"]
        return url


@asynccontextmanager
async def uploading(
    server: str, source: Path, *, kind: str = "file", urls: Path | None = None, **options: Any
) -> AsyncIterator[TusJs]:
    """An upload of the file to the server at that URL, under way; it is killed if it has not ended."""
    wanted = {"endpoint": f"{server}/files/", "path": str(source), "input": kind, "options": options}
    if urls is not None:
        wanted["urls"] = str(urls)
    run = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
    async with trio.open_nursery() as nursery:
        process = await nursery.start(run, [*COMMAND, json.dumps(wanted)])
        client = TusJs(process)
        nursery.start_soon(client.read)
        yield client
        nursery.cancel_scope.cancel(reason="the test is over")


async def upload(server: str, source: Path, **options: Any) -> TusJs:
    """An upload that succeeds."""
    async with uploading(server, source, **options) as client:
        await client.succeed()
    return client
