"""Giving a blob its final name. All of it blocks, and raises OSError, BlobFault or BlobMissing."""

from __future__ import annotations

import os
from collections.abc import Callable

from penstock.storage.blobs import files
from penstock.storage.errors import BlobFault, BlobMissing
from penstock.storage.kernel import Kernel


def publish(
    kernel: Kernel,
    key: str,
    name: str,
    incoming_fd: int,
    category_fd: int,
    sync: Callable[[int], None] | None,
) -> None:
    """Sync the bytes, link the new name, make it durable, only then drop the old one. Repeatable.

    The last step is not synced: if a power cut undoes it, the blob has two names until the old one is
    found to belong to nobody. `sync` makes a descriptor's bytes durable; None: no syncs.
    """
    try:
        fd = files.open_incoming(kernel, key, os.O_RDWR, incoming_fd)
    except BlobMissing:
        kernel.close(files.open_reader(kernel, name, category_fd)[0])  # else it is missing altogether
    else:
        try:
            if sync is not None:
                sync(fd)
            _link(kernel, key, kernel.fstat(fd).st_ino, incoming_fd, name, category_fd)
        finally:
            kernel.close(fd)
    if sync is not None:
        kernel.fsync(category_fd)
    files.unlink(kernel, key, incoming_fd)


def _link(kernel: Kernel, key: str, inode: int, incoming_fd: int, name: str, category_fd: int) -> None:
    there = files.inode(kernel, name, category_fd)
    if there not in (None, inode):
        raise BlobFault(f"the name {name} is taken by another blob")
    if there == inode:  # by an earlier try: if its sync failed, only that of a new entry can be believed
        files.unlink(kernel, name, category_fd)
    files.link_or_rename(kernel, key, incoming_fd, name, category_fd)
