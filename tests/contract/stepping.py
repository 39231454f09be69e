"""Doing something at a known moment of a call: between its first step and the rest."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from types import coroutine
from typing import Any


@coroutine
def stepped(call: Coroutine[Any, Any, None], then: Callable[[], None]) -> Generator[Any, Any, None]:
    """Await `call`, with `then` done when it yields for the first time."""
    trap = call.send(None)
    then()
    with suppress(StopIteration):
        while True:
            trap = call.send((yield trap))
