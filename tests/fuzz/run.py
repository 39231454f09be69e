"""Fuzzing one target: bombs and corpus, then mutations, until a promise breaks or the budget is spent."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import FrameType
from typing import NamedTuple

from tests.fuzz.minimise import minimised
from tests.fuzz.mutate import Mutator
from tests.fuzz.target import Target

MAX_CORPUS = 300  # beyond it newcomers take the place of newcomers
CPU_LIMIT_S = 20  # of one input; an honest one takes milliseconds


class TooMuchWork(BaseException):
    """An input keeps the processor busy. A `BaseException`: no parser may take it for a wrong input."""


class Finding(NamedTuple):
    """A broken promise. The same seed and run find it again."""

    data: bytes  # minimised
    error: BaseException
    run: int


class Result(NamedTuple):
    runs: int
    corpus: int
    finding: Finding | None


def fuzz(target: Target, seed: int, go_on: Callable[[int], bool]) -> Result:
    """`go_on` is asked with the number of runs before each; corpus and bombs come in any case."""
    rng = Random(f"{seed} {target.name}")
    mutator = Mutator(rng, target.tokens, target.max_bytes)
    seeds, corpus, answers = len(target.corpus), list(target.corpus), set[str]()
    runs = 0
    for data in _inputs(target, mutator, corpus):
        if runs >= seeds + len(target.bombs) and not go_on(runs):
            break
        runs += 1
        answer, error = attempt(target, data)
        if error is not None:
            finding = Finding(minimised(data, _same_failure(target, error)), error, runs)
            return Result(runs, len(corpus), finding)
        if answer not in answers and runs > seeds + len(target.bombs):
            _keep(corpus, data, seeds, rng)
        answers.add(answer)
    return Result(runs, len(corpus), None)


def attempt(target: Target, data: bytes) -> tuple[str, BaseException | None]:
    """The answer to one input, and what broke the promise if something did."""
    try:
        with _cpu_limit():
            return target.check(data), None
    except (Exception, TooMuchWork) as error:
        return "", error


def _inputs(target: Target, mutator: Mutator, corpus: list[bytes]) -> Iterator[bytes]:
    yield from target.bombs
    yield from target.corpus
    while True:
        yield mutator.mutated(corpus)


def _keep(corpus: list[bytes], data: bytes, seeds: int, rng: Random) -> None:
    if len(corpus) < seeds + MAX_CORPUS:
        corpus.append(data)
    else:
        corpus[rng.randrange(seeds, len(corpus))] = data


def _same_failure(target: Target, error: BaseException) -> Callable[[bytes], bool]:
    wanted = _place(error)

    def fails(data: bytes) -> bool:
        _, found = attempt(target, data)
        return found is not None and _place(found) == wanted

    return fails


def _place(error: BaseException) -> tuple[object, ...]:
    """What makes two failures one: the type, and the line that raised it; of a group its first leaf's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TooMuchWork):
        return (TooMuchWork,)  # wherever it was at that moment
    last = traceback.extract_tb(error.__traceback__)[-1]
    return type(error), last.filename, last.lineno


@contextmanager
def _cpu_limit() -> Iterator[None]:
    def over(signum: int, frame: FrameType | None) -> None:
        raise TooMuchWork(f"one input took more than {CPU_LIMIT_S} s of processor time")

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
