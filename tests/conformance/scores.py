"""How a server does: each test's outcome, and by suite and level how many lines hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

Outcome = Literal["passed", "failed", "skipped"]
WORST_FIRST: tuple[Outcome, ...] = ("failed", "passed", "skipped")


class Result(msgspec.Struct, frozen=True):
    suite: str
    id: str
    level: str
    test: str  # the name with its parameters
    outcome: Outcome
    reason: str = ""

    @property
    def statement(self) -> str:
        """What the test says about the line: its name without the id and the parameters."""
        words = self.test.partition("[")[0].removeprefix(f"test_{self.suite}_{self.id}_")
        return words.replace("_", " ")


class Score(msgspec.Struct):
    """Of one suite and level, in lines: one failing test fails its line, else one passing test is enough."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


def scores(results: Iterable[Result]) -> dict[tuple[str, str], Score]:
    """By suite and level."""
    lines: dict[tuple[str, str, str], set[Outcome]] = defaultdict(set)
    for result in results:
        lines[result.suite, result.level, result.id].add(result.outcome)
    table: dict[tuple[str, str], Score] = defaultdict(Score)
    for (suite, level, _), outcomes in lines.items():
        worst = next(outcome for outcome in WORST_FIRST if outcome in outcomes)
        score = table[suite, level]
        setattr(score, worst, getattr(score, worst) + 1)
    return dict(table)


def in_words(results: Iterable[Result], levels: Iterable[str]) -> Iterator[str]:
    """A line for each suite and level."""
    table = scores(results)
    for suite in sorted({suite for suite, _ in table}):
        for level in levels:
            if score := table.get((suite, level)):
                yield (
                    f"{suite} {level}: {score.passed} lines passed, {score.failed} failed, "
                    f"{score.skipped} skipped"
                )


def write(path: Path, results: list[Result]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results)))


def read(path: Path) -> list[Result]:
    return msgspec.json.decode(path.read_bytes(), type=list[Result])
