"""Work as a count of function calls: the same on every machine, however busy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType


def calls_of(work: Callable[[], object]) -> tuple[int, set[CodeType]]:
    """How many functions were entered, built-in ones too, and which of them were Python's."""
    count = 0
    entered: set[CodeType] = set()

    def entering(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        if event == "call":
            entered.add(frame.f_code)
        if event in ("call", "c_call"):
            count += 1

    before = sys.getprofile()
    sys.setprofile(entering)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count, entered
