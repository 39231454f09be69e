"""What is synced before what: an order that no look at the files afterwards shows, and a power cut does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from penstock.storage.blobs.base import SmallBlob
from penstock.storage.blobs.local import LocalBlobs
from penstock.storage.data_directory import DataDirectory
from penstock.storage.disk import Disk
from penstock.storage.kernel import Kernel


class Diary(Kernel):
    """Notes what is synced and which names come and go, by the names that descriptors were opened under."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def fdatasync(self, fd: int) -> None:
        super().fdatasync(fd)
        self.noted.append(f"sync the bytes of {_name_of(fd)}")

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        self.noted.append(f"sync {_name_of(fd)}/")

    def link(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        super().link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self.noted.append(f"link {source} as {target}")

    def unlink(self, path: str, *, dir_fd: int) -> None:
        super().unlink(path, dir_fd=dir_fd)
        self.noted.append(f"unlink {path}")


def _name_of(fd: int) -> str:
    return Path(f"/proc/self/fd/{fd}").readlink().name


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def directory(tmp_path: Path, diary: Diary) -> Iterator[DataDirectory]:
    with DataDirectory(tmp_path, ["personal"], diary) as opened:
        diary.noted.clear()
        yield opened


async def test_a_blob_from_its_creation_to_its_place(directory: DataDirectory, diary: Diary) -> None:
    store = LocalBlobs(directory, Disk(1))
    writer = await store.open_writer("aa", at=0)
    await writer.write(memoryview(b"abc"), sync=True)
    await writer.aclose()
    assert diary.noted == ["sync incoming/", "sync the bytes of aa"]
    diary.noted.clear()
    await store.publish("aa", "personal", "name")
    assert diary.noted == ["sync the bytes of aa", "link aa as name", "sync personal/", "unlink aa"]


async def test_a_blob_whose_maker_died_is_named_durably_by_the_next(
    directory: DataDirectory, diary: Diary, tmp_path: Path
) -> None:
    (tmp_path / "incoming" / "aa").touch()
    writer = await LocalBlobs(directory, Disk(1)).open_writer("aa", at=0)
    await writer.aclose()
    assert diary.noted == ["sync incoming/"]


@pytest.mark.parametrize(("fsync", "syncs"), [("complete", True), ("never", False)])
async def test_only_what_is_finished_is_synced_where_so_asked(
    directory: DataDirectory, diary: Diary, fsync: Literal["complete", "never"], syncs: bool
) -> None:
    store = LocalBlobs(directory, Disk(1), fsync=fsync)
    writer = await store.open_writer("aa", at=0)
    await writer.write(memoryview(b"abc"), sync=True)
    await writer.aclose()
    assert diary.noted == []
    await store.publish("aa", "personal", "name")
    around = ["link aa as name", "unlink aa"]
    in_all = ["sync the bytes of aa", around[0], "sync personal/", around[1]]
    assert diary.noted == (in_all if syncs else around)


async def test_small_blobs_are_linked_once_all_are_synced(directory: DataDirectory, diary: Diary) -> None:
    blobs = [SmallBlob(key, f"name-{key}", memoryview(b"abc")) for key in ("aa", "bb")]
    await LocalBlobs(directory, Disk(1)).store_small("personal", blobs)
    assert diary.noted == [
        *("sync the bytes of aa", "sync the bytes of bb"),
        *("link aa as name-aa", "link bb as name-bb"),
        "sync personal/",
        *("unlink aa", "unlink bb"),
    ]
