"""The directory of a run: removed at its end, and not made slower by what was deleted before it.

ext4 does not use an inode again for minutes after it was deleted, and a new file has to search past all of
those in its block group (`recently_deleted` in its ialloc.c): small files took 50 times as long right after
others had been deleted there. So a run deletes nothing before its end, and each server stores where making a
file is cheapest.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

# linux/fs.h; what `chattr +T` does: the directories below are spread over the disk by the hash of their name.
_GET_FLAGS, _SET_FLAGS, _TOP_DIRECTORY = 0x80086601, 0x40086602, 0x00020000

CANDIDATES = 24
TRIAL_FILES = 20


@contextmanager
def run_directory(parent: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-", dir=parent) as name:
        yield Path(name)


def fresh_directory(directory: Path, name: str) -> Path:
    """A new directory below, where files are made as fast as this file system can."""
    with suppress(OSError):  # another file system: no such flag, and no such trouble that we know of
        _spread(directory)
    _, candidate = min(map(_tried, (directory / f"{name}-{uuid4().hex}" for _ in range(CANDIDATES))))
    path = candidate / name
    path.mkdir()
    return path


def _tried(candidate: Path) -> tuple[float, Path]:
    """Seconds for a few files in it; they stay, since a deleted one would be what is to be avoided."""
    candidate.mkdir()
    started_at = time.perf_counter()
    for number in range(TRIAL_FILES):
        (candidate / str(number)).touch()
    return time.perf_counter() - started_at, candidate


def put_aside(path: Path, aside: Path) -> None:
    """Instead of deletion: empty, so that the kernel has nothing left to write, and out of the way."""
    os.truncate(path, 0)
    path.rename(aside / uuid4().hex)


def _spread(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = bytearray(8)
        fcntl.ioctl(fd, _GET_FLAGS, flags)
        (value,) = struct.unpack_from("i", flags)
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("i", value | _TOP_DIRECTORY))
    finally:
        os.close(fd)
