"""What is done to the server, and when."""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

QUIET_S = 15.0  # about what a quiet point takes: ended sessions leave, idle threads end after 10 s
KILL_EVERY_S = 25.0
QUIET_EVERY_S = 50.0
ROUND_S = 450.0


class Deed(StrEnum):
    KILL = "kill"  # SIGKILL in mid-load, and a new process on the same data
    DRAIN = "drain"  # the same with SIGTERM
    FULL = "full disk"
    FREEZE = "freeze"  # SIGSTOP for a while: a stuck machine
    QUIET = "quiet"  # everybody finishes and waits, and what the process holds is counted


class Step(NamedTuple):
    load_s: float  # of work before it
    deed: Deed


def timeline(length_s: float, seed: int) -> Iterator[Step]:
    """Rounds of a storm, in which processes die young, and of a calm of twice its length, in which one lives
    on: long enough to see whether it grows. Every calm ends with a quiet point."""
    dice = random.Random(f"timeline/{seed}")
    rounds = max(1, min(4, round(length_s / ROUND_S)))
    for _ in range(rounds):
        yield from _storm(length_s / rounds / 3, dice)
        yield from _calm(length_s / rounds * 2 / 3)


def _storm(length_s: float, dice: random.Random) -> Iterator[Step]:
    kills = max(1, round(length_s / KILL_EVERY_S))
    for number in range(kills):
        deed = Deed.DRAIN if number % 3 == 2 else Deed.KILL
        yield Step(length_s / kills * dice.uniform(0.5, 1.5), deed)


def _calm(length_s: float) -> Iterator[Step]:
    points = max(1, round(length_s / QUIET_EVERY_S))
    load_s = max(length_s / points - QUIET_S, length_s / points / 2)
    for number in range(points):
        yield Step(load_s / 2, Deed.FREEZE if number % 2 else Deed.FULL)
        yield Step(load_s / 2, Deed.QUIET)
