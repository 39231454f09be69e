"""strace's log -> system calls. Pure.

Read is what `strace -f -xx -o log` writes: one line a call, or two (`<unfinished ...>`, `resumed`) where
another thread's came in between. So a call lasts from the line of its start to that of its end, and no line
is cut short (`-s`) or has a character in it that is not ASCII (`-xx`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# What changes files or names, says that it lasts, or makes and takes a descriptor.
TRACED = (
    *("openat", "close", "write", "pwrite64", "ftruncate", "copy_file_range", "ioctl"),
    *("fsync", "fdatasync", "link", "linkat", "rename", "renameat", "renameat2"),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
    # Nobody uses these. If somebody begins to, `recording` refuses them: better than a harness that is blind.
    *("pwritev", "pwritev2", "writev", "truncate", "sync_file_range", "fallocate", "dup2", "dup3"),
)
MOST_BYTES = 1 << 20  # of one write; a longer one is refused below

_LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_RESULT = re.compile(r"(.*)\) += (-?\d+|\?).*", re.DOTALL)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


class Call(NamedTuple):
    """A system call. `start` and `end` are line numbers; without an end it was still running at the last."""

    name: str
    arguments: tuple[str | bytes, ...]  # strings of the program's as bytes, the rest as strace shows it
    result: int | None
    start: int
    end: int | None

    @property
    def succeeded(self) -> bool:
        return self.result is not None and self.result >= 0


def calls(lines: Iterable[str]) -> list[Call]:
    """All calls, by their start. Raises: ValueError for a line that is none of strace's."""
    return sorted(_calls(lines), key=lambda call: call.start)


def _calls(lines: Iterable[str]) -> Iterator[Call]:
    running: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(lines):
        if line.split(maxsplit=1)[1][:3] in ("+++", "---"):  # a thread's end, a signal
            continue
        found = _LINE.fullmatch(line.rstrip("\n"))
        if found is None:
            raise ValueError(f"line {number} of the trace: {line[:100]!r}")
        thread, resumed, name, rest = found.groups()
        if rest.endswith(_UNFINISHED):
            running[thread] = name, rest.removesuffix(_UNFINISHED), number
        elif resumed is not None:
            name, begun, start = running.pop(thread)
            yield _call(name, begun + rest, start, number)
        else:
            yield _call(name, rest, number, number)
    for name, begun, start in running.values():
        yield Call(name, _arguments(begun), None, start, None)


def _call(name: str, text: str, start: int, end: int) -> Call:
    found = _RESULT.fullmatch(text)
    if found is None:
        raise ValueError(f"lines {start} to {end} of the trace: {name}({text[:100]!r}")
    arguments, result = found.groups()
    return Call(name, _arguments(arguments), None if result == "?" else int(result), start, end)


def _arguments(text: str) -> tuple[str | bytes, ...]:
    return tuple(_argument(part) for part in text.split(", ")) if text else ()


def _argument(text: str) -> str | bytes:
    if not text.startswith('"'):
        return text
    found = _STRING.fullmatch(text)
    if found is None or found[2]:
        raise ValueError(f"the trace has cut a string: {text[-100:]!r}")
    return bytes.fromhex(found[1].replace("\\x", ""))
