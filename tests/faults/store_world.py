"""The whole application on real stores, in one process, with faults below them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from penstock.server.app import create_app
from penstock.server.edge.asgi import ASGIApp, Receive, Scope, Send
from penstock.server.edge.host import Edge
from penstock.server.settings import KIB, Settings
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.health import DiskHealth
from penstock.storage.blobs.local import LocalBlobs
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.state.sqlite import SqliteState
from tests.acceptance.api import Api
from tests.server.edge.harness import serving, until
from tests.storage.faulty_connection import Statements
from tests.storage.faulty_kernel import FaultyKernel

BUFFER_BYTES = 64 * KIB  # what an append gets while two of them share the pool


class Served(Api):
    """The API of an edge in this process."""

    def __init__(self, edge: Edge) -> None:
        self._address = edge.addresses[0]

    @property
    def host(self) -> str:
        return f"localhost:{self._address[1]}"

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self._address)


class World:
    """A gateway that can be restarted below its edge."""

    api: Served
    gateway: Gateway
    blobs: LocalBlobs
    state: SqliteState
    health: DiskHealth

    def __init__(self, settings: Settings, directory: DataDirectory, kernel: FaultyKernel) -> None:
        self.settings = settings
        self.directory = directory
        self.kernel = kernel
        self.statements = Statements()
        self._app: ASGIApp

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def start(self) -> None:
        disk = Disk(self.settings.disk_threads)
        self.state = await SqliteState.open(
            self.settings.data_dir / "state.db", connection=self.statements.connection()
        )
        self.blobs = LocalBlobs(self.directory, disk, fsync=self.settings.fsync)
        calls = (disk.longest_running_s, self.state.thread.longest_running_s)
        self.health = DiskHealth(calls, self.settings.disk_stall_s, lambda: self.state.broken)
        self.gateway = await Gateway.open(
            self.blobs,
            self.state,
            self.settings,
            server_key=self.directory.key,
            boot_id=self.state.boot_id,
            disk_health=self.health,
        )
        self._app = create_app(self.gateway, self.settings, self.health)

    async def restart(self) -> None:
        """Stop and start, as far as the stores see it. Nothing may be under way."""
        await self.state.aclose()
        await self.start()

    def begin_counting(self) -> None:
        """From here on calls and statements are counted."""
        self.kernel.calls.clear()
        self.statements.asked.clear()

    def counted(self) -> tuple[int, int]:
        """How many calls of the kernel, and statements of the database, there were."""
        return len(self.kernel.calls), len(self.statements.asked)

    def heal(self) -> None:
        """The fault is over."""
        self.kernel.heal()
        self.statements.heal()

    # What is there

    @property
    def incoming(self) -> Path:
        return self.settings.data_dir / "incoming"

    def published(self, upload_path: str) -> Path:
        return self.settings.data_dir / upload_path.lstrip("/")

    def received(self, session_id: str, file_id: str) -> int:
        """Bytes that were taken off the wire for a file of a session in memory."""
        return self.gateway._registry.sessions[session_id].files[file_id].received

    async def assert_nothing_held(self, descriptors: int) -> None:
        """No append runs: then nothing of one is left, and what is reserved is what the rows declare."""
        await until(lambda: open_descriptors() == descriptors)
        statistics = self.gateway.statistics()
        assert (statistics.appends, statistics.buffer_bytes, statistics.waiting_for_buffers) == (0, 0, 0)
        stores = self.blobs.statistics
        assert (stores.open_writers, stores.open_readers) == (0, 0)
        registry = self.gateway._registry
        for session in list(registry.sessions.values()):
            assert [file.visitors for file in session.all_files if file.visitors] == []
            assert (session.users, session.adding, session.lock.locked()) == (0, 0, False)
            registry.drop(session)
        assert self.gateway.statistics().reserved_bytes == await self.state.reserved_bytes()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def running(path: Path, **changes: Any) -> AsyncIterator[World]:
    """Started, on a free port; leaving the block cancels it."""
    settings = msgspec.structs.replace(
        Settings(port=0), data_dir=path, buffer_pool_bytes=4 * BUFFER_BYTES, **changes
    )
    kernel = FaultyKernel()
    with DataDirectory(path, settings.categories, kernel) as directory:
        world = World(settings, directory, kernel)
        await world.start()
        try:
            async with serving(world.app, **changes) as edge:
                world.api = Served(edge)
                yield world
        finally:
            await world.state.aclose()
