"""Does it grow? What a process holds at moments when it has nothing to do, compared over its life."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

KIB = 1024
MIB = 1024 * KIB

MEMORY_PER_1000_UPLOADS_BYTES = 512 * KIB
MEMORY_NOISE_BYTES = 6 * MIB
OBJECTS_PER_1000_UPLOADS = 500
OBJECTS_NOISE = 3_000


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

    The line through the quiet points says by how much; it is compared with a bound per 1 000 uploads plus
    what allocators and caches move by themselves. The smallest thing an upload could leave behind, its row in
    memory, is about 1 KiB, twice the bound; a forgotten session, task or connection is ten times that.
    """
    samples = samples[1:]
    uploads = samples[-1].uploads - samples[0].uploads if samples else 0
    for name, unit, per_1000, noise in (
        ("private_bytes", "bytes", MEMORY_PER_1000_UPLOADS_BYTES, MEMORY_NOISE_BYTES),
        ("objects", "objects", OBJECTS_PER_1000_UPLOADS, OBJECTS_NOISE),
    ):
        rise = slope([(sample.uploads, getattr(sample, name)) for sample in samples]) * uploads
        if rise > noise + per_1000 * uploads / 1000:
            yield f"{name} rose by {rise:.0f} {unit} over {uploads} uploads"


def by_life(samples: Sequence[Sample]) -> list[list[Sample]]:
    lives: dict[int, list[Sample]] = {}
    for sample in samples:
        lives.setdefault(sample.life, []).append(sample)
    return list(lives.values())
