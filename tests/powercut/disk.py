"""What of a recording a file system may keep: after a power cut, after a kill. Pure.

A power cut keeps what was synced, and of the rest any part in any order:

* Bytes of a file are synced by an fsync or fdatasync of that file that begins when their write has returned,
  and has itself returned. So are changes of its size.
* A name is synced by an fsync of its directory, in the same way; a name moved between two directories, by
  one of where it went. That a new file was synced says nothing about its name (POSIX; most file systems do
  more). A rename is kept or lost as a whole: never are both names gone, or a half-made one there.
* An unsynced write may be kept whole, lost, torn (some sectors of 512 bytes are as before), or be there as
  zeros: the file has grown, its blocks were never written (delayed allocation). Bytes that were there before
  do not become zeros: nothing that is known overwrites them with what was not asked for.
* Writes that have not returned may have reached the disk as those that have.

A kill keeps all that has returned, since the page cache survives; of a write that was under way, a beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import NamedTuple

from tests.powercut.operations import (
    ROOT,
    Found,
    Name,
    Operation,
    SyncData,
    SyncNames,
    Tell,
    Tree,
    Truncate,
    Unname,
    Write,
    before,
)

SECTOR_BYTES = 512


class Kept(Enum):
    """What became of an unsynced operation."""

    WHOLE = auto()
    LOST = auto()
    TORN = auto()
    ZEROS = auto()


class Pending(NamedTuple):
    """An operation that no sync covers. `order` tells its place among all of them."""

    operation: Operation
    under_way: bool  # it has not returned

    @property
    def is_data(self) -> bool:
        return isinstance(self.operation.what, Write | Truncate)


Fate = Callable[[Pending], Kept]
Sectors = Callable[[int], Iterable[int]]  # of so many sectors, the numbers of those that are kept


class Disk:
    """A scenario's directory while its recording goes by: what is synced, and what is pending."""

    def __init__(self, tree: Tree | None = None) -> None:
        """`tree`: what was there before, and is durable."""
        self._files: dict[int, bytearray] = {}  # synced content
        self._names: dict[int, dict[str, int]] = {ROOT: {}}  # synced entries of directories
        self._pending: list[Operation] = []
        self._syncing: list[Operation] = []  # they have begun, and not yet returned
        directories = {"": ROOT}
        for path, (inode, content) in (tree or {}).items():
            parent, _, name = path.rpartition("/")
            self._names[directories[parent]][name] = before(inode)
            if content is None:
                directories[path] = before(inode)
                self._names[before(inode)] = {}
            else:
                self._files[before(inode)] = bytearray(content)

    def begin(self, operation: Operation) -> None:
        """Time has come to its start. All that returned before it is done."""
        returned = [sync for sync in self._syncing if sync.end is not None and sync.end < operation.start]
        for sync in sorted(returned, key=lambda sync: sync.end or 0):
            self._sync(sync)
            self._syncing.remove(sync)
        if isinstance(operation.what, SyncData | SyncNames):
            self._syncing.append(operation)
        elif not isinstance(operation.what, Tell):
            self._pending.append(operation)

    def pending(self, now: int) -> list[Pending]:
        """What a power cut at `now` (a line of the trace) may keep or lose, in order of its start."""
        return [Pending(one, one.end is None or one.end >= now) for one in self._pending]

    def tree(self, now: int, fate: Fate, sectors: Sectors) -> Tree:
        """What is found after a cut at `now`, if that becomes of what is pending. See `Kept`."""
        files = {inode: bytearray(content) for inode, content in self._files.items()}
        names = {directory: dict(entries) for directory, entries in self._names.items()}
        for one in self.pending(now):
            kept = fate(one)
            if kept is not Kept.LOST:
                _apply(one.operation, kept, sectors, files, names)
        tree: Tree = {}
        _walk(ROOT, "", files, names, tree)
        return tree

    def _sync(self, sync: Operation) -> None:
        rest: list[Operation] = []
        for one in self._pending:
            if one.end is not None and one.end < sync.start and _covers(sync, one):
                _apply(one, Kept.WHOLE, _all, self._files, self._names)
            else:
                rest.append(one)
        self._pending = rest


def _covers(sync: Operation, one: Operation) -> bool:
    match sync.what, one.what:
        case SyncData(inode), (Write(other) | Truncate(other)):
            return inode == other
        case SyncNames(directory), (Name(other) | Unname(other)):
            return directory == other
        case _:
            return False


def _all(count: int) -> Iterable[int]:
    return range(count)


def _apply(
    operation: Operation,
    kept: Kept,
    sectors: Sectors,
    files: dict[int, bytearray],
    names: dict[int, dict[str, int]],
) -> None:
    match operation.what:
        case Write() as write:
            _write(files.setdefault(write.inode, bytearray()), write, kept, sectors)
        case Truncate(inode, size):
            content = files.setdefault(inode, bytearray())
            del content[size:]
            content.extend(bytes(size - len(content)))
        case Name() as name:
            _name(name, files, names)
        case Unname(directory, name, inode):
            entries = names.setdefault(directory, {})
            if entries.get(name) == inode:
                del entries[name]


def _name(name: Name, files: dict[int, bytearray], names: dict[int, dict[str, int]]) -> None:
    if name.is_directory:
        names.setdefault(name.inode, {})
    else:
        files.setdefault(name.inode, bytearray())
    names.setdefault(name.directory, {})[name.name] = name.inode
    if name.old is not None:
        directory, old = name.old
        if names.get(directory, {}).get(old) == name.inode:
            del names[directory][old]


def _write(content: bytearray, write: Write, kept: Kept, sectors: Sectors) -> None:
    end = write.at + len(write.data)
    if kept is Kept.TORN:
        _write_sectors(content, write, sectors)
        return
    old_size = len(content)
    content.extend(bytes(max(end - old_size, 0)))
    if kept is Kept.WHOLE or end <= old_size:  # nothing turns into zeros what was there before
        content[write.at : end] = write.data
    elif write.at < old_size:
        content[write.at : old_size] = write.data[: old_size - write.at]


def _write_sectors(content: bytearray, write: Write, sectors: Sectors) -> None:
    """Sectors of the disk, not of the write: it may begin and end within one."""
    end = write.at + len(write.data)
    first = write.at // SECTOR_BYTES
    for number in sectors((end - 1) // SECTOR_BYTES + 1 - first):
        start = max((first + number) * SECTOR_BYTES, write.at)
        stop = min((first + number + 1) * SECTOR_BYTES, end)
        content.extend(bytes(max(stop - len(content), 0)))
        content[start:stop] = write.data[start - write.at : stop - write.at]


def _walk(
    directory: int, path: str, files: dict[int, bytearray], names: dict[int, dict[str, int]], tree: Tree
) -> None:
    for name, inode in names[directory].items():
        if inode in names:
            tree[f"{path}{name}"] = Found(inode, None)
            _walk(inode, f"{path}{name}/", files, names, tree)
        else:
            tree[f"{path}{name}"] = Found(inode, bytes(files.get(inode, b"")))
