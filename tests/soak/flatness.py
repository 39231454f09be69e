"""Does it grow? What a process holds at moments when it has nothing to do, compared over its life."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

KIB = 1024
MIB = 1024 * KIB


class Bound(NamedTuple):
    """How much of something may be more after 1 000 further uploads, and how much it moves by itself."""

    name: str  # a field of `Sample`
    per_1000_uploads: int
    noise: int


BOUNDS = (
    # The smallest thing an upload could leave behind is one object, or its row in memory: 1 KiB. What is left
    # over for noise is ten times what runs without any leak have shown.
    Bound("objects", 500, 1_000),
    Bound("blocks", 500, 2_000),
    Bound("allocated_bytes", 256 * KIB, 512 * KIB),
    # The process keeps what was freed: malloc's lists grow until they fit the worst moment so far.
    Bound("private_bytes", 512 * KIB, 16 * MIB),
)


class Held(NamedTuple):
    """What must be the same at every quiet point."""

    descriptors: int
    threads: int
    tasks: int
    sessions: int
    appends: int
    watches: int
    reserved_bytes: int
    buffer_bytes: int
    waiting_for_buffers: int
    unfinished_files: int  # below incoming/
    finished_files: int  # below upload/
    rows: int  # in the database, of sessions, files, facts, uploads


class Sample(NamedTuple):
    """One quiet point."""

    life: int  # which process
    at_s: float
    uploads: int  # that this process has seen so far
    private_bytes: int
    allocated_bytes: int  # of the C allocator, in use; 0 where it does not say
    blocks: int  # of Python's own allocator, in use: strings, too
    objects: int  # that Python's collector knows
    held: Held


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Median of the slopes between all pairs (Theil and Sen): one odd point does not bend it."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2]
    return median(slopes) if slopes else 0.0


def differences(reference: Held, held: Held) -> list[str]:
    """What is not as it was when the process had just begun."""
    pairs = zip(Held._fields, reference, held, strict=True)
    return [f"{name} {now} instead of {before}" for name, before, now in pairs if now != before]


def growth(samples: Sequence[Sample]) -> Iterator[str]:
    """What grows with the number of uploads in the life of one process, after its first quiet point.

    The line through the quiet points says by how much; that is held against `BOUNDS`.
    """
    samples = samples[1:]
    uploads = samples[-1].uploads - samples[0].uploads if samples else 0
    for bound in BOUNDS:
        rise = slope([(sample.uploads, getattr(sample, bound.name)) for sample in samples]) * uploads
        if rise > bound.noise + bound.per_1000_uploads * uploads / 1000:
            yield f"{bound.name} rose by {rise:.0f} over {uploads} uploads"


def by_life(samples: Sequence[Sample]) -> list[list[Sample]]:
    lives: dict[int, list[Sample]] = {}
    for sample in samples:
        lives.setdefault(sample.life, []).append(sample)
    return list(lives.values())
