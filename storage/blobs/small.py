"""Many small blobs in one go: all of it blocks, and raises OSError or BlobFault.

All are written before the first is synced: the file system then syncs most of them together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from penstock.storage.blobs import files
from penstock.storage.blobs.base import SmallBlob
from penstock.storage.errors import BlobFault
from penstock.storage.kernel import Kernel

_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW  # there may be one that never got a byte


def store(
    kernel: Kernel,
    blobs: Sequence[SmallBlob],
    incoming_fd: int,
    category_fd: int,
    sync: Callable[[int], None] | None,
) -> None:
    """Put them all into their places, or none. `sync` makes a descriptor's bytes durable; None: no syncs."""
    made: list[tuple[str, int]] = []  # names and their directories
    try:
        _write(kernel, blobs, incoming_fd, sync, made)
        for blob in blobs:
            _publish(kernel, blob, incoming_fd, category_fd, made)
        if sync is not None:
            kernel.fsync(category_fd)
    except BaseException:
        with ExitStack() as undo:  # goes on when one of them fails
            for name, directory_fd in made:
                undo.callback(files.unlink, kernel, name, directory_fd)
        raise
    for blob in blobs:
        with suppress(OSError):  # they are stored, and whoever sweeps orphans takes a name that is left over
            files.unlink(kernel, blob.key, incoming_fd)


def _write(
    kernel: Kernel,
    blobs: Sequence[SmallBlob],
    incoming_fd: int,
    sync: Callable[[int], None] | None,
    made: list[tuple[str, int]],
) -> None:
    fds: list[int] = []
    try:
        for blob in blobs:
            fd = kernel.open(blob.key, _ANEW, 0o600, dir_fd=incoming_fd)
            fds.append(fd)
            made.append((blob.key, incoming_fd))
            files.write_all(kernel, fd, blob.data, 0)
        if sync is not None:
            for fd in fds:  # begins to write all of them back, so that one journal commit serves many syncs
                kernel.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            for fd in fds:
                sync(fd)
    finally:
        _close_all(kernel, fds)


def _close_all(kernel: Kernel, fds: list[int]) -> None:
    try:
        while fds:
            kernel.close(fds.pop())
    finally:
        if fds:
            _close_all(kernel, fds)


def _publish(
    kernel: Kernel, blob: SmallBlob, incoming_fd: int, category_fd: int, made: list[tuple[str, int]]
) -> None:
    try:
        files.link_or_rename(kernel, blob.key, incoming_fd, blob.name, category_fd)
    except FileExistsError:
        raise BlobFault(f"the name {blob.name} is taken by another blob") from None
    made.append((blob.name, category_fd))
