"""The server under load: one process after another on the same data, and what each of them holds."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import trio

from tests.acceptance.gateway import Gateway, until
from tests.running import PATIENCE_S, serving
from tests.soak.flatness import Held, Sample
from tests.soak.observed import COUNTS

# Ended sessions and finished files leave soon, so that a quiet point can see that they really do; everything
# a peer may wait for is short, so that each of these ends comes often.
SETTINGS = {
    "h2c": None,
    "ended-retention-s": 10,
    "finished-retention-s": 10,
    "retention-s": 75,  # the first parts of a parallel upload wait for the slowest
    "idempotency-s": 20,
    "janitor-every-s": 0.5,
    "session-timeout-s": 20,
    "retry-wait-s": 60,
    "sync-every-s": 0.5,
    "sync-every-bytes": 1 << 20,
    "pause-hold-s": 1.5,
    "cancel-grace-s": 1,
    "body-idle-timeout-s": 4,
    "keep-alive-timeout-s": 5,
    "send-timeout-s": 4,
    "linger-s": 1,
    "heartbeat-interval-s": 5,
    "heartbeat-timeout-s": 5,
}
OPTIONS = [
    part
    for name, value in SETTINGS.items()
    for part in ((f"--{name}",) if value is None else (f"--{name}", str(value)))
]
TABLES = ("sessions", "files", "facts", "finished")
OBSERVED = (
    "/bin/sh", "-c", 'exec "$0" "$@" 2>>server.log', sys.executable, "-P", "-m", "tests.soak.observed"
)  # fmt: skip


class Machine:
    """`gateway` is the process that runs now; while there is none, its port is one that nobody listens on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.gateway: Gateway
        self.life = 0
        self.peak_bytes = 0
        self._stack = ExitStack()
        self._counts = directory / "counts.json"

    @property
    def pid(self) -> int:
        return self.gateway.process.pid

    async def start(self) -> None:
        command = ("/usr/bin/env", f"{COUNTS}={self._counts}", f"PYTHONPATH={Path(__file__).parents[2]}")
        stack = ExitStack()
        context = serving((*command, *OBSERVED), *OPTIONS, cwd=self.directory)
        server = await trio.to_thread.run_sync(stack.enter_context, context)
        self._stack, self.gateway = stack, Gateway(server, self.directory)
        self.life += 1

    async def kill(self) -> None:
        self.note_peak()
        await self.gateway.kill()
        await self._end()

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.note_peak()
        self.gateway.process.terminate()
        code = await self.gateway.wait()
        await self._end()
        return code

    async def freeze(self, for_s: float) -> None:
        self.gateway.process.send_signal(signal.SIGSTOP)
        try:
            await trio.sleep(for_s)
        finally:
            self.gateway.process.send_signal(signal.SIGCONT)

    async def _end(self) -> None:
        with trio.move_on_after(2 * PATIENCE_S, shield=True):
            await trio.to_thread.run_sync(self._stack.close)

    async def aclose(self) -> None:
        if self.gateway.process.poll() is None:
            await self.gateway.kill()
        await self._end()

    # What it holds

    def memory_bytes(self, name: str) -> int:
        """`Pss`, `Private_Dirty` and the like."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(name))

    def private_bytes(self) -> int:
        return self.memory_bytes("Private_Clean") + self.memory_bytes("Private_Dirty")

    def note_peak(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self.gateway.peak_memory_bytes())

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    async def sample(self, at_s: float, uploads: int) -> Sample:
        counts = await self._ask_counts()
        rows = self.gateway.rows()
        held = Held(
            descriptors=self.gateway.descriptors(),
            threads=self.threads(),
            tasks=counts["tasks"],
            sessions=counts["sessions"],
            appends=counts["appends"],
            watches=counts["watches"],
            reserved_bytes=counts["reserved_bytes"],
            buffer_bytes=counts["buffer_bytes"],
            waiting_for_buffers=counts["waiting_for_buffers"],
            unfinished_files=self.files_below("incoming"),
            finished_files=self.files_below("upload"),
            rows=sum(len(rows[table]) for table in TABLES),
        )
        self.note_peak()
        return Sample(
            life=self.life,
            at_s=round(at_s, 1),
            uploads=uploads,
            private_bytes=self.private_bytes(),
            allocated_bytes=counts["allocated_bytes"],
            blocks=counts["blocks"],
            objects=counts["objects"],
            held=held,
        )

    def files_below(self, name: str) -> int:
        return sum(path.is_file() for path in (self.gateway.data / name).rglob("*"))

    async def _ask_counts(self) -> dict[str, int]:
        self._counts.unlink(missing_ok=True)
        self.gateway.process.send_signal(signal.SIGUSR1)
        await until(self._counts.exists)
        counts: dict[str, int] = json.loads(self._counts.read_text(encoding="utf-8"))
        return counts


@asynccontextmanager
async def machine_in(directory: Path) -> AsyncIterator[Machine]:
    machine = Machine(directory)
    await machine.start()
    try:
        yield machine
    finally:
        await machine.aclose()
