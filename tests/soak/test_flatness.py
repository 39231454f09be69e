"""Whether something grows: that a leak is found, and that noise is none."""

from __future__ import annotations

import random

import pytest

from tests.soak.flatness import KIB, MIB, Held, Sample, by_life, differences, growth, slope
from tests.soak.timeline import Deed, timeline

AT_REST = Held(18, 2, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def life(
    leak_bytes: float = 0, leak_objects: float = 0, kept_bytes: float = 0, *, points: int = 6, number: int = 1
) -> list[Sample]:
    """Quiet points every 1 000 uploads, with the noise of an allocator; what an upload leaves is planted."""
    dice = random.Random(number)
    return [
        Sample(
            life=number,
            at_s=60.0 * point,
            uploads=(uploads := 1000 * (point + 1)),
            private_bytes=60 * MIB + int((leak_bytes + kept_bytes) * uploads) + dice.randint(-MIB, MIB),
            allocated_bytes=23 * MIB + int(leak_bytes * uploads) + dice.randint(-40 * KIB, 40 * KIB),
            blocks=294_000 + int(leak_objects * uploads) + dice.randint(-200, 200),
            objects=67_000 + int(leak_objects * uploads) + dice.randint(-200, 200),
            held=AT_REST,
        )
        for point in range(points)
    ]


def test_noise_is_no_growth() -> None:
    for number in range(50):
        assert list(growth(life(number=number))) == []


def test_a_planted_leak_of_memory_is_found() -> None:
    """A row in memory is 1 KiB."""
    for number in range(50):
        (found,) = growth(life(leak_bytes=KIB, number=number))
        assert found.startswith("allocated_bytes rose by")


def test_a_planted_leak_of_objects_is_found() -> None:
    """Two objects an upload are a list and what it holds."""
    for number in range(50):
        objects, blocks = growth(life(leak_objects=2, number=number))
        assert objects.startswith("objects rose by")
        assert blocks.startswith("blocks rose by")


def test_a_process_that_gives_nothing_back_is_found() -> None:
    """Though all that it holds on to is free."""
    for number in range(50):
        (found,) = growth(life(kept_bytes=6 * KIB, number=number))
        assert found.startswith("private_bytes rose by")


def test_a_single_high_point_is_no_growth() -> None:
    samples = life()
    samples[3] = samples[3]._replace(private_bytes=200 * MIB)
    assert list(growth(samples)) == []


def test_the_warm_up_is_not_judged() -> None:
    samples = life()
    samples[0] = samples[0]._replace(private_bytes=10 * MIB, objects=10_000)
    assert list(growth(samples)) == []


@pytest.mark.parametrize("samples", [[], life(points=1), life(points=2)], ids=["none", "one", "two"])
def test_one_point_after_the_warm_up_is_no_line(samples: list[Sample]) -> None:
    assert list(growth(samples)) == []


def test_the_slope_of_a_line() -> None:
    assert slope([(0, 1), (1, 3), (2, 5), (3, 1000)]) == pytest.approx(2, abs=500)
    assert slope([(0, 1), (1, 3), (2, 5)]) == 2
    assert slope([(1, 5), (1, 9)]) == 0


@pytest.mark.parametrize("name", Held._fields)
def test_every_single_thing_that_is_left_is_found(name: str) -> None:
    held = AT_REST._replace(**{name: getattr(AT_REST, name) + 1})
    (found,) = differences(AT_REST, held)
    assert found.startswith(f"{name} ")
    assert differences(AT_REST, AT_REST) == []


def test_lives_are_judged_apart() -> None:
    """A process that is started anew begins lower; that must not hide what the others do."""
    first, second = life(10 * KIB), life(10 * KIB, number=2)
    assert by_life([*first, *second]) == [first, second]
    assert [len(list(growth(some))) for some in by_life([*first, *second])] == [2, 2]


@pytest.mark.parametrize("minutes", [0.2, 1, 5, 30, 120])
def test_every_run_has_kills_and_ends_quietly(minutes: float) -> None:
    steps = list(timeline(minutes * 60, seed=1))
    deeds = [step.deed for step in steps]
    assert deeds[0] is Deed.KILL
    assert deeds[-1] is Deed.QUIET
    assert {Deed.KILL, Deed.FULL, Deed.QUIET} <= set(deeds)
    assert sum(step.load_s for step in steps) <= minutes * 60 * 1.2
    assert steps == list(timeline(minutes * 60, seed=1))
    assert steps != list(timeline(minutes * 60, seed=2))


def test_half_an_hour_has_long_lives() -> None:
    """At least a sixth of the run, with enough quiet points for a line, and no kill between."""
    steps = list(timeline(1800, seed=1))
    lives: list[list[Deed]] = [[]]
    for step in steps:
        if step.deed in (Deed.KILL, Deed.DRAIN):
            lives.append([])
        lives[-1].append(step.deed)
    long = [one for one in lives if one.count(Deed.QUIET) >= 5]
    assert len(long) == 4
    assert len(lives) - 1 >= 20
