"""A short run of the soak: all dialects, a kill, a full disk, and a quiet point at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running import PATIENCE_S
from tests.soak.disk import is_possible
from tests.soak.report import Report, markdown

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
MINUTES = "0.1"


def soak(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "tests.soak", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_S,
        check=False,
    )


def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    done = soak("--minutes", MINUTES, "--workers", "8", "--watchers", "4", "--report", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(path.read_bytes())
    assert found["problems"] == []
    assert found["counts"]["kills"] == 1
    assert sum(count for what, count in found["counts"].items() if what.endswith(": completed")) > 20
    assert found["small_disk"] == is_possible()
    if is_possible():
        assert found["counts"]["full disks"] == 1
    (sample,) = found["samples"]
    assert sample["held"]["appends"] == sample["held"]["rows"] == sample["held"]["unfinished_files"] == 0
    assert "No problem was found." in path.with_suffix(".md").read_text(encoding="utf-8")


def test_its_help_teaches() -> None:
    done = soak("--help")
    assert done.returncode == 0
    for word in ("--minutes", "--seed", "--report", "What must hold", "python -P -m tests.soak"):
        assert word in done.stdout


def test_a_report_with_a_problem_says_so() -> None:
    report = Report(
        cores=2,
        memory_gib=4,
        kernel="6.1",
        seed=7,
        minutes=1.0,
        workers=3,
        small_disk=False,
        counts={"kills": 1},
        answers={"200": 5},
        sent_bytes=1 << 20,
        kept_bytes=1 << 19,
        peak_bytes=1 << 26,
        samples=[],
        explained_log_lines={},
        problems=["3 s, file 1: a byte is missing"],
    )
    assert not report.passed
    text = markdown(report)
    assert "FAILED" in text
    assert "a byte is missing" in text
