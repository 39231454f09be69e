"""tus-js-client in a Node process of its own, and what it tells."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.interop.telling import Telling, running
from tests.running import PATIENCE_S

PLACE = Path(__file__).parent / "tus_js_client"
COMMAND = ("node", str(PLACE / "upload.js"))


class TusJs(Telling):
    """One upload."""

    async def command(self, name: str) -> None:
        """Have it do something: abort, start, terminate."""
        await self.write(name)

    async def succeed(self, patience_s: float = PATIENCE_S) -> None:
        assert await self.end(patience_s) == 0, self.told[-5:]

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
    async with running([*COMMAND, json.dumps(wanted)]) as process, trio.open_nursery() as nursery:
        client = TusJs(process)
        nursery.start_soon(client.read)
        yield client
        nursery.cancel_scope.cancel(reason="the test is over")


async def upload(server: str, source: Path, **options: Any) -> TusJs:
    """An upload that succeeds."""
    async with uploading(server, source, **options) as client:
        await client.succeed()
    return client
