"""How long to wait between two tries, and when to give up."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from penstock.server.client.errors import Again, Locked, Unreachable

FIRST_S = 0.2
LONGEST_S = 15.0
FIRST_CONTACT_S = 2.0  # somebody waits: a server that is down is told soon
QUICK_TRIES = 3  # a lock is mostly our own broken request: gone before the time its refusal names

T = TypeVar("T")


class Patience:
    """Exponential backoff with full jitter, so that many clients do not come back at once.

    Gives up `give_up_s` after the last success. One task at a time.
    """

    def __init__(self, give_up_s: float) -> None:
        self._give_up_s = give_up_s
        self._tries = 0
        self._good_at = trio.current_time()

    def reset(self) -> None:
        """Something was achieved."""
        self._tries = 0
        self._good_at = trio.current_time()

    async def wait(self, trouble: Again) -> None:
        """Until the next try. Raises: Unreachable when it is time to give up."""
        left_s = self._good_at + self._give_up_s - trio.current_time()
        if left_s <= 0:
            raise Unreachable(
                f"gave up after {self._give_up_s:g} s without progress: {trouble.reason}",
                "look after the server and the network, then resume",
            )
        delay_s = random.uniform(0, min(LONGEST_S, FIRST_S * 2**self._tries))
        self._tries += 1
        if not isinstance(trouble, Locked) or self._tries > QUICK_TRIES:
            delay_s = max(delay_s, trouble.after_s)
        await trio.sleep(min(delay_s, left_s))


async def patiently(call: Callable[[], Awaitable[T]], give_up_s: float) -> T:
    """The answer of a call that may be repeated. Raises: Unreachable, and what the call raises for good."""
    patience = Patience(give_up_s)
    while True:
        try:
            return await call()
        except Again as trouble:
            await patience.wait(trouble)


async def reach(call: Callable[[], Awaitable[T]], url: str) -> T:
    """The first call of a command. Raises: Unreachable with what to do, and what the call raises for good."""
    try:
        return await patiently(call, FIRST_CONTACT_S)
    except Unreachable as error:
        raise Unreachable(
            f"{url} cannot be reached",
            "start a server with `penstock serve`, or name another with --to or PENSTOCK_URL",
        ) from error
