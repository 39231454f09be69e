"""strace's lines as calls, those of several threads, too."""

from __future__ import annotations

import pytest

from tests.powercut.strace import Call, calls


def test_a_call_in_one_line() -> None:
    line = r'12  openat(AT_FDCWD, "\x2f\x61", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 4' + "\n"
    assert calls([line]) == [
        Call("openat", ("AT_FDCWD", b"/a", "O_RDWR|O_CREAT|O_CLOEXEC", "0600"), 4, 0, 0),
    ]


def test_a_failed_call_and_one_without_a_result() -> None:
    failed, lost = calls(
        [r'12  unlink("\x61")           = -1 ENOENT (No such file or directory)', "12  fsync(3) = ?"]
    )
    assert (failed.succeeded, failed.result, lost.succeeded, lost.result) == (False, -1, False, None)


def test_threads_in_between() -> None:
    """The first to begin comes first, whoever ends first."""
    lines = [
        "12  fdatasync(4 <unfinished ...>",
        r'13  pwrite64(5, "\x00\xff", 2, 7 <unfinished ...>',
        "13  <... pwrite64 resumed>)           = 2",
        "12  <... fdatasync resumed>)          = 0",
        "12  close(4)                          = 0",
    ]
    assert calls(lines) == [
        Call("fdatasync", ("4",), 0, 0, 3),
        Call("pwrite64", ("5", b"\0\xff", "2", "7"), 2, 1, 2),
        Call("close", ("4",), 0, 4, 4),
    ]


def test_a_call_that_never_returned() -> None:
    assert calls(["12  fsync(4 <unfinished ...>"]) == [Call("fsync", ("4",), None, 0, None)]


def test_ends_and_signals_are_no_calls() -> None:
    assert calls(["12  +++ exited with 0 +++", "13  --- SIGCHLD {si_signo=SIGCHLD} ---"]) == []


@pytest.mark.parametrize(
    "line",
    [r'12  write(3, "\x61"..., 5) = 5', "12  nonsense", "12  close(3)", '12  write(3, "a", 1) = 1'],
)
def test_what_cannot_be_understood_is_refused(line: str) -> None:
    """Cut strings, above all: a replay without them would be another story."""
    with pytest.raises(ValueError, match="trace"):
        calls([line])
