"""When to stop, and the certainty that it ends: signals, and a watchdog outside the event loop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncIterable, Callable
from types import TracebackType
from typing import Self

import structlog
import trio

from penstock.server.exits import Exit

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SIGNAL_EXIT = 128  # plus the signal's number: what a shell reports for a process that a signal has ended

log = structlog.get_logger()


class Watchdog:
    """Ends the process `after_s` seconds after `start`, unless the block is left before.

    A deadline cannot do this: a disk write that hangs in its thread is waited for without end, by Trio and by
    the interpreter. `explain` says in the log what was still running. A context manager.
    """

    def __init__(self, after_s: float, explain: Callable[[], dict[str, object]]) -> None:
        self._timer = threading.Timer(after_s, self._end)
        self._timer.daemon = True
        self._explain = explain

    def start(self) -> None:
        self._timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        log.error("shutdown-stuck", **self._explain())
        os._exit(Exit.FAILED)


async def watch_signals(signals: AsyncIterable[int], stop: trio.Event, watchdog: Watchdog) -> None:
    """Set `stop` at the first signal, and start the watchdog, also if the server has not started yet; at the
    second signal end the process, whatever it is doing."""
    async for number in signals:
        name = signal.Signals(number).name
        if stop.is_set():
            log.warning("shutdown-forced", signal=name)
            os._exit(SIGNAL_EXIT + number)
        log.info("shutdown-requested", signal=name)
        watchdog.start()
        stop.set()
