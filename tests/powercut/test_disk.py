"""The model itself: what is synced stays, and of the rest anything may."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from tests.powercut.disk import SECTOR_BYTES, Disk, Kept, Pending
from tests.powercut.images import Variant, cuts, images
from tests.powercut.operations import (
    ROOT,
    Found,
    Name,
    Operation,
    SyncData,
    SyncNames,
    Tell,
    Truncate,
    Unname,
    What,
    Write,
)

A, B, D = 1, 2, 3  # inodes
END = 1000  # after everything


def played(*steps: What | Operation) -> Disk:
    """One after the other: each has returned before the next begins."""
    disk = Disk()
    for number, step in enumerate(steps):
        disk.begin(step if isinstance(step, Operation) else Operation(number, number, step))
    disk.begin(Operation(END, None, Tell(b"")))
    return disk


def found(disk: Disk, *fates: Kept, sectors: Iterable[int] = ()) -> dict[str, bytes | None]:
    """What is there if these are the fates of what is pending (lost, where none is given)."""
    pending = dict(zip(disk.pending(END), fates, strict=False))

    def fate(one: Pending) -> Kept:
        return pending.get(one, Kept.LOST)

    return {path: one.content for path, one in disk.tree(END, fate, lambda count: sectors).items()}


def outcomes(disk: Disk) -> list[dict[str, bytes | None]]:
    """All trees that are possible if everything is kept whole or lost."""
    count = len(disk.pending(END))
    return [found(disk, *fates) for fates in product((Kept.WHOLE, Kept.LOST), repeat=count)]


SYNCED = (Name(ROOT, "a", A), Write(A, 0, b"old"), SyncData(A), SyncNames(ROOT))


def test_what_is_synced_stays() -> None:
    disk = played(*SYNCED)
    assert disk.pending(END) == []
    assert found(disk) == {"a": b"old"}


def test_a_synced_file_may_have_no_name_and_a_synced_name_no_bytes() -> None:
    assert found(played(Name(ROOT, "a", A), Write(A, 0, b"x"), SyncData(A))) == {}
    assert found(played(Name(ROOT, "a", A), Write(A, 0, b"x"), SyncNames(ROOT))) == {"a": b""}


def test_a_sync_of_another_file_is_none() -> None:
    disk = played(*SYNCED, Name(ROOT, "b", B), Write(B, 0, b"x"), SyncData(A), SyncNames(ROOT))
    assert found(disk) == {"a": b"old", "b": b""}


def test_a_sync_covers_only_what_had_returned_before_it_began() -> None:
    disk = played(
        *SYNCED,
        Operation(10, 12, Write(A, 0, b"new")),
        Operation(11, 20, SyncData(A)),
    )
    assert outcomes(disk) == [{"a": b"new"}, {"a": b"old"}]


def test_a_sync_counts_once_it_has_returned() -> None:
    write = Operation(10, 10, Write(A, 0, b"new"))
    assert found(played(*SYNCED, write, Operation(11, None, SyncData(A)))) == {"a": b"old"}
    assert found(played(*SYNCED, write, Operation(11, 12, SyncData(A)))) == {"a": b"new"}


def test_unsynced_writes_are_kept_in_any_combination() -> None:
    disk = played(*SYNCED, Write(A, 0, b"1"), Write(A, 4, b"2"))
    assert [tree["a"] for tree in outcomes(disk)] == [b"1ld\x002", b"1ld", b"old\x002", b"old"]


def test_an_unsynced_cut_may_come_to_nothing_though_what_follows_is_kept() -> None:
    disk = played(*SYNCED, Truncate(A, 1), Write(A, 1, b"x"))
    assert [tree["a"] for tree in outcomes(disk)] == [b"ox", b"o", b"oxd", b"old"]


def test_zeros_take_the_place_of_what_is_new_only() -> None:
    disk = played(*SYNCED, Write(A, 2, b"new"))
    assert found(disk, Kept.ZEROS) == {"a": b"oln\0\0"}


def test_a_torn_write_has_whole_sectors_of_the_disk() -> None:
    start = SECTOR_BYTES - 2
    disk = played(*SYNCED, Write(A, start, b"x" * (2 + SECTOR_BYTES + 3)))
    zeros = b"old" + bytes(start - 3)
    assert found(disk, Kept.TORN, sectors=[0]) == {"a": zeros + b"xx"}
    assert found(disk, Kept.TORN, sectors=[2]) == {"a": zeros + bytes(2 + SECTOR_BYTES) + b"xxx"}


def test_a_link_and_the_end_of_the_old_name_come_in_any_order() -> None:
    disk = played(*SYNCED, Name(ROOT, "b", A), Unname(ROOT, "a", A))
    assert [sorted(tree) for tree in outcomes(disk)] == [["b"], ["a", "b"], [], ["a"]]


def test_a_rename_is_one_thing() -> None:
    disk = played(*SYNCED, Name(ROOT, "b", A, old=(ROOT, "a")))
    assert [sorted(tree) for tree in outcomes(disk)] == [["b"], ["a"]]


def test_a_rename_over_a_file_leaves_one_of_the_two() -> None:
    disk = played(*SYNCED, Name(ROOT, "b", B), SyncNames(ROOT), Name(ROOT, "a", B, old=(ROOT, "b")))
    assert outcomes(disk) == [{"a": b""}, {"a": b"old", "b": b""}]


def test_an_end_that_is_kept_does_not_end_a_later_file_of_that_name() -> None:
    disk = played(*SYNCED, Unname(ROOT, "a", A), Name(ROOT, "a", B))
    assert outcomes(disk) == [{"a": b""}, {}, {"a": b""}, {"a": b"old"}]


def test_all_is_gone_with_the_directory_it_lies_in() -> None:
    disk = played(Name(ROOT, "d", D, is_directory=True), Name(D, "a", A), SyncNames(D))
    assert outcomes(disk) == [{"d": None, "d/a": b""}, {}]


def test_two_names_of_one_file_stay_one_file() -> None:
    disk = played(*SYNCED, Name(ROOT, "b", A), SyncNames(ROOT))
    tree = disk.tree(END, lambda one: Kept.LOST, lambda count: ())
    assert tree["a"] == tree["b"]


def test_what_lay_there_before_is_durable() -> None:
    before = {"d": Found(D, None), "d/a": Found(A, b"abc"), "d/b": Found(A, b"abc")}
    disk = Disk(before)
    disk.begin(Operation(1, 1, Write(-A, 0, b"x")))
    disk.begin(Operation(2, 2, Unname(-D, "a", -A)))
    assert outcomes(disk) == [
        {"d": None, "d/b": b"xbc"},
        {"d": None, "d/a": b"xbc", "d/b": b"xbc"},
        {"d": None, "d/b": b"abc"},
        {"d": None, "d/a": b"abc", "d/b": b"abc"},
    ]


def recording(*steps: What) -> list[Operation]:
    return [Operation(number, number, step) for number, step in enumerate(steps)]


def test_a_kill_keeps_what_has_returned() -> None:
    operations = recording(
        Name(ROOT, "a", A), Write(A, 0, b"x" * 2000), Write(A, 0, b"y" * 2000), Tell(b"said")
    )
    before, within, after = images(operations, [(at, Variant.KILLED) for at in (1, 2, 3)], seed=1)
    assert before.tree["a"].content in [b"", b"x" * 512, b"x" * 1024, b"x" * 1536, b"x" * 2000]
    torn = within.tree["a"].content or b""
    assert len(torn) == 2000
    assert torn.lstrip(b"y").strip(b"x") == b""
    assert (after.tree["a"].content, after.told) == (b"y" * 2000, [b"said"])


def test_an_image_is_the_same_however_many_others_are_looked_at() -> None:
    operations = recording(*SYNCED, *(Write(A, at, b"x") for at in range(50)), Tell(b"said"))
    wanted = [(at, variant) for at in range(54) for variant in Variant]
    everything = list(images(operations, wanted, seed=7))
    [alone] = images(operations, [(40, Variant.TORN)], seed=7)
    assert alone in everything


def test_cuts_within_a_run_of_writes_are_one() -> None:
    operations = recording(*SYNCED, *(Write(A, at, b"x") for at in range(50)), Write(B, 0, b"x"), Tell(b""))
    assert cuts(operations) == [0, 1, 2, 3, 4, 5, 54, 55, 56]
