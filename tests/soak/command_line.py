"""`penstock upload` as a user starts it, by way of an address that stays when the server is started anew."""

from __future__ import annotations

import json
import os
import subprocess
import time
from urllib.parse import urlsplit

import trio

from penstock.server.exits import Exit
from tests.running import PENSTOCK
from tests.soak.client import Order
from tests.soak.world import PATIENCE_S, GaveUp


class CommandLine:
    """One file by the program."""

    def __init__(self, order: Order) -> None:
        self.world, self.entry, self.content, _ = order
        self.upload_path: str | None = None
        self.session_id: str | None = None

    async def create(self) -> None:
        """The program does it."""

    async def run(self) -> None:
        """Raises: GaveUp."""
        place = self.world.machine.directory
        path = place / f"upload-{self.entry.number}.bin"
        await trio.to_thread.run_sync(self.content.write_to, path)
        self.entry.note_sent(self.content.size)
        self.world.ledger.sent_bytes += self.content.size
        command = [*PENSTOCK, "upload", str(path), "--to", self.world.steady_url]
        command += ["--json", "--give-up", str(int(PATIENCE_S))]
        environment = {**os.environ, "XDG_STATE_HOME": str(place / "client-state")}
        began = time.time()
        done = await self._start(command, environment)
        # It waits for a server it has talked to; not for one that was never there, nor for room on the disk.
        again = (Exit.UNREACHABLE, Exit.REFUSED)
        while done.returncode in again and self.world.excuses.between(began, time.time()):
            await trio.sleep(1.0)
            began = time.time()
            done = await self._start(command, environment)
        path.unlink()
        self._conclude(done)

    async def _start(
        self, command: list[str], environment: dict[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        return await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, env=environment
        )

    def _conclude(self, done: subprocess.CompletedProcess[bytes]) -> None:
        if done.returncode != 0:
            raise GaveUp(f"penstock upload: exit {done.returncode}: {done.stdout[-500:]!r} {done.stderr!r}")
        told = [json.loads(line) for line in done.stdout.splitlines()]
        (url,) = [line["url"] for line in told if line["event"] == "file-uploaded"]
        self.upload_path = urlsplit(url).path

    async def download_path(self) -> str:
        assert self.upload_path is not None
        return self.upload_path
