"""How the process ends: the exit codes, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `penstock`. They are an interface: service managers and scripts look at them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DATA_BUSY = 3
    CANNOT_BIND = 4
    DATA_UNUSABLE = 5
    UNREACHABLE = 6
    REFUSED = 7
    CANCELLED = 8
    INTERRUPTED = 130  # as shells count SIGINT

    @property
    def meaning(self) -> str:
        return MEANINGS[self]


MEANINGS = {
    Exit.OK: "done; of a server: stopped as asked",
    Exit.FAILED: "an unexpected failure; of upload and watch: some files failed; "
    "of a server: something was still stuck when the drain timeout had passed",
    Exit.USAGE: "a wrong option, argument, setting or TOML file",
    Exit.DATA_BUSY: "another process uses the data directory",
    Exit.CANNOT_BIND: "the address cannot be listened on (in use, not ours, not permitted)",
    Exit.DATA_UNUSABLE: "the data directory cannot be used (permissions, read-only, newer format)",
    Exit.UNREACHABLE: "the server cannot be reached, also after retries; an upload can be resumed",
    Exit.REFUSED: "the server refused",
    Exit.CANCELLED: "the upload was cancelled",
    Exit.INTERRUPTED: "interrupted; an upload can be resumed",
}


class CannotRun(Exception):
    """The server cannot start or go on. The message is for the operator and names the next step."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code
