"""What is sent: files, directories, standard input. Reads happen in threads, one hop a chunk."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import trio

from penstock.server.client.errors import ClientError, SourceError
from penstock.server.exits import Exit

CHUNK_BYTES = 256 * 1024  # a thread hop costs 0.1 ms: it must carry enough
WINDOW_BYTES = 8 * 1024 * 1024  # of standard input, kept until the server has it
STDIN = "-"


class Piece(NamedTuple):
    """What one request may carry: `length` bytes from `first`; `total` where the end is known.

    `read(offset)` gives some of them, at least one. Raises: SourceError.
    """

    first: int
    length: int
    total: int | None
    read: Callable[[int], Awaitable[bytes]]


class Source(Protocol):
    """`size` is None where it is not known before the end."""

    name: str

    @property
    def size(self) -> int | None: ...

    async def piece(self, offset: int) -> Piece:
        """What comes from `offset` on. Raises: SourceError."""
        ...

    def close(self) -> None: ...


class FileSource:
    """A regular file, as it was when it was chosen: one that changes is not sent on."""

    def __init__(self, path: Path, name: str, size: int, mtime_ns: int) -> None:
        self.path = path
        self.name = name
        self.size: int = size
        self.mtime_ns = mtime_ns
        self._descriptor: int | None = None

    @classmethod
    def at(cls, path: Path, name: str) -> FileSource:
        """Raises: OSError."""
        status = path.stat()
        return cls(path.absolute(), name, status.st_size, status.st_mtime_ns)

    def is_unchanged(self) -> bool:
        """Whether the path still leads to what was chosen. Raises: OSError."""
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)

    async def piece(self, offset: int) -> Piece:
        await self._check()
        return Piece(offset, self.size - offset, self.size, self._chunk)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def _check(self) -> None:
        try:
            if not await trio.to_thread.run_sync(self.is_unchanged):
                raise SourceError("it has changed since the upload began")
        except OSError as error:
            raise SourceError(f"it cannot be read: {error.strerror}") from error

    async def _chunk(self, offset: int) -> bytes:
        chunk = await trio.to_thread.run_sync(self._read, offset)
        if offset + len(chunk) == self.size:
            await self._check()  # before the server takes it for whole
        return chunk

    def _read(self, offset: int) -> bytes:
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            chunk = os.pread(self._descriptor, min(CHUNK_BYTES, self.size - offset), offset)
        except OSError as error:
            raise SourceError(f"it cannot be read: {error.strerror}") from error
        if not chunk:
            raise SourceError("it has become shorter since the upload began")
        return chunk


class PipeSource:
    """Standard input: sent in pieces, each kept until the server has stored it."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self.size: int | None = None
        self._descriptor = descriptor
        self._window = bytearray()
        self._start = 0
        self._ended = False

    async def piece(self, offset: int) -> Piece:
        behind = offset - self._start
        if not 0 <= behind <= len(self._window):
            raise SourceError(
                f"the server has {offset} bytes, but of standard input only {len(self._window)} bytes from "
                f"{self._start} on are kept; put it into a file and upload that"
            )
        del self._window[:behind]
        self._start = offset
        await self._fill()
        # More than a window is read before one is sent: so the last piece knows that it is the last.
        length = len(self._window) if self._ended else WINDOW_BYTES
        total = offset + length if self._ended else None
        return Piece(offset, length, total, self._chunk)

    def close(self) -> None:
        """The descriptor is not ours."""

    async def _fill(self) -> None:
        while not self._ended and len(self._window) <= WINDOW_BYTES:
            # Abandoned: whoever stops us must not wait for a pipe that brings nothing.
            chunk = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            self._ended = not chunk
            self._window += chunk

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, CHUNK_BYTES)
        except OSError as error:
            raise SourceError(f"it cannot be read: {error.strerror}") from error

    async def _chunk(self, offset: int) -> bytes:
        await trio.lowlevel.checkpoint()
        first = offset - self._start
        return bytes(self._window[first : first + CHUNK_BYTES])


def gather(arguments: Iterable[str], name: str | None) -> list[Source]:
    """What the arguments of `upload` stand for: directories with all that is below them, `-` for standard
    input. Raises: ClientError."""
    sources = [source for argument in arguments for source in _of(argument)]
    if not sources:
        raise ClientError("there is no file to upload", "name files, or directories with files", Exit.USAGE)
    if name is not None:
        if len(sources) > 1:
            raise ClientError(
                f"--name is for one file, here are {len(sources)}", "leave it out, or upload one", Exit.USAGE
            )
        sources[0].name = name
    if sum(isinstance(source, PipeSource) for source in sources) > 1:
        raise ClientError("standard input can be uploaded once", "name - once", Exit.USAGE)
    return sources


def _of(argument: str) -> Iterator[Source]:
    if argument == STDIN:
        yield PipeSource(0, "stdin")
        return
    path = Path(argument)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            yield from _below(path)
        elif stat.S_ISREG(mode):
            yield FileSource.at(path, shown_name(path.name))
        else:
            raise OSError(errno.EINVAL, "it is neither a file nor a directory; pipe it in and name -")
    except OSError as error:
        where = error.filename or argument
        raise ClientError(
            f"{where}: {error.strerror}", "check the name and its permissions", Exit.USAGE
        ) from error


def _below(top: Path) -> Iterator[Source]:
    """All regular files, hidden ones too, in order; links are not followed. Names begin at the directory."""
    whole = os.path.abspath(top)  # names a directory even where it is called `..`
    base = os.path.dirname(whole)
    for directory, directories, names in os.walk(whole, onerror=_raise):
        directories.sort()
        for name in sorted(names):
            path = Path(directory, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield FileSource.at(path, shown_name(str(path.relative_to(base))))


def _raise(error: OSError) -> None:
    raise error


def shown_name(name: str) -> str:
    """As Unicode: what is not becomes a replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")
