"""multipart/form-data: many small files in one request, and what did not arrive in another."""

from __future__ import annotations

import json
import random

import trio

from tests.acceptance.api import SESSIONS
from tests.acceptance.content import Content
from tests.server.http.forms import FORM, file, form
from tests.soak.bodies import STEP_BYTES, Body
from tests.soak.client import KIB, some_manner
from tests.soak.ledger import Entry
from tests.soak.slices import Slice
from tests.soak.stored import compare_stored
from tests.soak.world import PATIENCE_S, GaveUp, World


class Form:
    """Registered files, each a field of its own. `entries` and `contents` are by file id."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.session_id: str | None = None
        self.entries: dict[str, Entry] = {}
        self.contents: dict[str, Content] = {}
        self.upload_paths: dict[str, str] = {}
        self._looked_at: set[str] = set()
        block = Content(1 << 20, dice.randrange(1 << 30))
        for number in range(dice.choice((1, 3, 20, 60))):
            small = dice.random() < 0.95
            size = dice.randint(1, 20 * KIB if small else 700 * KIB)
            entry = world.enter("form", size)
            self.entries[f"f{number}"] = entry
            self.contents[f"f{number}"] = Slice(block, entry.number % 1000, size)

    async def create(self) -> None:
        """Raises: GaveUp."""
        files = [
            {"fileName": f"{name}.bin", "fileId": name, "fileSize": content.size}
            for name, content in self.contents.items()
        ]
        key = f"{self.world.seed}-{next(iter(self.entries.values())).number}"
        created = await self.world.create_session(files, key)
        self.session_id = created["sessionId"]

    async def run(self) -> None:
        """Until all have ended. Raises: Gone, GaveUp."""
        deadline = trio.current_time() + PATIENCE_S
        while left := await self._left():
            if trio.current_time() > deadline:
                raise GaveUp(f"form: {len(left)} files are still missing")
            await self._send(left)

    def compare(self) -> None:
        """What was stored since the last look, on the disk: a finished file does not stay for long."""
        for name in self.upload_paths.keys() - self._looked_at:
            self._looked_at.add(name)
            content = self.contents[name]
            compare_stored(self.world, self.entries[name], content.sha256(), self.upload_paths[name])

    async def _left(self) -> list[str]:
        """Files that have not ended, as the session shows them."""
        path = f"{SESSIONS}/{self.session_id}"
        snapshot = await self.world.get_json(path)
        left = []
        for view in snapshot["files"]:
            if view["status"] == "completed":
                self.upload_paths[view["fileId"]] = view["uploadPath"]
            elif view["status"] != "cancelled":
                left.append(view["fileId"])
        self.compare()
        return left

    async def _send(self, names: list[str]) -> None:
        self.world.ledger.counts["forms"] += 1
        for name in names:
            self.entries[name].begin_attempt()
            self.entries[name].note_sent(self.contents[name].size)
        self.world.ledger.sent_bytes += sum(self.contents[name].size for name in names)
        data = form(*(file(name, whole(self.contents[name]), f"{name}.bin") for name in names))
        pieces = [data[at : at + STEP_BYTES] for at in range(0, len(data), STEP_BYTES)]
        manner = some_manner(self.dice, len(data))
        path = f"{SESSIONS}/{self.session_id}/files"
        answer = await self.world.ask("POST", path, list(FORM.items()), Body(len(data), pieces), manner)
        if answer is not None and answer.status == 200:
            for result in json.loads(answer.body)["results"]:
                if result["ok"]:
                    self.upload_paths[result["fileId"]] = result["uploadPath"]
        elif answer is None or answer.status >= 400:
            await trio.sleep(self.dice.uniform(0.05, 0.3))


def whole(content: Content) -> bytes:
    return b"".join(content.pieces())
