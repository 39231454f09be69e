"""Backoff, the server's own wishes, and giving up."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from penstock.server.client.dialect import FINISH_S, HOLD_S, STALL_S, Append
from penstock.server.client.errors import Again, Locked, Unreachable
from penstock.server.client.patience import FIRST_S, LONGEST_S, QUICK_TRIES, Patience, patiently


async def test_waits_are_random_grow_and_have_a_bound(autojump_clock: MockClock) -> None:
    patience = Patience(1e9)
    waits = []
    for _ in range(200):
        before = trio.current_time()
        await patience.wait(Again("broken"))
        waits.append(trio.current_time() - before)
    assert waits[0] <= FIRST_S
    assert max(waits) <= LONGEST_S
    assert max(waits) > LONGEST_S / 2
    assert len(set(waits[50:])) > 100


async def test_retry_after_is_honoured(autojump_clock: MockClock) -> None:
    patience = Patience(100)
    await patience.wait(Again("busy", after_s=30))
    assert trio.current_time() >= 30


async def test_a_lock_of_our_own_is_tried_soon_but_not_for_ever(autojump_clock: MockClock) -> None:
    patience = Patience(1000)
    for _ in range(QUICK_TRIES):
        await patience.wait(Locked("writing", after_s=60))
    assert trio.current_time() < 10
    await patience.wait(Locked("writing", after_s=60))
    assert trio.current_time() >= 60


async def test_it_gives_up_after_so_long_without_progress(autojump_clock: MockClock) -> None:
    async def never() -> None:
        raise Again("connection refused", after_s=7)

    with pytest.raises(Unreachable, match="20 s without progress: connection refused"):
        await patiently(never, 20)
    assert trio.current_time() == 20


async def test_progress_starts_all_over(autojump_clock: MockClock) -> None:
    patience = Patience(20)
    for _ in range(10):
        await patience.wait(Again("busy", after_s=15))
        patience.reset()
    assert trio.current_time() >= 150


async def test_a_request_may_be_silent_longer_while_paused(autojump_clock: MockClock) -> None:
    append = Append()
    append.keep_alive()
    assert append.scope.deadline == STALL_S
    append.set_paused(True)
    assert append.scope.deadline == HOLD_S
    append.set_paused(False)
    assert append.scope.deadline == STALL_S
    append.note_end()
    assert append.scope.deadline == FINISH_S
