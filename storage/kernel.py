"""Every system call by which blobs and the data directory touch files, in one place.

So a test can record, fail or hold any of them, and none goes by another way. All of it blocks.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Sequence
from pathlib import Path

# Python has a name for it since 3.12. Before, nothing is shared on machines whose ioctls have other numbers.
_FICLONERANGE: int = getattr(fcntl, "FICLONERANGE", 0x4020940D)


class Kernel:
    """The calls are what the function of the same name in `os` or `fcntl` does, and raise OSError."""

    # Descriptors

    def open(self, path: Path | str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        return os.open(path, flags, mode, dir_fd=dir_fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def flock(self, fd: int, operation: int) -> None:
        fcntl.flock(fd, operation)

    # Bytes

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        return os.pread(fd, length, offset)

    def preadv(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        return os.preadv(fd, buffers, offset)

    def ftruncate(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def copy_file_range(self, source_fd: int, target_fd: int, count: int, start: int, at: int) -> int:
        return os.copy_file_range(source_fd, target_fd, count, start, at)

    def clone_range(self, source_fd: int, start: int, length: int, target_fd: int, at: int) -> None:
        """Let both files have the same blocks on disk: ioctl_ficlonerange(2). A length of 0 means all."""
        fcntl.ioctl(target_fd, _FICLONERANGE, struct.pack("@qQQQ", source_fd, start, length, at))

    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> None:
        os.posix_fadvise(fd, offset, length, advice)

    # Durability

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    # Names

    def mkdir(self, path: Path | str, mode: int, *, dir_fd: int | None = None) -> None:
        os.mkdir(path, mode, dir_fd=dir_fd)

    def link(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def unlink(self, path: str, *, dir_fd: int) -> None:
        os.unlink(path, dir_fd=dir_fd)

    # What is there

    def stat(self, path: str, *, dir_fd: int, follow_symlinks: bool) -> os.stat_result:
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def fstat(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def fstatvfs(self, fd: int) -> os.statvfs_result:
        return os.fstatvfs(fd)

    def listdir(self, fd: int) -> list[str]:
        return os.listdir(fd)
