"""A client in a process of its own that tells what happens to it, a JSON object a line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from tests.running import PATIENCE_S

Told = dict[str, Any]


class Telling:
    """What the client told lies in `told`, in order; each has an `event`."""

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

    async def write(self, line: str) -> None:
        """Have it do something."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{line}\n".encode())

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

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def named(self, event: str) -> list[Told]:
        return [told for told in self.told if told["event"] == event]

    async def moved(self) -> None:
        """Until it has told something more."""
        assert not self.ended.is_set(), self.told[-3:]
        await self._moved.park()


@asynccontextmanager
async def running(command: Sequence[str]) -> AsyncIterator[trio.Process]:
    """The client's process; it is killed if it has not ended."""
    run = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
    async with trio.open_nursery() as nursery:
        yield await nursery.start(run, command)
        nursery.cancel_scope.cancel(reason="the test is over")
