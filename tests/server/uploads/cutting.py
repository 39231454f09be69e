"""Cuts at every step: something happens before the n-th step that any task takes, for all n, and what must
hold when everybody has come to rest."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random, SystemRandom

import trio
from msgspec.structs import asdict
from trio._core._run import _r as schedule  # pytest-trio makes the scheduler go by it
from trio.testing import MockClock

from penstock.storage.state.base import FileRow, SessionRow
from tests.server.uploads.rig import Rig
from tests.server.uploads.sums import assert_nothing_held, assert_sums

# CUT_SEED repeats a run; in CI the same steps are chosen each time.
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
SEED = int(os.environ.get("CUT_SEED") or (1 if IN_CI else SystemRandom().randrange(1 << 32)))


class AtStep(trio.abc.Instrument):
    """Counts the steps that tasks take while it is armed, and acts before the n-th of them (0: never).

    `lags`: how many steps later each act happens, if there are several.
    """

    def __init__(self, n: int, lags: Sequence[int] = (0,)) -> None:
        self.steps = 0
        self._due = [n + lag for lag in lags] if n else []
        self._acts: Sequence[Callable[[], object]] | None = None

    def arm(self, *acts: Callable[[], object]) -> None:
        self._acts = acts

    def disarm(self) -> None:
        self._acts = None

    @property
    def happened(self) -> bool:
        return bool(self._due) and self.steps >= self._due[0]

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._acts is None:
            return
        self.steps += 1
        for due, act in zip(self._due, self._acts, strict=False):
            if due == self.steps:
                act()


Run = Callable[[AtStep], Awaitable[None]]


def at_every_step(run: Run, *, at_least: int, most: int | None = None, lags: Sequence[int] = (0,)) -> None:
    """Runs it once undisturbed, then cut at each of its steps; of more than `most`, at a choice by chance.

    A run of fewer than `at_least` steps is over before it begins.
    """
    count = _once(run, AtStep(0)).steps
    assert count >= at_least, f"over before it begins, after {count} steps"
    chosen: Sequence[int] = range(1, count + 1)
    if most is not None and count > most:
        chosen = sorted(Random(SEED).sample(chosen, most))
    for n in chosen:
        try:
            _once(run, AtStep(n, lags))
        except BaseException as error:
            error.add_note(f"cut at step {n} of {count}; again with CUT_SEED={SEED}")
            raise


def _once(run: Run, cut: AtStep) -> AtStep:
    # The same schedule each time: up to the cut, a run is what it was undisturbed.
    schedule.seed(SEED)
    trio.run(run, cut, clock=MockClock(autojump_threshold=0), instruments=[cut])
    return cut


# What must hold then


@contextmanager
def no_task_left() -> Iterator[None]:
    """Around what may start tasks: afterwards there are as many as before."""
    before = trio.lowlevel.current_statistics().tasks_living
    yield
    assert trio.lowlevel.current_statistics().tasks_living == before, "a task is left"


def assert_at_rest(rig: Rig) -> None:
    """Nobody asks for anything: then nothing is held, and what is in memory is what is stored."""
    assert_nothing_held(rig)
    assert_sums(rig)
    gateway = rig.gateway
    assert (gateway.statistics().watches, gateway.drain_wakeups) == (0, set())
    assert (gateway.statistics().waiting_for_buffers, gateway._pool._owners) == (0, 0)
    assert (gateway._registry._loading, gateway._answers._busy) == ({}, {})
    assert rig.blobs.open_readers == 0
    for session in gateway._registry.sessions.values():
        assert (session.users, session.adding, len(session._unpublished)) == (0, 0, 0)
        assert _told(session.row) == _told(rig.store._tables.sessions[session.session_id])
        for file in session.all_files:
            stored = rig.store._tables.files[session.session_id, file.file_id]
            assert _promised(file.row) == _promised(stored)


def _told(row: SessionRow) -> dict[str, object]:
    return {name: value for name, value in asdict(row).items() if name != "active_at"}  # moves with each byte


def _promised(row: FileRow) -> dict[str, object]:
    return {name: value for name, value in asdict(row).items() if name != "fence"}  # moves with each lease
