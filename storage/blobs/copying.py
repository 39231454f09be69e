"""Bytes from one file to another of the same directory: shared, copied by the kernel, or read and written.

All of it blocks, and raises OSError or BlobFault.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import NamedTuple

from penstock.storage.blobs import files
from penstock.storage.errors import BlobFault
from penstock.storage.kernel import Kernel

# Not by this way, but maybe by the next. EBADF, EPERM, ENOTTY: so do some file systems and sandboxes say that
# they know no such call. EISDIR: that there are no unnamed files. EAGAIN: ZFS, while bytes are on their way
# to the disk. EINTR: Python repeats what a signal broke off, but not an ioctl.
_TRY_OTHERWISE = frozenset(
    {
        *(errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.EPERM),
        *(errno.ENOTTY, errno.ETXTBSY, errno.EISDIR, errno.EAGAIN, errno.EINTR),
    }
)


class Span(NamedTuple):
    """`length` bytes of one open file, from `start`, that go to another, from `at`."""

    source_fd: int
    start: int
    length: int
    target_fd: int
    at: int

    def split(self, length: int) -> tuple[Span, Span]:
        """Its first `length` bytes, and the rest."""
        rest = self._replace(start=self.start + length, length=self.length - length, at=self.at + length)
        return self._replace(length=length), rest


class Copier:
    """Copies between files of one directory, in the cheapest way that its file system knows."""

    def __init__(self, kernel: Kernel, directory_fd: int) -> None:
        self._kernel = kernel
        self._directory_fd = directory_fd
        self._probed = False
        self._block: int | None = None

    def sharing_block(self) -> int | None:
        """Size and alignment in bytes of what can be shared; None: nothing can. Probed when first used."""
        if not self._probed:  # two first calls at once do no harm: both find the same
            self._block = self._probe()
            self._probed = True
        return self._block

    def copy(self, span: Span) -> None:
        """Copy the span: whole blocks are shared if source and target are aligned alike.

        If it fails, there may be anything in the target behind `at`.
        Raises: BlobFault when the source is too short.
        """
        files.checked_size(self._kernel, span.source_fd, span.start + span.length)
        block = self.sharing_block()
        if block is None or (span.at - span.start) % block:
            self._copy(span)
            return
        head, rest = span.split(min(-span.at % block, span.length))
        whole, tail = rest.split(rest.length - rest.length % block)
        self._copy(head)
        self._share(whole)
        self._copy(tail)

    def _share(self, span: Span) -> None:
        if not span.length:
            return
        try:
            self._kernel.clone_range(*span)
        except OSError as error:
            if error.errno not in _TRY_OTHERWISE:
                raise
            self._copy(span)

    def _copy(self, span: Span) -> None:
        while span.length:
            copied = self._copied_by_kernel(span)
            if not copied:
                self._read_and_write(span)
                return
            span = span.split(copied)[1]

    def _copied_by_kernel(self, span: Span) -> int:
        """Bytes copied, often fewer than asked for; 0: not by this way. Some kernels say 0 for no reason."""
        source_fd, start, length, target_fd, at = span
        try:
            return self._kernel.copy_file_range(source_fd, target_fd, length, start, at)
        except OSError as error:
            if error.errno not in _TRY_OTHERWISE:
                raise
            return 0

    def _read_and_write(self, span: Span) -> None:
        done = 0
        for piece in files.pieces(self._kernel, span.source_fd, span.start, span.length):
            files.write_all(self._kernel, span.target_fd, piece, span.at + done)
            done += len(piece)
        if done < span.length:
            raise BlobFault(f"{span.start + span.length} bytes were promised, {span.start + done} are there")

    def _probe(self) -> int | None:
        try:
            return self._shared_block()
        except OSError as error:
            if error.errno not in _TRY_OTHERWISE:
                raise
            return None

    def _shared_block(self) -> int | None:
        """Share the middle one of three blocks: at the end of a file other rules hold. Leaves no file."""
        block = self._kernel.fstatvfs(self._directory_fd).f_bsize
        wanted = b"+" * block
        with ExitStack() as opened:
            source_fd, target_fd = self._open_unnamed(opened), self._open_unnamed(opened)
            files.write_all(self._kernel, source_fd, memoryview(b"-" * block + wanted + b"-" * block), 0)
            self._kernel.clone_range(source_fd, block, block, target_fd, 0)
            return block if self._kernel.pread(target_fd, 2 * block, 0) == wanted else None

    def _open_unnamed(self, opened: ExitStack) -> int:
        fd = self._kernel.open(".", os.O_RDWR | os.O_TMPFILE, 0o600, dir_fd=self._directory_fd)
        opened.callback(self._kernel.close, fd)
        return fd
