"""Blocking file work of one device: where it runs, and how long the oldest call has been running."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from penstock.storage.errors import StoreError, StoreFull

T = TypeVar("T")
Args = TypeVarTuple("Args")

# EFBIG is `ulimit -f` or the file system's own largest file: for this file there is no more room either.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Disk:
    """Worker threads for one device, at most `threads` at once.

    A call is never abandoned: that a write may still happen later is worse than waiting for it. So nothing
    can bound a call, and a watchdog looks at `longest_running_s` instead.
    """

    def __init__(self, threads: int) -> None:
        self._limiter = trio.CapacityLimiter(threads)
        self._started: dict[object, float] = {}

    async def run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """Call `function` in a thread. Cancellable only while it waits for its turn.

        Raises: StoreFull, StoreError for an OSError; anything else as it is.
        """
        return await trio.to_thread.run_sync(self._timed, function, args, limiter=self._limiter)

    async def run_shielded(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """As `run`, for what gives something back: runs also when the caller is cancelled already."""
        with trio.CancelScope(shield=True):  # without a deadline: a thread would not heed it
            result = await self.run(function, *args)
        return result  # noqa: RET504 - mypy cannot know that an uncancelled scope swallows nothing

    def longest_running_s(self) -> float:
        """Seconds since the oldest running call began, 0 when none runs. Waiting calls do not count."""
        oldest = min(list(self._started.values()), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    def _timed(self, function: Callable[[*Args], T], args: tuple[*Args]) -> T:
        call = object()
        self._started[call] = time.monotonic()
        try:
            return function(*args)
        except OSError as error:
            raise as_store_error(error) from error
        finally:
            del self._started[call]


def as_store_error(error: OSError) -> StoreError:
    """What an OSError means to the caller of a store."""
    kind = StoreFull if error.errno in _FULL else StoreError
    return kind(str(error))
