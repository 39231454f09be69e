"""Socket.IO clients that are not ours, as watchers of a session."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import trio

from tests.interop.telling import Telling, Told, running
from tests.running import PATIENCE_S

PLACE = Path(__file__).parent / "socketio_client"
NODE = ("node", str(PLACE / "watch.js"))
PYTHON = (sys.executable, str(Path(__file__).parent / "python_socketio_client.py"))

COMMANDS = {"newest": NODE, "early": NODE, "python": PYTHON}
LIBRARIES = {"newest": "socket.io-client", "early": "socket.io-client-early", "python": ""}
TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}
NOT_FACTS = ("connection-status", "error")


class SocketWatcher(Telling):
    """One client. In Python each event is handled in a thread of its own, and so they come in any order."""

    def __init__(self, process: trio.Process, *, is_in_order: bool) -> None:
        super().__init__(process)
        self.is_in_order = is_in_order
        self._numbers = count(1)

    async def ask(self, name: str, payload: object) -> Any:
        """Emit with an ack; what it was answered."""
        number = next(self._numbers)
        await self.write(json.dumps({"emit": name, "args": [payload], "id": number}))
        return await self._until(lambda: self._answer(number))

    async def disconnect(self) -> None:
        await self.write('{"do": "disconnect"}')
        await self.until("disconnect", len(self.named("disconnect")) + 1)

    async def until_said(self, name: str, wanted: Callable[[Any], object] = lambda payload: True) -> Any:
        """The first such event's payload."""
        return await self._until(
            lambda: next((payload for payload in self.payloads(name) if wanted(payload)), None)
        )

    async def until_last_word(self) -> Any:
        """The one progress that ends a session."""
        return await self.until_said(
            "upload-progress", lambda told: told["fileId"] is None and not told.get("fact")
        )

    def payloads(self, name: str) -> list[Any]:
        return [told["args"][0] for told in self.named("said") if told["name"] == name]

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Of sessions, in order."""
        said = ((told["name"], told["args"][0]) for told in self.named("said"))
        return [(name, payload) for name, payload in said if name not in NOT_FACTS]

    @property
    def facts(self) -> list[tuple[int, str]]:
        """Their numbers and names, in order."""
        facts = [
            (payload["seq"], name)
            for name, payload in self.events
            if name != "upload-progress" or payload.get("fact")
        ]
        return facts if self.is_in_order else sorted(facts)

    def _answer(self, number: int) -> Told | None:
        answers = [told["answer"][0] for told in self.named("ack") if told["id"] == number]
        return answers[0] if answers else None

    async def _until(self, find: Callable[[], Any]) -> Any:
        with trio.fail_after(PATIENCE_S):
            while (found := find()) is None:
                await self.moved()
        return found


@asynccontextmanager
async def watching(url: str, client: str, transport: str, **wanted: Any) -> AsyncIterator[SocketWatcher]:
    """A client that is being started; it is killed at the end."""
    options = {"transports": TRANSPORTS[transport], "reconnectionDelay": 100, "reconnectionDelayMax": 200}
    options |= wanted.pop("options", {})
    asked = json.dumps({"url": url, "library": LIBRARIES[client], "options": options, **wanted})
    async with running([*COMMANDS[client], asked]) as process, trio.open_nursery() as nursery:
        watcher = SocketWatcher(process, is_in_order=client != "python")
        nursery.start_soon(watcher.read)
        yield watcher
        nursery.cancel_scope.cancel(reason="the test is over")
