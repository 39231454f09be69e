"""Whether the harness sees what it looks for: seeded bugs are found, and its parts are reproducible."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random
from types import ModuleType
from typing import NamedTuple

import h11
import pytest

from penstock.protocol import (
    conditions,
    content_range,
    decoding,
    forwarded,
    http_ranges,
    multipart_form,
    names,
    tus_metadata,
    upload_resources,
)
from penstock.server.edge import guard, incoming
from tests.fuzz import run
from tests.fuzz.minimise import minimised
from tests.fuzz.mutate import CHANGES, Mutator, cut
from tests.fuzz.run import attempt, fuzz
from tests.fuzz.steps import calls_of
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

RUNS = 3000  # each bug is found within
CORPUS = (b"one", b"two, three", b"")


class Bug(NamedTuple):
    """A name in a module of ours gets a wrong value, and a target must notice."""

    target: str
    module: ModuleType
    name: str
    wrong: object


def _date_as_it_was(text: str) -> int | None:
    """As it was before this harness found the OverflowError."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError):
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def _one_byte(request: h11.Request) -> int:
    return 1


def _surrogates(text: str) -> str:
    return text.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


BUGS = {
    "an exception nobody expects": Bug("conditions", conditions, "_unix_s", _date_as_it_was),
    "giant numbers": Bug("content-range", content_range, "_FIELD", re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")),
    "too many spans": Bug("range", http_ranges, "MAX_RANGES", 1000),
    "overlong UTF-8": Bug("json", decoding, "UnicodeError", ZeroDivisionError),
    "a path as a host": Bug("forwarded", forwarded, "_HOST", re.compile(r"[^ ]+")),
    "another name's Host": Bug("host-and-origin", guard, "_HOST_VALUE", re.compile(r".*")),
    "lone surrogates": Bug("part-head", multipart_form, "decoded", _surrogates),
    "control characters": Bug("names", names, "_UNSAFE", re.compile(r"[/:]")),
    "names cut too late": Bug("names", names, "MAX_SAFE_NAME_BYTES", 256),
    "ids with a dot": Bug("identities", names, "_FILE_ID", re.compile(r"[^/]{1,128}")),
    "no limit of keys": Bug("tus-metadata", tus_metadata, "MAX_KEYS", 10**6),
    "shorter upload ids": Bug("upload-url", upload_resources, "_PATH", re.compile(r".*/([0-9a-f]+)")),
    "two paths, two bodies": Bug("http1", incoming, "_content_length", _one_byte),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_seeded_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    target = TARGETS[bug.target]
    monkeypatch.setattr(bug.module, bug.name, bug.wrong, raising=False)
    finding = fuzz(target, 1, lambda done: done < RUNS).finding
    assert finding is not None, "the harness is blind to it"
    _, error = attempt(target, finding.data)
    assert type(error) is type(finding.error), "the minimised input fails in the same way"
    monkeypatch.undo()
    assert attempt(target, finding.data)[1] is None


def _check_no_seven(data: bytes) -> str:
    assert b"7" not in data
    return str(len(data))


SEVEN = Target("seven", "there is no 7", (), CORPUS, _check_no_seven, (b"67", b"8"))


def test_the_same_seed_finds_the_same() -> None:
    once, again = (fuzz(SEVEN, 5, lambda done: done < RUNS) for _ in range(2))
    assert once.finding is not None
    assert again.finding is not None
    assert once.finding.data == again.finding.data == b"7"
    assert once.runs == again.runs < RUNS
    assert fuzz(SEVEN, 6, lambda done: done < RUNS).runs != once.runs


def test_an_input_with_a_new_answer_joins_the_corpus() -> None:
    calm = SEVEN._replace(check=lambda data: str(min(len(data), 40)))
    assert fuzz(calm, 1, lambda done: done < RUNS).corpus > len(CORPUS) + 10


def test_the_budget_is_kept_but_for_corpus_and_bombs() -> None:
    calm = SEVEN._replace(check=repr, bombs=(b"bomb",))
    assert fuzz(calm, 1, lambda done: False).runs == len(CORPUS) + 1
    assert fuzz(calm, 1, lambda done: done < 50).runs == 50


def test_an_input_that_keeps_the_processor_busy_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(data: bytes) -> str:
        while data:
            data = bytes(len(data))
        return "short"

    monkeypatch.setattr(run, "CPU_LIMIT_S", 0.01)
    _, error = attempt(SEVEN._replace(check=endless), b"x")
    assert isinstance(error, run.TooMuchWork)
    assert attempt(SEVEN._replace(check=endless), b"") == ("short", None)


def test_calls_show_a_square() -> None:
    def square(size: int) -> None:
        for at in range(size):
            list(map(abs, range(at)))
            for _ in range(at):
                len("")

    (small, entered), (large, _) = calls_of(lambda: square(20)), calls_of(lambda: square(80))
    assert square.__code__ in entered
    assert large > 10 * small


def test_what_is_left_out_is_what_does_not_matter() -> None:
    assert minimised(b"abcXdefYgh" * 3, lambda data: b"X" in data and b"Y" in data) in (b"XY", b"YX")
    assert minimised(b"abc", lambda data: False) == b"abc"
    assert minimised(b"", lambda data: True) == b""


def test_the_same_seed_makes_the_same_mutations() -> None:
    once, again, other = (_mutations(seed) for seed in (1, 1, 2))
    assert once == again != other
    assert all(len(data) <= 64 for data in once)
    assert len(set(once)) > 100


def _mutations(seed: int) -> list[bytes]:
    mutator = Mutator(Random(seed), (b"token",), 64)
    return [mutator.mutated(CORPUS) for _ in range(200)]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_every_change_changes_something_and_survives_nothing(change: object) -> None:
    assert callable(change)
    mutator = Mutator(Random(1), (b"token",), 64)
    mutator.others = CORPUS
    data = b"line one\nline two\n"
    assert any(change(Random(seed), data, mutator) != data for seed in range(20))
    assert isinstance(change(Random(1), b"", mutator), bytes)


@pytest.mark.parametrize("size", [0, 1, 2, 1000])
def test_a_cut_loses_nothing(size: int) -> None:
    data = bytes(at % 251 for at in range(size))
    pieces = cut(data)
    assert b"".join(pieces) == data
    assert all(pieces)
    assert cut(data) == pieces


def test_cuts_differ() -> None:
    assert len({len(cut(bytes([at]) * 50)) for at in range(50)}) > 4
