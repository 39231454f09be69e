"""The lines of a suite: every test names the line it checks, and how binding that line is.

M  the specification demands it
S  the specification recommends it
C  the specification is silent, deployed clients depend on it
U  what a server that keeps people's uploads should do besides
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, ParamSpec, Protocol

import pytest
import trio

Level = Literal["M", "S", "C", "U"]
LEVELS: tuple[Level, ...] = ("M", "S", "C", "U")

TEST_S = 30.0  # a server that hangs fails the test; nothing else is judged by it

P = ParamSpec("P")


class Mark(Protocol):
    def __call__(self, test: Callable[P, Awaitable[None]], /) -> Callable[P, None]: ...


class Line(NamedTuple):
    suite: str
    id: str
    level: Level


def tus(id: str, level: Level) -> Mark:
    """A test for a line about tus 1.0.0: `test_tus_<id>_…`."""
    return _line(Line("tus", id, level))


def rufh(id: str, level: Level) -> Mark:
    """A test for a line about draft-ietf-httpbis-resumable-upload: `test_rufh_<id>_…`."""
    return _line(Line("rufh", id, level))


def engineio(id: str, level: Level) -> Mark:
    """A test for a line about Engine.IO v4: `test_engineio_<id>_…`."""
    return _line(Line("engineio", id, level))


def socketio(id: str, level: Level) -> Mark:
    """A test for a line about Socket.IO v5: `test_socketio_<id>_…`."""
    return _line(Line("socketio", id, level))


def line_of(test: object) -> Line | None:
    line = getattr(test, "conformance_line", None)
    return line if isinstance(line, Line) else None


def _line(line: Line) -> Mark:
    """Runs the test under Trio itself: what it raises arrives as it is, in no group, and so does a skip."""

    def mark(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
        if not test.__name__.startswith(f"test_{line.suite}_{line.id}_"):
            raise ValueError(f"{test.__name__} says another line than {line.suite} {line.id}")

        @functools.wraps(test)
        def bounded(*args: P.args, **kwargs: P.kwargs) -> None:
            async def run() -> None:
                with trio.move_on_after(TEST_S) as scope:
                    await test(*args, **kwargs)
                assert not scope.cancelled_caught, f"not done within {TEST_S:.0f} s"

            trio.run(run)

        bounded.conformance_line = line  # type: ignore[attr-defined]  # functions take attributes
        return getattr(pytest.mark, line.suite)(bounded)  # type: ignore[no-any-return]  # it is `bounded`

    return mark
