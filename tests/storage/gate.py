"""A blocking call that tests hold open."""

from __future__ import annotations

import threading

import trio


class Gate:
    """A blocking call that stays inside until it is let go."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self) -> None:
        self.inside.release()
        assert self._open.wait(10)

    def let_go(self) -> None:
        self._open.set()

    async def wait_inside(self) -> None:
        await trio.to_thread.run_sync(self.inside.acquire)
