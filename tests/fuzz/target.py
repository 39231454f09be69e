"""What a fuzz target is: a parser of clients' bytes, and the one sentence it has to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

MAX_BYTES = 2048  # of a mutated input, where a target says nothing else


class Target(NamedTuple):
    name: str
    promise: str
    covers: tuple[Callable[..., Any], ...]  # the parsers that `check` calls
    corpus: tuple[bytes, ...]  # well-formed, or nearly: what mutation starts from
    check: Callable[[bytes], str]
    """Raises where the promise is broken. Else says in short what the answer was: an input that brings an
    answer not seen before joins the corpus."""
    tokens: tuple[bytes, ...] = ()  # pieces of the grammar, to be thrown in anywhere
    bombs: tuple[bytes, ...] = ()  # too large to be mutated: checked once a run
    max_bytes: int = MAX_BYTES
    short_runs: int = 400  # in the tests; fewer where an input costs an event loop
