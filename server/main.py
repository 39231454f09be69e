"""The server process: services in order, a signal, the drain, the end.

```
signals | watchdog
 └─ data directory, state store, gateway        opened in this order, closed in the other
     └─ nursery: janitor | sessions | edge      ready means ready
```
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import structlog
import trio

import penstock
from penstock.server import log
from penstock.server.app import create_app
from penstock.server.conformance import create_conformance_app
from penstock.server.edge.guard import guarded
from penstock.server.edge.host import Edge
from penstock.server.endpoints import App
from penstock.server.exits import CannotRun, Exit
from penstock.server.settings import Settings
from penstock.server.shutdown import SIGNALS, Watchdog, watch_signals
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.health import DiskHealth
from penstock.storage.blobs.local import LocalBlobs
from penstock.storage.data_directory import DataDirectory, DataDirectoryBusy, DataDirectoryError
from penstock.storage.disk import Disk
from penstock.storage.errors import StoreError
from penstock.storage.state.sqlite import SqliteState

DATABASE = "state.db"
# What is left of `drain_timeout_s` after this is for the stores: a slow peer must not cost a clean end.
PEERS_SHARE = 0.8

logger = structlog.get_logger()


def serve_forever(settings: Settings, *, conformance: bool = False) -> None:
    """Serve until a signal. `conformance`: see `server/conformance.py`. Raises: CannotRun."""
    log.configure(settings.log_level)
    try:
        trio.run(run, settings, conformance)
    except ExceptionGroup as group:
        raise _reason(group) from group


async def run(settings: Settings, conformance: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then drain. In the main thread only: it takes signals.

    Raises: ExceptionGroup, with a CannotRun in it if the operator can do something about it.
    """
    disk = Disk(settings.disk_threads)
    stop = trio.Event()
    with (
        trio.open_signal_receiver(*SIGNALS) as signals,
        Watchdog(settings.drain_timeout_s, lambda: {"disk_s": disk.longest_running_s()}) as watchdog,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_signals, signals, stop, watchdog)
            if conformance:
                await _serve(settings, create_conformance_app(settings), stop, "no data, for protocol tests")
            else:
                await _serve_gateway(settings, disk, stop)
            nursery.cancel_scope.cancel(reason="drained")
    logger.info("stopped")


async def _serve_gateway(settings: Settings, disk: Disk, stop: trio.Event) -> None:
    async with _gateway(settings, disk) as (gateway, health), trio.open_nursery() as nursery:
        nursery.start_soon(gateway.clock.follow)
        nursery.start_soon(gateway.janitor.run)
        nursery.start_soon(gateway.fanout.run)
        app = create_app(gateway, settings, health)
        where = f"data in {settings.data_dir}, fsync {settings.fsync}"
        await _serve(settings, app, stop, where, drain=gateway.drain)
        nursery.cancel_scope.cancel(reason="drained")


async def _serve(
    settings: Settings,
    app: App,
    stop: trio.Event,
    about: str,
    *,
    drain: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(app.run)
        edge = Edge(guarded(app, settings), settings)
        with _binding(settings):
            urls = await nursery.start(edge.serve)
        _announce(urls, about)
        await stop.wait()
        with trio.move_on_after(settings.drain_timeout_s * PEERS_SHARE) as draining:
            # Still accepting: what a polling client asks for next is how it learns that it is sent away.
            async with trio.open_nursery() as both:  # a slow disk must not keep Socket.IO clients uninformed
                both.start_soon(app.drain)
                both.start_soon(drain)
            edge.stop_accepting()
            await edge.close_connections()
        if draining.cancelled_caught:
            logger.warning("drain-timeout", connections=edge.statistics()["connections"])
        nursery.cancel_scope.cancel(reason="drained")


@asynccontextmanager
async def _gateway(settings: Settings, disk: Disk) -> AsyncGenerator[tuple[Gateway, DiskHealth]]:
    with _data(settings):
        directory = await trio.to_thread.run_sync(DataDirectory, settings.data_dir, settings.categories)
    with directory:
        with _data(settings):
            state = await SqliteState.open(settings.data_dir / DATABASE, kept_facts=settings.kept_facts)
        with _data(settings):  # closing may fail, too
            async with state:
                calls = (disk.longest_running_s, state.thread.longest_running_s)
                health = DiskHealth(calls, settings.disk_stall_s, lambda: state.broken)
                yield await _open(settings, directory, state, disk, health), health


async def _open(
    settings: Settings, directory: DataDirectory, state: SqliteState, disk: Disk, health: DiskHealth
) -> Gateway:
    blobs = LocalBlobs(directory, disk, fsync=settings.fsync)
    with _data(settings):
        return await Gateway.open(
            blobs,
            state,
            settings,
            server_key=directory.key,
            boot_id=state.boot_id,
            disk_health=health,
        )


@contextmanager
def _data(settings: Settings) -> Iterator[None]:
    try:
        yield
    except DataDirectoryBusy as error:
        raise CannotRun(f"{error} (--data-dir)", Exit.DATA_BUSY) from error
    except DataDirectoryError as error:
        raise CannotRun(f"{error} (--data-dir)", Exit.DATA_UNUSABLE) from error
    except StoreError as error:
        text = f"the data directory {settings.data_dir} cannot be used: {error} (--data-dir)"
        raise CannotRun(text, Exit.DATA_UNUSABLE) from error


@contextmanager
def _binding(settings: Settings) -> Iterator[None]:
    where = f"{settings.host}:{settings.port}"
    try:
        yield
    except* ssl.SSLError as group:
        text = f"TLS does not work with {settings.tls_certificate} and {settings.tls_key}: {_leaf(group)}"
        raise CannotRun(text, Exit.USAGE) from group
    except* OSError as group:
        reason = getattr(_leaf(group), "strerror", None) or str(_leaf(group))
        text = f"cannot listen on {where}: {reason}. Stop what uses it, or choose another --port or --host"
        raise CannotRun(text, Exit.CANNOT_BIND) from group


def _announce(urls: list[str], about: str) -> None:
    """One line on stdout, for people and for scripts that wait for it: from now on requests are answered."""
    where = " and ".join(f"{url}/" for url in urls)
    line = f"Penstock {penstock.__version__} is ready at {where}"
    with suppress(OSError):  # nobody has to read it
        print(f"{line} ({about})", flush=True)
    logger.info("ready", urls=urls)


def _reason(group: ExceptionGroup[Exception]) -> CannotRun:
    known = group.subgroup(CannotRun)
    if known is not None and isinstance(problem := _leaf(known), CannotRun):
        return problem
    logger.error("server-failed", exc_info=group)
    return CannotRun("the server has failed; the log line above says how. Please report it", Exit.FAILED)


def _leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
