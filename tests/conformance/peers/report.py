"""docs/conformance.md: what `make conformance` found, in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.conformance.lines import LEVELS
from tests.conformance.scores import Result, Score, scores

SUITES = {
    "tus": "tus 1.0.0",
    "rufh": "The IETF draft (interop version 8; 6, 5 and 3 as dialects)",
}
MEANINGS = {
    "M": "the specification demands it",
    "S": "the specification recommends it",
    "C": "the specification is silent, deployed clients depend on it",
    "U": "what a server that keeps people's uploads should do besides: no lost bytes, no lies, no hangs",
}
HEAD = """\
# Conformance

<!-- Written by `make conformance`; do not edit. -->

The protocols' rules as tests, line by line, over the wire and without a look inside. They live in
`tests/conformance/tus` and `tests/conformance/rufh`, and run against any server:

```sh
make conformance                                   # all of this page: installs the peers, writes it anew
.venv/bin/python -P -m pytest -m "tus or rufh"     # Penstock; part of `make test`
.venv/bin/python -P -m pytest tests/conformance/tus --url http://127.0.0.1:1080/files/
.venv/bin/python -P -m pytest tests/conformance/tus --serve 'my-server --dir {directory}'
```

`--url` talks to a server that runs (`--limited-url` names one with a small `Tus-Max-Size`, `--field`
adds a header to each request, `--origin` is a web origin it allows). `--serve` starts the command for
every test anew, in an empty directory, and waits for a line `ready at <creation URL>`: then crashes and
restarts are tested, too. A command that exits with code 2 when it gets `--max-file-bytes N` or
`--retention-s N` has no such option. Whatever a run cannot give, or a server does not offer, is skipped
and says so.

A line has a level:
"""


class Run(NamedTuple):
    """A server, and what came out."""

    name: str
    version: str
    results: list[Result]


def report(runs: list[Run]) -> str:
    return (
        "\n".join([HEAD, *_levels(), *_servers(runs), *_tables(runs), *_failures(runs), *_skips(runs)]) + "\n"
    )


def _levels() -> Iterator[str]:
    yield "| level | |"
    yield "|---|---|"
    yield from (f"| {level} | {MEANINGS[level]} |" for level in LEVELS)
    yield ""


def _servers(runs: list[Run]) -> Iterator[str]:
    yield "Each peer is a few lines around the library as its own documentation shows it, in `bench/servers`."
    yield ""
    yield "| server | version |"
    yield "|---|---|"
    yield from (f"| {run.name} | {run.version} |" for run in runs)
    yield ""


def _tables(runs: list[Run]) -> Iterator[str]:
    for suite, title in SUITES.items():
        taking_part = [run for run in runs if any(result.suite == suite for result in run.results)]
        if taking_part:
            yield f"## {title}"
            yield ""
            yield "Lines that hold, of those that could be tested; in brackets those that could not."
            yield ""
            yield f"| server | {' | '.join(LEVELS)} |"
            yield f"|---|{'---|' * len(LEVELS)}"
            for run in taking_part:
                table = scores(run.results)
                cells = (_cell(table.get((suite, level), Score())) for level in LEVELS)
                yield f"| {run.name} | {' | '.join(cells)} |"
            yield ""


def _cell(score: Score) -> str:
    tested = f"{score.passed} / {score.passed + score.failed}"
    return f"{tested} ({score.skipped})" if score.skipped else tested


def _failures(runs: list[Run]) -> Iterator[str]:
    yield "## Lines that do not hold"
    yield ""
    for run in runs:
        failed = [result for result in run.results if result.outcome == "failed"]
        yield f"### {run.name}"
        yield ""
        if not failed:
            yield "None."
        for (suite, level, line), statements in sorted(_by_line(failed).items(), key=_order):
            yield f"* {suite} {line} ({level}): {'; '.join(statements)}"
        yield ""


def _order(item: tuple[tuple[str, str, str], list[str]]) -> tuple[str, int, str, int]:
    (suite, level, line), _ = item
    letters = line.rstrip("0123456789")
    return suite, LEVELS.index(level), letters, int(line.removeprefix(letters))


def _by_line(results: Iterable[Result]) -> dict[tuple[str, str, str], list[str]]:
    """What the failing tests say, once each, in the order of the suite."""
    lines: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for result in results:
        statements = lines[_line(result)]
        if result.statement not in statements:
            statements.append(result.statement)
    return lines


def _skips(runs: list[Run]) -> Iterator[str]:
    yield "## Lines that could not be tested"
    yield ""
    for run in runs:
        tested = {_line(result) for result in run.results if result.outcome != "skipped"}
        reasons: dict[str, dict[str, None]] = defaultdict(dict)  # sets that keep their order
        for result in run.results:
            if _line(result) not in tested:
                reasons[result.reason][f"{result.suite} {result.id}"] = None
        yield f"### {run.name}"
        yield ""
        yield from (f"* {reason}: {', '.join(lines)}" for reason, lines in sorted(reasons.items()))
        yield from () if reasons else ("None.",)
        yield ""


def _line(result: Result) -> tuple[str, str, str]:
    return result.suite, result.level, result.id
