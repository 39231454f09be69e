"""The calls that copy, as other file systems do them: sharing blocks, in short steps, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from penstock.storage.blobs.files import write_all
from penstock.storage.kernel import Kernel


class Cloned(NamedTuple):
    start: int
    length: int
    at: int


class CloneCalls:
    """Stands for the ioctl FICLONERANGE, and is as strict: whole blocks, unless the source ends there. The
    bytes are copied.

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
        write_all(Kernel(), target_fd, memoryview(os.pread(source_fd, length, start)), at)


class CopyCalls:
    """Stands for copy_file_range: copies at most `most_bytes` a call, then fails when told to.

    `before`: done in each call first.
    """

    def __init__(self) -> None:
        self.most_bytes = 1 << 40
        self.fails_after = 1 << 40
        self.error: int | None = None  # None: it says 0, as some kernels do
        self.before: Callable[[], object] = int
        self.calls = 0

    def __call__(self, source_fd: int, target_fd: int, count: int, start: int, at: int) -> int:
        self.before()
        self.calls += 1
        if self.calls <= self.fails_after:
            return os.copy_file_range(source_fd, target_fd, min(count, self.most_bytes), start, at)
        if self.error is None:
            return 0
        raise OSError(self.error, os.strerror(self.error))


class CopyingKernel(Kernel):
    """Shares and copies as it is told. The default shares, whatever the file system is."""

    def __init__(self, clones: CloneCalls | None = None, copies: CopyCalls | None = None) -> None:
        self.clones = clones or CloneCalls()
        self.copies = copies or CopyCalls()

    def clone_range(self, source_fd: int, start: int, length: int, target_fd: int, at: int) -> None:
        self.clones(source_fd, start, length, target_fd, at)

    def copy_file_range(self, source_fd: int, target_fd: int, count: int, start: int, at: int) -> int:
        return self.copies(source_fd, target_fd, count, start, at)
