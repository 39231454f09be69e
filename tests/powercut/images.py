"""Which of all possible images of a disk are looked at, and how one becomes a directory again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.powercut.disk import Disk, Fate, Kept, Pending
from tests.powercut.operations import Operation, Tell, Tree, Write


class Variant(StrEnum):
    """How the machine stopped, and what became of what was not synced. The first is a kill, the others are
    power cuts."""

    KILLED = "killed"
    NOTHING = "nothing"  # only what was synced
    EVERYTHING = "everything"
    PREFIX = "prefix"  # all up to some moment, as a journal would
    SUBSET = "subset"  # any
    TORN = "torn"  # any, and writes torn
    ZEROS = "zeros"  # names are kept, bytes were never written
    NAMELESS = "nameless"  # bytes are kept, names are not

    @property
    def is_power_cut(self) -> bool:
        return self is not Variant.KILLED


class Image(NamedTuple):
    """One way in which a scenario may end at line `at` of the trace, and who had been told what by then."""

    at: int
    variant: Variant
    tree: Tree
    told: list[bytes]

    @property
    def key(self) -> int:
        """The same for images that look the same to whoever opens them."""
        return hash((frozenset(self.tree.items()), len(self.told), self.variant.is_power_cut))


def cuts(operations: Iterable[Operation]) -> list[int]:
    """The moments at which a cut can make a difference: the start of every operation, and after the last.

    Of a run of writes to one file only its beginning and one moment within: the variants cut it anywhere.
    """
    moments: list[int] = []
    run, last = 0, -1
    for operation in operations:
        inode = operation.what.inode if isinstance(operation.what, Write) else -1
        run = run + 1 if inode == last != -1 else 0
        last = inode
        if run <= 1:
            moments.append(operation.start)
    return [*moments, operation.start + 1] if moments else []


def images(
    operations: list[Operation],
    wanted: Iterable[tuple[int, Variant]],
    seed: int,
    earlier: Image | None = None,
) -> Iterator[Image]:
    """The wanted images, in order of time. The same seed makes the same ones, each by itself. `earlier`: on
    which the recording began."""
    disk = Disk(earlier.tree if earlier else None)
    told = list(earlier.told) if earlier else []
    feed = iter(operations)
    following = next(feed, None)
    for at, variant in sorted(wanted):
        while following is not None and following.start <= at:
            disk.begin(following)
            if isinstance(following.what, Tell):
                told.append(following.what.line)
            following = next(feed, None)
        yield image(disk, at, variant, told, seed)


def image(disk: Disk, at: int, variant: Variant, told: list[bytes], seed: int) -> Image:
    random = Random(f"{seed} {at} {variant}")

    def sectors(count: int) -> Iterable[int]:
        if variant is Variant.KILLED:  # a write that is interrupted has written its beginning
            return range(random.randrange(count))
        return [number for number in range(count) if random.random() < 0.5]

    fate = _fate(variant, disk.pending(at), random)
    return Image(at, variant, disk.tree(at, fate, sectors), list(told))


def _fate(variant: Variant, pending: list[Pending], random: Random) -> Fate:
    chance = random.choice((0.2, 0.5, 0.8))
    last = pending[random.randrange(len(pending))].operation.start if pending else 0

    def either(*kept: Kept) -> Kept:
        return random.choice(kept) if random.random() < chance else Kept.LOST

    def killed(one: Pending) -> Kept:
        if not one.under_way:
            return Kept.WHOLE
        return either(Kept.WHOLE, Kept.TORN) if isinstance(one.operation.what, Write) else either(Kept.WHOLE)

    def torn(one: Pending) -> Kept:
        return either(*Kept) if isinstance(one.operation.what, Write) else either(Kept.WHOLE)

    fates: dict[Variant, Fate] = {
        Variant.KILLED: killed,
        Variant.NOTHING: lambda one: Kept.LOST,
        Variant.EVERYTHING: lambda one: Kept.WHOLE,
        Variant.PREFIX: lambda one: Kept.WHOLE if one.operation.start <= last else Kept.LOST,
        Variant.SUBSET: lambda one: either(Kept.WHOLE),
        Variant.TORN: torn,
        Variant.ZEROS: lambda one: Kept.ZEROS if one.is_data else Kept.WHOLE,
        Variant.NAMELESS: lambda one: Kept.WHOLE if one.is_data else Kept.LOST,
    }
    return fates[variant]


def write_tree(tree: Tree, target: Path) -> None:
    """Make a directory of it. `target` is there and empty."""
    written: dict[int, Path] = {}
    for name, (inode, content) in tree.items():
        path = target / name
        if content is None:
            path.mkdir()
        elif inode in written:
            path.hardlink_to(written[inode])
        else:
            path.write_bytes(content)
            written[inode] = path
