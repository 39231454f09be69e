"""A file system that shares blocks, where there is none: the bytes are copied, by the rules of sharing."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from penstock.storage.blobs.files import write_all


class Cloned(NamedTuple):
    start: int
    length: int
    at: int


class CloneCalls:
    """Stands for the ioctl FICLONERANGE, and is as strict: whole blocks, unless the source ends there.

    `error`: what it fails with. `lies`: it says yes, and does nothing.
    """

    def __init__(self, error: int | None = None, *, lies: bool = False) -> None:
        self.error = error
        self.lies = lies
        self.calls = 0
        self.cloned: list[Cloned] = []

    def __call__(self, source_fd: int, start: int, length: int, target_fd: int, at: int) -> None:
        self.calls += 1
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        if self.lies:
            return
        assert length > 0, "0 would mean all that the source has"
        block, size = os.fstatvfs(target_fd).f_bsize, os.fstat(source_fd).st_size
        aligned = not (start % block or at % block or (length % block and start + length != size))
        if not aligned or start + length > size:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.cloned.append(Cloned(start, length, at))
        write_all(target_fd, memoryview(os.pread(source_fd, length, start)), at)
