"""Single steps on files of an open directory, by name. All of it blocks and raises OSError."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from penstock.storage.errors import BlobFault, BlobMissing
from penstock.storage.kernel import Kernel

STEP_BYTES = 1024 * 1024

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def write_all(kernel: Kernel, fd: int, data: memoryview, at: int) -> None:
    """A write may be short (full disk, signal): the rest is tried again, and then says why."""
    done = 0
    while done < len(data):
        done += kernel.pwrite(fd, data[done:], at + done)


def pieces(kernel: Kernel, fd: int, start: int, max_bytes: int) -> Iterator[memoryview]:
    """Up to `max_bytes` from `start`, fewer at the end. Through one buffer: each overwrites the last."""
    buffer = memoryview(bytearray(min(max_bytes, STEP_BYTES)))
    end = start + max_bytes
    while start < end and (got := kernel.preadv(fd, [buffer[: end - start]], start)):
        yield buffer[:got]
        start += got


def checked_size(kernel: Kernel, fd: int, at_least: int) -> int:
    """Bytes in the file. Raises: BlobFault when they are fewer than `at_least`."""
    size = kernel.fstat(fd).st_size
    if size < at_least:
        raise BlobFault(f"{at_least} bytes were promised, {size} are there")
    return size


def cut_open(kernel: Kernel, fd: int, end: int) -> None:
    """Truncate to `end`. Raises: BlobFault when it is shorter."""
    if checked_size(kernel, fd, end) > end:
        kernel.ftruncate(fd, end)


def link_or_rename(kernel: Kernel, key: str, incoming_fd: int, name: str, category_fd: int) -> None:
    """Give the blob its final name; where links are known it keeps the old one too.

    Raises: FileExistsError when another has that name.
    """
    try:
        kernel.link(key, name, src_dir_fd=incoming_fd, dst_dir_fd=category_fd)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if inode(kernel, name, category_fd) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from error
        # It was free a moment ago, it is random, and this process alone uses the directory.
        kernel.rename(key, name, src_dir_fd=incoming_fd, dst_dir_fd=category_fd)


def inode(kernel: Kernel, name: str, directory_fd: int) -> int | None:
    """Which file has that name, None when there is none."""
    try:
        return kernel.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return None


def unlink(kernel: Kernel, name: str, directory_fd: int) -> None:
    """None there is fine."""
    with suppress(FileNotFoundError):
        kernel.unlink(name, dir_fd=directory_fd)


def sync_name(kernel: Kernel, key: str, directory_fd: int) -> None:
    """Make the name of a blob durable that has no bytes, or will lose them. If that fails it is removed, and
    made anew at the next try: another sync of the same entry could not be believed."""
    try:
        kernel.fsync(directory_fd)
    except OSError:
        unlink(kernel, key, directory_fd)
        raise


def open_incoming(kernel: Kernel, key: str, flags: int, directory_fd: int) -> int:
    """A descriptor. Raises: BlobMissing."""
    try:
        return kernel.open(key, flags | os.O_NOFOLLOW, 0o600, dir_fd=directory_fd)
    except FileNotFoundError:
        if flags & os.O_CREAT:  # then it is the directory that is gone
            raise
        raise BlobMissing(f"there is no incoming blob {key}") from None


def open_reader(kernel: Kernel, name: str, directory_fd: int) -> tuple[int, int]:
    """(descriptor, bytes). Raises: BlobMissing."""
    try:
        fd = kernel.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory_fd)
    except FileNotFoundError:
        raise BlobMissing(f"there is no published blob {name}") from None
    try:
        return fd, kernel.fstat(fd).st_size
    except BaseException:
        kernel.close(fd)
        raise


def listed(kernel: Kernel, directory_fd: int, ours: Callable[[str], bool]) -> list[tuple[str, float]]:
    """(name, last change) of every file whose name is one of ours."""
    found = []
    own_fd = kernel.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory_fd)  # its own reading position
    try:
        for name in kernel.listdir(own_fd):
            with suppress(FileNotFoundError):  # gone since
                if ours(name):
                    found.append((name, kernel.stat(name, dir_fd=own_fd, follow_symlinks=False).st_mtime))
    finally:
        kernel.close(own_fd)
    return found


def free_bytes(kernel: Kernel, directory_fd: int) -> int:
    """What an unprivileged process may still write."""
    file_system = kernel.fstatvfs(directory_fd)
    return file_system.f_bavail * file_system.f_frsize
