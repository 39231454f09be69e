"""A small file system of our own below the data directory, that can be filled to the last byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from tests.running import PATIENCE_S

OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
SIZE = "1g"
SCRIPT = f'mount -t tmpfs -o size={SIZE} none "$1" && shift && exec "$@"'
FILLER = "filler"
FILLING_S = 2.0  # the server writes and removes meanwhile: it may never be full to the last block


def is_possible() -> bool:
    """Whether this system lets us mount in a namespace of our own."""
    if shutil.which("unshare") is None:
        return False
    trial = [*OWN_MOUNTS, "mount -t tmpfs -o size=4k none /tmp"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def on_small_disk(place: Path, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` with a small file system mounted at `place`."""
    return [*OWN_MOUNTS, SCRIPT, "sh", str(place), *command]


@asynccontextmanager
async def filled(place: Path) -> AsyncIterator[None]:
    """Hardly one block is left meanwhile."""
    path = place / FILLER
    await trio.to_thread.run_sync(_fill, path)
    try:
        yield
    finally:
        with trio.move_on_after(PATIENCE_S, shield=True):
            await trio.to_thread.run_sync(path.unlink)


def _fill(path: Path) -> None:
    deadline = time.monotonic() + FILLING_S
    with path.open("wb") as file:
        while (free_bytes := _free_bytes(path.parent)) and time.monotonic() < deadline:
            end = os.fstat(file.fileno()).st_size
            try:
                os.posix_fallocate(file.fileno(), end, free_bytes)
            except OSError:  # the server was faster
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), end, max(free_bytes // 2, 4096))


def _free_bytes(place: Path) -> int:
    numbers = os.statvfs(place)
    return numbers.f_bavail * numbers.f_frsize
