"""Calls as operations on inodes and names."""

from __future__ import annotations

import pytest

from tests.powercut.operations import (
    ROOT,
    Found,
    Name,
    SyncData,
    SyncNames,
    Tell,
    Truncate,
    Unname,
    What,
    Write,
)
from tests.powercut.recording import record
from tests.powercut.strace import Call

FD = 4
NEW = "O_RDWR|O_CREAT|O_CLOEXEC"


class Trace:
    """Calls below `/t`, one a line, in the directory of scenario 0."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.call("mkdir", b"/t/0", "0777")

    def call(self, name: str, *arguments: str | bytes, result: int | None = 0) -> int:
        """Its inode, should it make one."""
        number = len(self.calls)
        self.calls.append(Call(name, arguments, result, number, None if result is None else number))
        return number + 1

    def open(self, path: bytes, flags: str = NEW, *, fd: int = FD, at: str = "AT_FDCWD") -> int:
        return self.call("openat", at, path, flags, "0600", result=fd)

    def write(self, data: bytes, at: int, *, fd: int = FD) -> int:
        return self.call("pwrite64", str(fd), data, str(len(data)), str(at), result=len(data))

    def what(self, scenario: int = 0) -> list[What]:
        return [operation.what for operation in record(self.calls, "/t")[scenario]]


@pytest.fixture
def trace() -> Trace:
    return Trace()


def test_a_file_is_made_written_cut_and_synced(trace: Trace) -> None:
    inode = trace.open(b"/t/0/a")
    trace.write(b"abc", 5)
    trace.call("ftruncate", str(FD), "6")
    trace.call("fdatasync", str(FD))
    trace.call("close", str(FD))
    trace.write(b"not ours any more", 0)
    assert trace.what() == [
        Name(ROOT, "a", inode),
        Write(inode, 5, b"abc"),
        Truncate(inode, 6),
        SyncData(inode),
    ]


def test_what_is_there_is_not_made_again(trace: Trace) -> None:
    inode = trace.open(b"/t/0/a")
    trace.open(b"/t/0/a", fd=5)
    trace.write(b"abc", 0, fd=5)
    trace.open(b"/t/0/a", f"{NEW}|O_TRUNC", fd=6)
    assert trace.what() == [Name(ROOT, "a", inode), Write(inode, 0, b"abc"), Truncate(inode, 0)]


def test_names_relative_to_a_directory(trace: Trace) -> None:
    directory = trace.call("mkdir", b"/t/0/d", "0700")
    trace.open(b"/t/0/d", "O_RDONLY|O_DIRECTORY", fd=7)
    inode = trace.open(b"a", at="7")
    trace.call("linkat", "7", b"a", "7", b"b", "0")
    trace.call("renameat", "7", b"b", "AT_FDCWD", b"/t/0/c")
    trace.call("unlinkat", "7", b"a", "0")
    trace.call("fsync", "7")
    assert trace.what() == [
        Name(ROOT, "d", directory, is_directory=True),
        Name(directory, "a", inode),
        Name(directory, "b", inode),
        Name(ROOT, "c", inode, old=(directory, "b")),
        Unname(directory, "a", inode),
        SyncNames(directory),
    ]


def test_a_new_file_of_an_old_name_is_another(trace: Trace) -> None:
    first = trace.open(b"/t/0/a")
    trace.call("unlink", b"/t/0/a")
    second = trace.open(b"/t/0/a", fd=5)
    trace.write(b"x", 0)
    assert trace.what() == [
        Name(ROOT, "a", first),
        Unname(ROOT, "a", first),
        Name(ROOT, "a", second),
        Write(first, 0, b"x"),
    ]


def test_copies_have_the_bytes_of_that_moment(trace: Trace) -> None:
    source, target = trace.open(b"/t/0/a"), trace.open(b"/t/0/b", fd=5)
    trace.write(b"abcdef", 0)
    trace.call("copy_file_range", str(FD), "[1]", "5", "[0]", "9", "0", result=4)
    trace.write(b"z", 1)
    shared = ["{src_fd=4", "src_offset=0", "src_length=2", "dest_offset=8}"]
    trace.call("ioctl", "5", "FICLONERANGE", *shared)
    assert trace.what()[2:] == [
        Write(source, 0, b"abcdef"),
        Write(target, 0, b"bcde"),
        Write(source, 1, b"z"),
        Write(target, 8, b"az"),
    ]


def test_writes_without_an_offset_follow_one_another(trace: Trace) -> None:
    inode = trace.open(b"/t/0/a")
    for data in (b"ab", b"cd"):
        trace.call("write", str(FD), data, "2", result=2)
    assert trace.what()[1:] == [Write(inode, 0, b"ab"), Write(inode, 2, b"cd")]


def test_short_failed_and_unreturned_writes(trace: Trace) -> None:
    """What did not return may have been done."""
    inode = trace.open(b"/t/0/a")
    trace.call("pwrite64", str(FD), b"abc", "3", "0", result=2)
    trace.call("pwrite64", str(FD), b"abc", "3", "2", result=-1)
    trace.call("pwrite64", str(FD), b"xyz", "3", "2", result=None)
    assert trace.what()[1:] == [Write(inode, 0, b"ab"), Write(inode, 2, b"xyz")]


def test_each_scenario_has_its_own_lines(trace: Trace) -> None:
    trace.call("mkdir", b"/t/1", "0777")
    for number, path in enumerate((b"/t/0.told", b"/t/1.told")):
        trace.open(path, "O_WRONLY|O_CREAT|O_APPEND", fd=8 + number)
    trace.call("write", "9", b"one\n", "4", result=4)
    trace.call("write", "8", b"nil\n", "4", result=4)
    assert (trace.what(0), trace.what(1)) == ([Tell(b"nil\n")], [Tell(b"one\n")])


def test_what_lay_there_before_is_known(trace: Trace) -> None:
    trace.calls.clear()
    trace.open(b"/t/0/d/a", "O_RDWR|O_CLOEXEC")
    trace.write(b"x", 0)
    trace.call("rename", b"/t/0/d/a", b"/t/0/b")
    tree = {"d": Found(7, None), "d/a": Found(8, b"abc")}
    assert [one.what for one in record(trace.calls, "/t", {0: tree})[0]] == [
        Write(-8, 0, b"x"),
        Name(ROOT, "b", -8, old=(-7, "a")),
    ]


def test_files_of_others_and_the_index_of_the_log_are_left_out(trace: Trace) -> None:
    for path in (b"/elsewhere/a", b"/t/b", b"/t/0/state.db-shm"):
        trace.open(path)
        trace.write(b"x", 0)
    assert trace.what() == []


def test_what_is_not_modelled_is_refused(trace: Trace) -> None:
    trace.open(b"/t/0/a")
    trace.call("writev", str(FD), "[]", "1")
    with pytest.raises(ValueError, match="writev"):
        trace.what()
