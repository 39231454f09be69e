"""What goes wrong for a client. Every error that ends a command says what to do next."""

from __future__ import annotations

from penstock.server.exits import Exit


class ClientError(Exception):
    """Ends a command. `advice` is the next step, `code` the exit code."""

    def __init__(self, message: str, advice: str, code: Exit) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code


class Unreachable(ClientError):
    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message, advice, Exit.UNREACHABLE)


class Refused(ClientError):
    """The server said no. `problem` is the stable code of its answer, such as FILE_NOT_FOUND."""

    def __init__(self, message: str, advice: str, *, status: int, problem: str = "") -> None:
        super().__init__(message, advice, Exit.REFUSED)
        self.status = status
        self.problem = problem


class Again(Exception):
    """A request that may do better later: the connection broke, or the server asked for time.

    `after_s`: what the server asked for; 0: nothing.
    """

    def __init__(self, reason: str, *, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s


class Locked(Again):
    """Another request writes the file, mostly our own broken one; or the file is paused."""


class Stopped(Exception):
    """The file was cancelled, here or by somebody else."""


class SourceError(Exception):
    """The bytes to be sent are not what they were, or cannot be read. The message is for people."""


def in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
