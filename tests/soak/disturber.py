"""Somebody else's hand: pauses, resumes and cancels an upload from another connection."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence

import trio

from tests.acceptance.api import SESSIONS
from tests.conformance.wire import Answer
from tests.soak.ledger import Entry
from tests.soak.world import Gone, World

OVER = (404, 409, 410)  # it has ended: nothing to resume or cancel


class Disturber:
    """Commands about the files of one session, which all may come too late."""

    def __init__(self, world: World, session_id: str, entries: Sequence[Entry], dice: random.Random) -> None:
        self._world = world
        self._session_id = session_id
        self._entries = entries
        self._dice = dice

    async def run(self) -> None:
        """Some pauses, each with its resume; at last a cancel, or not."""
        for _ in range(self._dice.choice((0, 0, 0, 0, 1, 1, 2))):
            await trio.sleep(self._dice.expovariate(4))
            await self._pause()
        if self._dice.random() < 0.08:
            await trio.sleep(self._dice.expovariate(4))
            await self._cancel()

    async def _pause(self) -> None:
        began = time.time()
        answer = await self._world.command(self._session_id, "upload-pause", **self._target())
        self._world.ledger.counts["pauses asked"] += 1
        if answer is not None and answer.ok:
            self._world.ledger.counts["pauses"] += 1
            received = json.loads(answer.body)["uploadedBytes"]
            await trio.sleep(self._dice.choice((0.05, 0.3, 1.0, 2.5)))
            await self._check_still(received, began)
        await self._until_told("upload-resume")

    def _target(self) -> dict[str, str]:
        """One file where there is but one; else all of them."""
        return {"fileId": "f"} if len(self._entries) == 1 and self._dice.random() < 0.5 else {}

    async def _check_still(self, received: int, began: float) -> None:
        """A paused file does not grow. It shrinks if its request carried a digest and ends before its end."""
        if len(self._entries) != 1:
            return
        answer = await self._world.ask("GET", f"{SESSIONS}/{self._session_id}")
        if answer is None or not answer.ok or self._world.excuses.between(began, time.time()):
            return
        for view in json.loads(answer.body)["files"]:
            if view["status"] == "paused" and view["uploadedBytes"] > received:
                self._entries[0].problem(f"paused at {received} bytes, and has {view['uploadedBytes']}")

    async def _cancel(self) -> None:
        for entry in self._entries:
            entry.cancel_asked = True
        answer = await self._until_told("upload-cancel")
        self._world.ledger.counts["cancels asked"] += 1
        if answer is not None and len(self._entries) == 1:
            await self._check_cancelled()

    async def _check_cancelled(self) -> None:
        answer = await self._world.ask("GET", f"{SESSIONS}/{self._session_id}")
        if answer is None or not answer.ok:
            return
        for file in json.loads(answer.body)["files"]:
            had_failed = (
                file["status"] == "failed" and not file["canRetry"]
            )  # and stays so, without its bytes
            if file["status"] not in ("cancelled", "completed") and not had_failed:
                self._entries[0].problem(f"its cancel was answered, and it is {file['status']}")

    async def _until_told(self, command: str) -> Answer | None:
        """Until the server has taken it, or it is too late."""
        try:
            return await self._world.insist(lambda: self._once(command), command)
        except Gone:
            return None

    async def _once(self, command: str) -> Answer | None:
        answer = await self._world.command(self._session_id, command)
        if answer is not None and answer.status in OVER:
            raise Gone(str(answer))
        return answer
