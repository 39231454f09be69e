"""The suites' own bookkeeping: names say their lines, and a line holds only if all of its tests do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.lines import line_of, rufh, tus
from tests.conformance.peers.report import Run, report
from tests.conformance.scores import Outcome, Result, Score, in_words, read, scores, write


def result(id: str, outcome: Outcome, test: str = "") -> Result:
    return Result("tus", id, "M", test or f"test_tus_{id}_it_holds", outcome)


async def test_a_test_names_its_line() -> None:
    @tus("P11", "U")
    async def test_tus_P11_something() -> None:
        pass

    line = line_of(test_tus_P11_something)
    assert line is not None
    assert (line.suite, line.id, line.level) == ("tus", "P11", "U")
    assert line_of(test_a_test_names_its_line) is None


def test_another_name_is_refused() -> None:
    async def test_tus_P1_something() -> None:
        pass

    for mark in (tus("P11", "U"), tus("P", "U"), rufh("P1", "U")):
        with pytest.raises(ValueError, match="another line"):
            mark(test_tus_P1_something)


def test_one_failure_fails_its_line_and_one_success_is_enough_otherwise() -> None:
    results = [
        *(result("G1", "passed"), result("G1", "failed")),
        *(result("G2", "skipped"), result("G2", "passed")),
        result("G3", "skipped"),
    ]
    assert scores(results) == {("tus", "M"): Score(passed=1, failed=1, skipped=1)}
    assert list(in_words(results, "MS")) == ["tus M: 1 lines passed, 1 failed, 1 skipped"]


def test_results_survive_their_file(tmp_path: Path) -> None:
    results = [result("G1", "failed")]
    write(tmp_path / "results", results)
    assert read(tmp_path / "results") == results


def test_the_page_says_what_holds_and_what_does_not() -> None:
    failed = [result("G1", "failed", f"test_tus_G1_every_answer[{case}]") for case in "ab"]
    page = report([Run("mine", "1.0", [*failed, result("G2", "passed"), result("G3", "skipped")])])
    assert "| mine | 1.0 |" in page
    assert "| mine | 1 / 2 (1) | 0 / 0 | 0 / 0 | 0 / 0 |" in page
    assert "* tus G1 (M): every answer\n" in page
