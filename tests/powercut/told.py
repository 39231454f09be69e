"""What somebody was told, and what somebody was about to ask for: the driver's lines, and what follows from
them.

The driver writes a line the moment the gateway has said something, and before it asks for something that
takes a promise back (a cancel, a removal, a new attempt). So lines and system calls have one order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

Key = tuple[str, str]  # session id, file id


class Line(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """One line."""


class Living(Line, frozen=True):
    """A process begins."""

    boot_id: str
    fsync: str


class Registered(Line, frozen=True):
    session_id: str
    file_id: str


class Asking(Line, frozen=True):
    """About to ask: for a cancel or a removal of the file, or a new attempt at it."""

    session_id: str
    file_id: str
    attempt: int  # the new one, 0: none, the file goes


class Offset(Line, frozen=True):
    session_id: str
    file_id: str
    attempt: int
    offset: int


class Gone(Line, frozen=True):
    """A cancel or a removal was answered."""

    session_id: str
    file_id: str


class Fact(Line, frozen=True):
    session_id: str
    epoch: str
    seq: int
    crc: int  # of its payload
    hard: bool  # it came with a commit that survives a power cut


class Completed(Line, frozen=True):
    session_id: str
    file_id: str
    attempt: int
    path: str


Lines = Living | Registered | Asking | Offset | Gone | Fact | Completed
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Lines)


def encode(line: Lines) -> bytes:
    return _encoder.encode(line) + b"\n"


def decode(line: bytes) -> Lines:
    decoded: Lines = _decoder.decode(line)
    return decoded


class Ledger:
    """What is promised by the lines so far."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.boot_id = ""
        self.fsync = ""
        self.rebooted = False
        self.registered: set[Key] = set()
        self.going: set[Key] = set()  # its end was asked for
        self.gone: set[Key] = set()
        self.attempts: dict[Key, int] = {}  # the newest one asked for
        self.offsets: dict[Key, tuple[int, int]] = {}  # (attempt, offset): the most that was told
        self.completed: dict[Key, Completed] = {}
        self.facts: dict[str, list[Fact]] = defaultdict(list)
        for line in lines:
            self._add(decode(line))

    def hard_seq(self, session_id: str, epoch: str) -> int:
        """The last fact of a session that a power cut must have left, and so all of that epoch before it."""
        hard = (fact.seq for fact in self.facts[session_id] if fact.hard and fact.epoch == epoch)
        return max(hard, default=0)

    def _add(self, line: Lines) -> None:
        match line:
            case Living(boot_id=boot_id, fsync=fsync):
                self._live(boot_id, fsync)
            case Registered():
                self.registered.add((line.session_id, line.file_id))
            case Asking(attempt=0):
                self.going.add((line.session_id, line.file_id))
            case Asking(attempt=attempt):
                self.attempts[line.session_id, line.file_id] = attempt
            case Offset(offset=0):
                pass  # nothing is promised, and an attempt is promised by its facts and bytes only
            case Offset():
                key = line.session_id, line.file_id
                self.offsets[key] = max(self.offsets.get(key, (0, 0)), (line.attempt, line.offset))
            case Gone():
                self.gone.add((line.session_id, line.file_id))
            case Completed():
                self.completed[line.session_id, line.file_id] = line
            case Fact():
                self.facts[line.session_id].append(line)

    def _live(self, boot_id: str, fsync: str) -> None:
        if self.boot_id not in ("", boot_id):
            self.rebooted = True
            if fsync != "append":
                self.offsets.clear()  # they were promised while the machine ran
        self.boot_id, self.fsync = boot_id, fsync
