"""The data directory: what lies in it, and that one process at a time uses it.

```
lock                    flock of the running process, its pid inside
key                     32 random bytes of this server
incoming/<key>          bytes that are still coming
upload/<category>/      published files
```
Everything here blocks: it runs once, in a thread, before anything is served.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.storage.blobs import files
from penstock.storage.blobs.names import is_category
from penstock.storage.kernel import Kernel

KEY_BYTES = 32
_PROBE = ".probe"  # never a name of ours: neither a blob key nor a published name begins with a dot


class DataDirectoryError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


class DataDirectoryBusy(DataDirectoryError):
    """Another process is using it."""


class DataDirectory:
    """The data directory, opened, locked and checked. A context manager.

    The constructor creates what is missing, and makes that durable.
    Raises: DataDirectoryBusy, DataDirectoryError.
    """

    path: Path
    kernel: Kernel  # by which everything in it is touched
    key: bytes  # 32 random bytes, made once
    incoming_fd: int
    category_fds: dict[
        str, int
    ]  # the given categories, and those of older settings that still have a directory

    def __init__(self, path: Path, categories: Iterable[str], kernel: Kernel | None = None) -> None:
        self.path = path
        self.kernel = kernel or Kernel()
        try:
            with ExitStack() as opened:
                self._opened = opened
                self._open(categories)
                self._opened = opened.pop_all()
        except OSError as error:
            raise DataDirectoryError(f"data directory {path}: {_explained(error)}") from error

    def close(self) -> None:
        """Unlock, and give all descriptors back. Idempotent."""
        with suppress(OSError):  # nothing was written through them, and they are given back whatever it says
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, categories: Iterable[str]) -> None:
        self._make_path(self.path)
        self._root_fd = self._open_directory(self.path)
        self._lock()
        self.incoming_fd = self._make("incoming", self._root_fd)
        upload_fd = self._make("upload", self._root_fd)
        names = [*categories, *filter(is_category, self.kernel.listdir(upload_fd))]
        self.category_fds = {name: self._make(_checked(name), upload_fd) for name in dict.fromkeys(names)}
        for name, category_fd in self.category_fds.items():
            self._probe(name, category_fd)
        self.key = self._read_key()
        for fd in (self._root_fd, upload_fd):
            self.kernel.fsync(fd)

    def _make_path(self, path: Path) -> None:
        """A directory and those it lies in, each new name durable. One that is there may lie where we may
        not even look, so nothing is asked of it."""
        if path.is_dir():
            return
        self._make_path(path.parent)
        with suppress(FileExistsError):
            self.kernel.mkdir(path, 0o700 if path == self.path else 0o777)
        parent_fd = self.kernel.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.kernel.fsync(parent_fd)
        finally:
            self.kernel.close(parent_fd)

    def _lock(self) -> None:
        fd = self.kernel.open("lock", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self._root_fd)
        self._opened.callback(self.kernel.close, fd)  # which unlocks it
        try:
            self.kernel.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self.kernel.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise DataDirectoryBusy(
                f"data directory {self.path} is in use by process {pid}: "
                "stop that process, or give this one another data directory"
            ) from None
        self.kernel.ftruncate(fd, 0)
        files.write_all(self.kernel, fd, memoryview(f"{os.getpid()}\n".encode()), 0)

    def _make(self, name: str, parent_fd: int) -> int:
        with suppress(FileExistsError):
            self.kernel.mkdir(name, 0o700, dir_fd=parent_fd)
        return self._open_directory(name, parent_fd)

    def _open_directory(self, name: Path | str, parent_fd: int | None = None) -> int:
        fd = self.kernel.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent_fd)
        self._opened.callback(self.kernel.close, fd)
        return fd

    def _probe(self, category: str, category_fd: int) -> None:
        """Move a file there. Device numbers would not tell: bind mounts share them, and refuse moves."""
        kernel = self.kernel
        kernel.close(kernel.open(_PROBE, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=self.incoming_fd))
        try:
            kernel.rename(_PROBE, _PROBE, src_dir_fd=self.incoming_fd, dst_dir_fd=category_fd)
        except OSError as error:
            kernel.unlink(_PROBE, dir_fd=self.incoming_fd)
            if error.errno != errno.EXDEV:
                raise
            raise DataDirectoryError(
                f"data directory {self.path}: upload/{category} is on another file system than incoming/; "
                "finished files are moved, not copied, so both have to be on one"
            ) from error
        kernel.unlink(_PROBE, dir_fd=category_fd)

    def _read_key(self) -> bytes:
        try:
            fd = self.kernel.open("key", os.O_RDONLY, dir_fd=self._root_fd)
        except FileNotFoundError:
            return self._make_key()
        try:
            key = self.kernel.pread(fd, KEY_BYTES + 1, 0)
        finally:
            self.kernel.close(fd)
        if len(key) != KEY_BYTES:
            raise DataDirectoryError(
                f"{self.path / 'key'} is not a key of {KEY_BYTES} bytes: restore or delete it"
            )
        return key

    def _make_key(self) -> bytes:
        key = secrets.token_bytes(KEY_BYTES)
        fd = self.kernel.open("key.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=self._root_fd)
        try:
            files.write_all(self.kernel, fd, memoryview(key), 0)
            self.kernel.fsync(fd)
        finally:
            self.kernel.close(fd)
        self.kernel.rename("key.new", "key", src_dir_fd=self._root_fd, dst_dir_fd=self._root_fd)
        return key


def _checked(category: str) -> str:
    if not is_category(category):
        raise DataDirectoryError(f"category {category!r} is no directory name: letters, digits, _ and - only")
    return category


def _explained(error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{reason} ({error.filename}): it must be writable by user id {os.geteuid()}"
    return f"{reason} ({error.filename})"
