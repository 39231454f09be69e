"""That it ends: the first signal asks, the second forces, and the watchdog waits for nobody."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap

import trio

from penstock.server.exits import Exit
from penstock.server.shutdown import Watchdog, watch_signals


class RecordingWatchdog(Watchdog):
    """Does not bite: this process is the test."""

    def __init__(self) -> None:
        super().__init__(0, dict)
        self.started = False

    def start(self) -> None:
        self.started = True


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code that may end its process, with logs as the server writes them."""
    head = (
        "import time, signal, threading, os, trio\n"
        "from penstock.server import log\n"
        "from penstock.server.shutdown import SIGNALS, Watchdog, watch_signals\n"
        "log.configure('info')\n"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", head + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_the_first_signal_asks_to_stop() -> None:
    arriving, signals = trio.open_memory_channel[int](1)
    stop = trio.Event()
    watchdog = RecordingWatchdog()
    async with arriving, signals, trio.open_nursery() as nursery:
        nursery.start_soon(watch_signals, signals, stop, watchdog)
        arriving.send_nowait(signal.SIGTERM)
        await stop.wait()
        nursery.cancel_scope.cancel()
    assert watchdog.started


def test_the_second_signal_ends_the_process_at_once() -> None:
    ended = python(
        """
        async def main():
            with trio.open_signal_receiver(*SIGNALS) as signals:
                async with trio.open_nursery() as nursery:
                    stop = trio.Event()
                    nursery.start_soon(watch_signals, signals, stop, Watchdog(1000, dict))
                    os.kill(os.getpid(), signal.SIGTERM)
                    await stop.wait()
                    os.kill(os.getpid(), signal.SIGINT)
                    with trio.CancelScope(shield=True):
                        await trio.sleep_forever()
        trio.run(main)
        """
    )
    assert ended.returncode == 128 + signal.SIGINT
    assert [json.loads(line)["event"] for line in ended.stderr.splitlines()] == [
        "shutdown-requested",
        "shutdown-forced",
    ]


def test_the_watchdog_waits_neither_for_the_loop_nor_for_a_thread() -> None:
    ended = python(
        """
        async def main():
            with Watchdog(0.05, lambda: {"disk_s": 7}) as watchdog:
                watchdog.start()
                await trio.to_thread.run_sync(time.sleep, 1000)
        trio.run(main)
        """
    )
    assert ended.returncode == Exit.FAILED
    line = json.loads(ended.stderr)
    assert (line["event"], line["data"]) == ("shutdown-stuck", {"disk_s": 7})


def test_the_watchdog_is_off_when_the_work_was_done() -> None:
    ended = python(
        """
        with Watchdog(0.2, dict) as watchdog:
            watchdog.start()
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                thread.join()
        print("alive")
        """
    )
    assert (ended.returncode, ended.stdout) == (0, "alive\n")


def test_a_watchdog_that_was_never_started_does_nothing() -> None:
    with Watchdog(0.0, dict):
        pass
