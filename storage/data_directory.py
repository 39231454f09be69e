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

from penstock.storage.blobs.names import is_category

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
    key: bytes  # 32 random bytes, made once
    incoming_fd: int
    category_fds: dict[
        str, int
    ]  # the given categories, and those of older settings that still have a directory

    def __init__(self, path: Path, categories: Iterable[str]) -> None:
        self.path = path
        with ExitStack() as opened:
            self._opened = opened
            try:
                self._open(categories)
            except OSError as error:
                raise DataDirectoryError(f"data directory {path}: {_explained(error)}") from error
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Unlock, and give all descriptors back. Idempotent."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, categories: Iterable[str]) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root_fd = self._open_directory(self.path)
        self._lock()
        self.incoming_fd = self._make("incoming", self._root_fd)
        upload_fd = self._make("upload", self._root_fd)
        names = [*categories, *filter(is_category, os.listdir(upload_fd))]
        self.category_fds = {name: self._make(_checked(name), upload_fd) for name in dict.fromkeys(names)}
        for name, category_fd in self.category_fds.items():
            self._probe(name, category_fd)
        self.key = self._read_key()
        for fd in (self._root_fd, upload_fd):
            os.fsync(fd)

    def _lock(self) -> None:
        fd = os.open("lock", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self._root_fd)
        self._opened.callback(os.close, fd)  # which unlocks it
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise DataDirectoryBusy(
                f"data directory {self.path} is in use by process {pid}: "
                "stop that process, or give this one another data directory"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def _make(self, name: str, parent_fd: int) -> int:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        return self._open_directory(name, parent_fd)

    def _open_directory(self, name: Path | str, parent_fd: int | None = None) -> int:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent_fd)
        self._opened.callback(os.close, fd)
        return fd

    def _probe(self, category: str, category_fd: int) -> None:
        """Move a file there. Device numbers would not tell: bind mounts share them, and refuse moves."""
        os.close(os.open(_PROBE, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=self.incoming_fd))
        try:
            os.rename(_PROBE, _PROBE, src_dir_fd=self.incoming_fd, dst_dir_fd=category_fd)
        except OSError as error:
            os.unlink(_PROBE, dir_fd=self.incoming_fd)
            if error.errno != errno.EXDEV:
                raise
            raise DataDirectoryError(
                f"data directory {self.path}: upload/{category} is on another file system than incoming/; "
                "finished files are moved, not copied, so both have to be on one"
            ) from error
        os.unlink(_PROBE, dir_fd=category_fd)

    def _read_key(self) -> bytes:
        try:
            fd = os.open("key", os.O_RDONLY, dir_fd=self._root_fd)
        except FileNotFoundError:
            return self._make_key()
        with open(fd, "rb") as file:
            key = file.read(KEY_BYTES + 1)
        if len(key) != KEY_BYTES:
            raise DataDirectoryError(
                f"{self.path / 'key'} is not a key of {KEY_BYTES} bytes: restore or delete it"
            )
        return key

    def _make_key(self) -> bytes:
        key = secrets.token_bytes(KEY_BYTES)
        fd = os.open("key.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=self._root_fd)
        with open(fd, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(fd)
        os.replace("key.new", "key", src_dir_fd=self._root_fd, dst_dir_fd=self._root_fd)
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
