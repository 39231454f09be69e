"""What system calls do to the files of a scenario: the vocabulary of the recording and of the disk."""

from __future__ import annotations

from typing import NamedTuple

ROOT = 0  # the inode of a scenario's directory, which is there and durable before anything begins


class Found(NamedTuple):
    """What lies at a path: files with one inode are one file."""

    inode: int
    content: bytes | None  # None: a directory


Tree = dict[str, Found]  # by path; directories come before what is in them


class Operation(NamedTuple):
    """What one call did, and when: from line `start` of the trace to line `end` (None: it did not return)."""

    start: int
    end: int | None
    what: What


class Write(NamedTuple):
    inode: int
    at: int
    data: bytes


class Truncate(NamedTuple):
    inode: int
    size: int


class SyncData(NamedTuple):
    """fsync or fdatasync of a file: a changed size is synced by both."""

    inode: int


class Name(NamedTuple):
    """A name for an inode, new (creation, mkdir, link) or moved there (rename) from `old`."""

    directory: int
    name: str
    inode: int
    is_directory: bool = False
    old: tuple[int, str] | None = None


class Unname(NamedTuple):
    directory: int
    name: str
    inode: int


class SyncNames(NamedTuple):
    """fsync of a directory."""

    directory: int


class Tell(NamedTuple):
    """The program noted what somebody was told."""

    line: bytes


What = Write | Truncate | SyncData | Name | Unname | SyncNames | Tell


def before(inode: int) -> int:
    """An inode of an earlier recording in this one: new ones are positive."""
    return -abs(inode)
