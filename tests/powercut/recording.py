"""System calls -> what they did to the files below one directory: operations on inodes and names. Pure.

Below the traced directory each scenario has a directory of its own, `<number>/`, and a file `<number>.told`,
into which the program writes a line whenever the gateway has told somebody something.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tests.powercut.operations import (
    ROOT,
    Name,
    Operation,
    SyncData,
    SyncNames,
    Tell,
    Tree,
    Truncate,
    Unname,
    What,
    Write,
    before,
)
from tests.powercut.strace import Call

# SQLite's index of its log, a shared mapping: whose writes no trace shows, and which it makes anew at its
# first opening after a crash.
_NOT_RECORDED = "-shm"

_UNKNOWN = ("pwritev", "pwritev2", "writev", "truncate", "sync_file_range", "fallocate")
_TOLD = re.compile(r"(\d+)\.told")
_FICLONERANGE = re.compile(r"src_fd=(\d+)|src_offset=(\d+)|src_length=(\d+)|dest_offset=(\d+)")


class _File:
    def __init__(self, inode: int, scenario: int, *, is_directory: bool) -> None:
        self.inode = inode
        self.scenario = scenario
        self.is_directory = is_directory
        self.content = bytearray()  # as the page cache has it: what is copied to other files comes from here


class _Open:
    """A descriptor: a file, or the lines of a scenario, and where the next `write` goes."""

    def __init__(self, path: str, file: _File | None, telling: int = 0) -> None:
        self.path = path
        self.file = file
        self.telling = telling
        self.position = 0


class Recorder:
    """Follows descriptors and names through the calls; `scenarios` has what was done, by scenario."""

    def __init__(self, root: str) -> None:
        self.scenarios: dict[int, list[Operation]] = {}
        self._root = root
        self._files: dict[str, _File] = {}  # by path
        self._opened: dict[int, _Open] = {}

    def begin_with(self, scenario: int, tree: Tree) -> None:
        """What was there before the first call, and is durable."""
        self.scenarios[scenario] = []
        self._files[f"{self._root}/{scenario}"] = _File(ROOT, scenario, is_directory=True)
        for path, (inode, content) in tree.items():
            file = _File(before(inode), scenario, is_directory=content is None)
            file.content[:] = content or b""
            self._files[f"{self._root}/{scenario}/{path}"] = file

    def feed(self, calls: Iterable[Call]) -> None:
        """Take calls, in order of their start. Raises: ValueError for one that is not understood."""
        for call in calls:
            if call.succeeded or (call.result is None and call.name not in ("openat", "copy_file_range")):
                self._take(call)

    def _take(self, call: Call) -> None:
        a = call.arguments
        match call.name:
            case "openat":
                self._open(call, self._path(a[0], a[1]), str(a[2]))
            case "close":
                self._opened.pop(_number(a[0]), None)
            case "write":
                self._append(call)
            case "pwrite64":
                self._write(call, _number(a[0]), _bytes(a[1]), _number(a[3]))
            case "ftruncate":
                self._truncate(call, _number(a[0]), _number(a[1]))
            case "copy_file_range":
                self._copy(call, _number(a[0]), _offset(a[1]), _number(a[2]), _offset(a[3]), call.result or 0)
            case "ioctl":
                self._clone(call)
            case "fsync" | "fdatasync":
                self._sync(call)
            case "mkdir" | "mkdirat" | "link" | "linkat" | "rename" | "renameat" | "renameat2":
                self._name(call)
            case "unlink" | "rmdir":
                self._unname(call, self._path("AT_FDCWD", a[0]))
            case "unlinkat":
                self._unname(call, self._path(a[0], a[1]))
            case "dup2" | "dup3" if _number(a[0]) in self._opened:
                raise ValueError(f"not modelled: {call.name} of {self._opened[_number(a[0])].path}")
            case name if name in _UNKNOWN and self._file(_number(a[0])) is not None:
                raise ValueError(f"not modelled: {name}")

    # Names

    def _path(self, directory: str | bytes, name: str | bytes) -> str:
        path = _bytes(name).decode()
        if directory != "AT_FDCWD" and not path.startswith("/"):
            opened = self._opened.get(_number(directory))
            path = f"{opened.path if opened else '?'}/{path}"
        return posixpath.normpath(path)

    def _scenario(self, path: str) -> int | None:
        """Whose path it is, None if it is nobody's."""
        inside = path.removeprefix(f"{self._root}/")
        number = inside.partition("/")[0]
        if inside == path or not number.isdigit() or path.endswith(_NOT_RECORDED):
            return None
        return int(number)

    def _open(self, call: Call, path: str, flags: str) -> None:
        fd = call.result or 0
        if told := _TOLD.fullmatch(path.removeprefix(f"{self._root}/")):
            self._opened[fd] = _Open(path, None, int(told[1]))
            return
        scenario = self._scenario(path)
        if scenario is None:
            self._opened.pop(fd, None)
            return
        file = self._files.get(path)
        if file is None and "O_CREAT" not in flags:
            raise ValueError(f"opened, but never made: {path}")
        if file is None:
            file = self._made(call, path, scenario, is_directory=False)
        elif "O_TRUNC" in flags and file.content:
            file.content.clear()
            self._note(file.scenario, call, Truncate(file.inode, 0))
        self._opened[fd] = _Open(path, file)

    def _made(self, call: Call, path: str, scenario: int, *, is_directory: bool) -> _File:
        known = self.scenarios.setdefault(scenario, [])
        if posixpath.dirname(path) == self._root:
            file = self._files[path] = _File(ROOT, scenario, is_directory=True)
            return file
        file = _File(call.start + 1, scenario, is_directory=is_directory)  # a call makes at most one
        self._files[path] = file
        directory, name = self._place(path)
        known.append(Operation(call.start, call.end, Name(directory, name, file.inode, is_directory)))
        return file

    def _place(self, path: str) -> tuple[int, str]:
        return self._files[posixpath.dirname(path)].inode, posixpath.basename(path)

    def _name(self, call: Call) -> None:
        a = call.arguments
        if call.name.startswith("mkdir"):
            path = self._path(*(a[:2] if call.name == "mkdirat" else ("AT_FDCWD", a[0])))
            scenario = self._scenario(path)
            if scenario is not None:
                self._made(call, path, scenario, is_directory=True)
            return
        old, new = (self._path(*a[0:2]), self._path(*a[2:4])) if len(a) > 2 else self._paths(a)
        file = self._files.get(old)
        if file is None:
            return
        moved = call.name.startswith("rename")
        came_from = self._place(old) if moved else None
        if moved:
            del self._files[old]
        self._files[new] = file
        self._note(file.scenario, call, Name(*self._place(new), file.inode, file.is_directory, came_from))

    def _paths(self, names: tuple[str | bytes, ...]) -> tuple[str, str]:
        return self._path("AT_FDCWD", names[0]), self._path("AT_FDCWD", names[1])

    def _unname(self, call: Call, path: str) -> None:
        file = self._files.pop(path, None)
        if file is not None:
            self._note(file.scenario, call, Unname(*self._place(path), file.inode))

    # Bytes

    def _file(self, fd: int) -> _File | None:
        opened = self._opened.get(fd)
        return opened.file if opened else None

    def _append(self, call: Call) -> None:
        fd, data = _number(call.arguments[0]), _bytes(call.arguments[1])
        opened = self._opened.get(fd)
        if opened is None:
            return
        if opened.file is None:
            self._note(opened.telling, call, Tell(data))
            return
        self._write(call, fd, data, opened.position)
        opened.position += len(data) if call.result is None else call.result

    def _write(self, call: Call, fd: int, data: bytes, at: int) -> None:
        file = self._file(fd)
        if file is not None:
            data = data if call.result is None else data[: call.result]
            file.content.extend(bytes(max(at - len(file.content), 0)))
            file.content[at : at + len(data)] = data
            self._note(file.scenario, call, Write(file.inode, at, data))

    def _truncate(self, call: Call, fd: int, size: int) -> None:
        file = self._file(fd)
        if file is not None:
            del file.content[size:]
            file.content.extend(bytes(size - len(file.content)))
            self._note(file.scenario, call, Truncate(file.inode, size))

    def _copy(self, call: Call, source_fd: int, start: int, fd: int, at: int, count: int) -> None:
        source = self._file(source_fd)
        if source is not None and count:
            self._write(call._replace(result=count), fd, bytes(source.content[start : start + count]), at)

    def _clone(self, call: Call) -> None:
        if call.arguments[1] == "FICLONERANGE":
            found = _FICLONERANGE.findall(", ".join(map(str, call.arguments[2:])))
            source_fd, start, count, at = (int("".join(groups)) for groups in found)
            self._copy(call, source_fd, start, _number(call.arguments[0]), at, count)

    def _sync(self, call: Call) -> None:
        file = self._file(_number(call.arguments[0]))
        if file is not None:
            what = SyncNames(file.inode) if file.is_directory else SyncData(file.inode)
            self._note(file.scenario, call, what)

    def _note(self, scenario: int, call: Call, what: What) -> None:
        self.scenarios.setdefault(scenario, []).append(Operation(call.start, call.end, what))


def record(
    calls: Iterable[Call], root: str, trees: Mapping[int, Tree] = MappingProxyType({})
) -> dict[int, list[Operation]]:
    """What was done in each scenario's directory, in order of the calls' start. `trees`: what lay there."""
    recorder = Recorder(root)
    for scenario, tree in trees.items():
        recorder.begin_with(scenario, tree)
    recorder.feed(calls)
    return recorder.scenarios


def _number(argument: str | bytes) -> int:
    return int(argument, 0)


def _offset(argument: str | bytes) -> int:
    return int(str(argument).strip("[]"))


def _bytes(argument: str | bytes) -> bytes:
    assert isinstance(argument, bytes)
    return argument
