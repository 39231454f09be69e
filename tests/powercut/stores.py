"""A gateway on the real stores, put together as `server/main.py` does it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, TypeVarTuple, get_args

import msgspec
import trio

from penstock.server.settings import KIB, Settings
from penstock.server.uploads.gateway import Gateway
from penstock.storage.blobs.local import LocalBlobs
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.kernel import Kernel
from penstock.storage.state.base import FileRow, SessionRow
from penstock.storage.state.sqlite import SqliteState
from tests.powercut.told import Key

T = TypeVar("T")
Args = TypeVarTuple("Args")

DATA = "data"  # in the scenario's directory: so it is made, too
DATABASE = "state.db"
THREADS = 4
EVER = float("inf")

Fsync = Literal["append", "complete", "never"]
FSYNCS: tuple[Fsync, ...] = get_args(Fsync)


class Threadless(Disk):
    """Calls at once. For looking at images: nothing there is slow, and a hop costs more than most calls."""

    async def run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        await trio.lowlevel.checkpoint()
        return self._timed(function, args)


class Opened(NamedTuple):
    gateway: Gateway
    blobs: LocalBlobs
    state: SqliteState
    data: Path


class Rows(NamedTuple):
    """All that is in the database."""

    sessions: dict[str, SessionRow]
    files: dict[Key, FileRow]


def fsync_named(name: str) -> Fsync:
    return next(fsync for fsync in FSYNCS if fsync == name)


def settings(fsync: Fsync, **more: object) -> Settings:
    """Small buffers, and everything due at once: as many syncs as possible in as few bytes."""
    chosen: dict[str, object] = {
        "fsync": fsync,
        "buffer_pool_bytes": 128 * KIB,
        "sync_every_bytes": 16 * KIB,
        "pause_hold_s": 0.05,
        "takeover_probe_s": 0.01,
        "progress_interval_s": 0.001,
        "progress_min_percent": 0.0,
        **more,
    }
    return msgspec.structs.replace(Settings(), **chosen)


@asynccontextmanager
async def opened(
    scenario: Path,
    chosen: Settings,
    boot_id: str,
    *,
    kernel: Kernel | None = None,
    state_type: type[SqliteState] = SqliteState,
    disk_type: type[Disk] = Disk,
) -> AsyncIterator[Opened]:
    """Open what is in a scenario's directory, or make it; closed cleanly at the end."""
    data = scenario / DATA
    with DataDirectory(data, chosen.categories, kernel or Kernel()) as directory:
        async with await state_type.open(data / DATABASE, boot_id=boot_id) as state:
            state.thread = disk_type(1)
            blobs = LocalBlobs(directory, disk_type(THREADS), fsync=chosen.fsync)
            gateway = await Gateway.open(blobs, state, chosen, server_key=directory.key, boot_id=boot_id)
            yield Opened(gateway, blobs, state, data)


async def all_rows(state: SqliteState) -> Rows:
    """Everything."""
    ids = await state.unfinished_sessions(active_before=EVER, limit=1 << 30)
    ids += await state.ended_sessions(ended_before=EVER, limit=1 << 30)
    rows = Rows({}, {})
    for session_id in ids:
        found = await state.load_session(session_id)
        assert found is not None
        rows.sessions[session_id], files = found
        rows.files.update({(session_id, file.file_id): file for file in files})
    return rows
