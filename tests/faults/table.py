"""The faults of the stores, and what clients and watchers see of each: the table of docs/reliability.md.

`PYTHONPATH=. python -P -m tests.faults.table` prints it; `test_store_faults.py` makes every row happen.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from tests.storage.faulty_connection import ERROR_NAMES

RESUMING = ("PUT with Content-Range", "tus", "draft")
SMALL = ("form of small files",)
CANCELS = ("DELETE", "tus DELETE", "draft DELETE")
LOOKS = ("GET of the session", "polling")
CREATIONS = ("POST of a session", "tus POST", "draft POST", "form to /api/upload")
SENDERS = ("PUT", "PUT with Content-Range", "form", "tus", "draft")
BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"


class Fault(NamedTuple):
    """In words, and the errors by which the kernel or SQLite says it."""

    words: str
    errors: tuple[int, ...]
    names: Mapping[int, str] = errno.errorcode

    def __str__(self) -> str:
        return f"{self.words} ({', '.join(self.names[one] for one in self.errors)})"


FULL = Fault("disk full", (errno.ENOSPC, errno.EDQUOT))
BROKEN = Fault("disk error", (errno.EIO,))
READ_ONLY = Fault("file system read-only", (errno.EROFS,))
VANISHED = Fault("`incoming/` has vanished", (errno.ENOENT,))
UNUSABLE = Fault("disk unusable", (errno.EIO, errno.EROFS, errno.EMFILE))


LOCKED = Fault("database locked", (sqlite3.SQLITE_BUSY,), ERROR_NAMES)
DATABASE_FULL = Fault("database: disk full", (sqlite3.SQLITE_FULL,), ERROR_NAMES)
DATABASE_BROKEN = Fault(
    "database: disk error", (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_READONLY), ERROR_NAMES
)
UNREADABLE = Fault("database unreadable", (sqlite3.SQLITE_IOERR_READ,), ERROR_NAMES)


class Statement(NamedTuple):
    """The `nth` statement of the database with this in it fails; `lasting`: all later ones, too."""

    containing: str
    nth: int = 1
    lasting: bool = True


class Strike(NamedTuple):
    """The call of the kernel that fails: the `nth` on a path with this in it; `lasting`: all later, too."""

    call: str
    path: str
    nth: int = 1
    lasting: bool = True


class Next(Enum):
    """What the client does when the fault is over."""

    RESUME = "asks for the offset (`HEAD`) and goes on from there"
    ANEW = "sends all of it again, as a new attempt; over tus and the draft it creates a new upload"
    NOTHING = "nothing: the file is complete when somebody asks for it, or at the janitor's next round"
    AGAIN = "sends the same request again"
    DONE = "nothing: the second try was a success"
    SWEPT = "nothing: it is cancelled, and the janitor sweeps what could not be removed"


class Head(Enum):
    """What HEAD on the file is answered while the fault lasts."""

    OFFSET = "the offset"
    LOCKED = "423"
    FAILED = "410; on the PUT URL `Upload-State: failed`"
    GONE = "410, or 423 for a while"
    UNKNOWN = "-"  # of no interest


class Row(NamedTuple):
    """One fault at one place, of one kind of request."""

    fault: Fault
    where: str
    strike: Strike | Statement
    request: str  # which scene is played
    senders: tuple[str, ...]
    answer: tuple[int, str]
    head: Head
    watchers: tuple[str, ...]
    next: Next


STARTED = "upload-started"
STORAGE_FULL = "session-error INSUFFICIENT_STORAGE pause"
TROUBLE = "session-error SERVER_ERROR pause"
DONE = (STARTED, "upload-completed", "session-completed")
CANCELLED = (STARTED, "upload-cancelled", "session-completed")
LOST = (STARTED, "upload-failed SERVER_ERROR final", "session-completed")


def _retrying(code: str) -> tuple[str, ...]:
    return (STARTED, f"upload-failed {code} canRetry", f"session-error {code} pause")


IS_FULL, IS_BROKEN, WELL = (507, "INSUFFICIENT_STORAGE"), (500, "SERVER_ERROR"), (200, "")
INCOMING, PUBLISHED = "/incoming", "/upload/"
OPENING = Strike("open", INCOMING)
WRITING = Strike("pwrite", INCOMING, nth=3)
SYNCING = Strike("fdatasync", INCOMING, lasting=False)
LINKING = Strike("link", PUBLISHED)
COPYING = Strike("copy_file_range", INCOMING)

# A table: two lines a row.
# fmt: off
ROWS = (
    # Bytes on their way
    Row(FULL, "opening the file, before its first byte", OPENING,
        "send", SENDERS, IS_FULL, Head.OFFSET, (STORAGE_FULL,), Next.RESUME),
    Row(UNUSABLE, "opening the file, before its first byte", OPENING,
        "send", ("tus",), IS_BROKEN, Head.OFFSET, (TROUBLE,), Next.RESUME),
    Row(BROKEN, "making its name durable, before its first byte", Strike("fsync", INCOMING),
        "send", ("PUT", "form"), IS_BROKEN, Head.OFFSET, (TROUBLE,), Next.RESUME),
    Row(FULL, "writing, in the middle of the body", WRITING,
        "send", SENDERS, IS_FULL, Head.OFFSET, _retrying("INSUFFICIENT_STORAGE"), Next.RESUME),
    Row(UNUSABLE, "writing, in the middle of the body", WRITING,
        "send", ("PUT",), IS_BROKEN, Head.OFFSET, _retrying("SERVER_ERROR"), Next.RESUME),
    Row(BROKEN, "syncing, in the middle of the body", SYNCING,
        "send, syncing often", ("form", "draft"), IS_BROKEN, Head.FAILED, LOST, Next.ANEW),
    Row(BROKEN, "syncing, at the end of the body", SYNCING,
        "send", SENDERS, IS_BROKEN, Head.FAILED, LOST, Next.ANEW),
    Row(BROKEN, "syncing, before it is published", SYNCING._replace(nth=2),
        "send", ("PUT", "tus"), IS_BROKEN, Head.FAILED, LOST, Next.ANEW),
    Row(FULL, "giving it its final name", LINKING,
        "send", SENDERS, IS_FULL, Head.LOCKED, (STARTED, STORAGE_FULL), Next.NOTHING),
    Row(UNUSABLE, "giving it its final name", LINKING,
        "send", ("form",), IS_BROKEN, Head.LOCKED, (STARTED, TROUBLE), Next.NOTHING),
    Row(BROKEN, "making its final name durable", Strike("fsync", PUBLISHED),
        "send", ("PUT", "draft"), IS_BROKEN, Head.LOCKED, (STARTED, TROUBLE), Next.NOTHING),
    Row(VANISHED, "opening the file to go on, but its bytes are gone", OPENING,
        "go on", RESUMING, IS_BROKEN, Head.FAILED, LOST, Next.ANEW),
    Row(BROKEN, "opening the file to go on", OPENING,
        "go on", RESUMING, IS_BROKEN, Head.OFFSET, _retrying("SERVER_ERROR"), Next.RESUME),
    Row(FULL, "writing small files", WRITING._replace(nth=1),
        "send", SMALL, IS_FULL, Head.OFFSET, _retrying("INSUFFICIENT_STORAGE"), Next.RESUME),
    Row(UNUSABLE, "opening small files", OPENING,
        "send", SMALL, IS_BROKEN, Head.OFFSET, (TROUBLE,), Next.RESUME),
    Row(BROKEN, "syncing small files, once", SYNCING,
        "send", SMALL, WELL, Head.OFFSET, DONE, Next.DONE),
    Row(READ_ONLY, "giving small files their final names", LINKING,
        "send", SMALL, IS_BROKEN, Head.LOCKED, (STARTED, TROUBLE), Next.NOTHING),
    Row(BROKEN, "syncing what came before a pause that was acknowledged", SYNCING,
        "pause", SENDERS, IS_BROKEN, Head.FAILED, (STARTED, "paused", *LOST[1:]), Next.ANEW),
    Row(BROKEN, "removing the bytes of a cancelled file", Strike("unlink", INCOMING),
        "cancel", CANCELS, IS_BROKEN, Head.GONE, CANCELLED, Next.SWEPT),
    # After a restart
    Row(UNUSABLE, "looking at a file for the first time after a restart", Strike("stat", INCOMING),
        "rest", RESUMING, IS_BROKEN, Head.LOCKED, (), Next.RESUME),
    Row(BROKEN, "syncing a file for the first time after a restart", SYNCING,
        "rest", ("tus", "draft"), (410, "UPLOAD_FAILED"), Head.FAILED, LOST[1:], Next.ANEW),
    Row(BROKEN, "syncing a file for the first time after a restart", SYNCING,
        "rest", ("PUT with Content-Range",), (409, "UPLOAD_FAILED"), Head.FAILED, LOST[1:], Next.ANEW),
    # Without bytes
    Row(UNUSABLE, "opening a finished file", Strike("open", PUBLISHED),
        "download", ("GET", "HEAD"), IS_BROKEN, Head.OFFSET, DONE, Next.AGAIN),
    Row(VANISHED, "opening a finished file that somebody has removed", Strike("open", PUBLISHED),
        "download", ("GET", "HEAD"), (404, "FILE_NOT_FOUND"), Head.OFFSET, DONE, Next.AGAIN),
    Row(UNUSABLE, "any call", Strike("", ""),
        "look", LOOKS, WELL, Head.OFFSET, (), Next.AGAIN),
    Row(UNUSABLE, "asking how much room there is", Strike("fstatvfs", ""),
        "create", ("POST of a session", "tus POST", "draft POST"), IS_BROKEN, Head.OFFSET, (), Next.AGAIN),
    Row(FULL, "writing the only file of a new session", Strike("pwrite", INCOMING),
        "create", ("form to /api/upload",), IS_FULL, Head.OFFSET, (), Next.AGAIN),
    Row(FULL, "copying partials", COPYING,
        "concatenate", ("tus POST",), IS_FULL, Head.UNKNOWN, _retrying("INSUFFICIENT_STORAGE"), Next.AGAIN),
    Row(BROKEN, "copying partials", COPYING,
        "concatenate", ("tus POST",), IS_BROKEN, Head.UNKNOWN, _retrying("SERVER_ERROR"), Next.AGAIN),
    # The database
    Row(LOCKED, "committing the first byte", Statement("BEGIN"),
        "send", SENDERS, IS_BROKEN, Head.OFFSET, (TROUBLE,), Next.RESUME),
    Row(DATABASE_FULL, "committing the first byte", Statement("COMMIT"),
        "send", ("form", "draft"), IS_FULL, Head.OFFSET, (STORAGE_FULL,), Next.RESUME),
    Row(DATABASE_BROKEN, "committing an offset, in the middle of the body", Statement("COMMIT", nth=2),
        "send, syncing often", ("PUT", "tus"), IS_BROKEN, Head.LOCKED, (STARTED, TROUBLE), Next.RESUME),
    Row(DATABASE_FULL, "committing the offset at the end of the body", Statement("COMMIT", nth=2),
        "send", SENDERS, IS_FULL, Head.LOCKED, (STARTED, STORAGE_FULL), Next.NOTHING),
    Row(LOCKED, "committing the final name", Statement("BEGIN", nth=3),
        "send", ("form", "draft"), IS_BROKEN, Head.LOCKED, (STARTED, TROUBLE), Next.NOTHING),
    Row(DATABASE_FULL, "committing that it is complete", Statement("COMMIT", nth=4),
        "send", SENDERS, IS_FULL, Head.LOCKED, (STARTED, STORAGE_FULL), Next.NOTHING),
    Row(DATABASE_FULL, "committing small files", Statement("COMMIT"),
        "send", SMALL, IS_FULL, Head.OFFSET, (STORAGE_FULL,), Next.RESUME),
    Row(LOCKED, "committing a pause", Statement("BEGIN"),
        "refused pause", ("PUT", "tus"), IS_BROKEN, Head.LOCKED, (STARTED, TROUBLE), Next.RESUME),
    Row(DATABASE_FULL, "committing a cancel", Statement("COMMIT"),
        "cancel", CANCELS, IS_FULL, Head.OFFSET, (STARTED, STORAGE_FULL), Next.AGAIN),
    Row(DATABASE_FULL, "committing something new", Statement("COMMIT"),
        "create", CREATIONS, IS_FULL, Head.OFFSET, (), Next.AGAIN),
    Row(UNREADABLE, "finding an upload by its URL", Statement("SELECT"),
        "rest", ("tus", "draft"), IS_BROKEN, Head.LOCKED, (), Next.RESUME),
    Row(UNREADABLE, "finding a finished file", Statement("SELECT"),
        "download", ("GET", "HEAD"), IS_BROKEN, Head.UNKNOWN, DONE, Next.AGAIN),
    Row(DATABASE_FULL, "committing a final", Statement("COMMIT"),
        "concatenate", ("tus POST",), IS_FULL, Head.OFFSET, (STORAGE_FULL,), Next.AGAIN),
)
# fmt: on


def markdown() -> str:
    """A line a row."""
    heads = (
        "fault",
        "where it strikes",
        "request",
        "answer",
        "`HEAD` then",
        "watchers see",
        "afterwards",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *map(_line, ROWS)]
    return "".join(f"{line}\n" for line in lines)


def _line(row: Row) -> str:
    status, code = row.answer
    answer = f"{status} `{code}`" if status else "as without a fault"
    cells = (
        str(row.fault),
        row.where,
        _senders(row.senders),
        answer,
        row.head.value,
        ", ".join(f"`{fact}`" for fact in row.watchers) or "nothing",
        row.next.value,
    )
    return f"| {' | '.join(cells)} |"


def _senders(senders: tuple[str, ...]) -> str:
    return "any upload" if senders == SENDERS else ", ".join(senders)


if __name__ == "__main__":
    print(markdown(), end="")
