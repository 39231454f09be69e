"""The benchmark suite at tiny sizes: does everything still run? No figure it prints is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.contestants import Express
from bench.npm import NotHere

TINY = (
    *("--rounds", "1", "--one-size", "1MiB", "--many-count", "3", "--many-size", "256KiB"),
    *("--small-count", "20", "--small-size", "100"),
)


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def rows_of(results: Path) -> list[dict[str, Any]]:
    (path,) = results.glob("*.json")
    run = json.loads(path.read_bytes())
    assert run["machine"]["cores"] > 0
    assert run["absent"] == {}
    return [row for result in run["results"] for row in result["rows"]]


def measured(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    assert [row for row in rows if row["failure"] is not None] == []
    assert all(len(row["samples"]) == 1 and row["samples"][0]["seconds"] > 0 for row in rows)
    return [(row["contestant"], row["dialect"]) for row in rows]


@pytest.mark.slow
def test_every_workload_runs_and_stores_what_was_sent(tmp_path: Path) -> None:
    ours = ("-c", "floor", "-c", "floor-synced", "-c", "penstock", "-c", "penstock-synced")
    done = bench(*TINY, *ours, "--dir", tmp_path, "--results", tmp_path / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("bytes identical") == 16
    big = [(name, "PUT") for name in ("floor", "penstock", "floor-synced", "penstock-synced")]
    big += [(name, "form") for name in ("penstock", "penstock-synced")]
    small = [(name, "form") for name in ("floor", "penstock", "floor-synced", "penstock-synced")]
    assert measured(rows_of(tmp_path / "results")) == [*big, *big, *small]
    assert list(tmp_path.iterdir()) == [tmp_path / "results"], "it cleans up behind itself"


@pytest.mark.slow
def test_the_peer_runs(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("node", "npm"):
        require_program(program)
    try:
        Express().prepare()
    except NotHere as missing:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise
        pytest.skip(f"NOT tested here: {missing}")
    done = bench(*TINY, "-c", "express", "--dir", tmp_path, "--results", tmp_path / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    assert measured(rows_of(tmp_path / "results")) == [("express", "PUT"), ("express", "form")] * 2 + [
        ("express", "form")
    ]


@pytest.mark.slow
def test_a_contestant_that_is_missing_is_named_and_the_rest_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "bench", "one", "--one-size", "4KiB", "--rounds", "1"]
    options = ["-c", "floor", "-c", "express", "--dir", tmp_path, "--results", tmp_path / "results"]
    done = subprocess.run(
        [*command, *map(str, options)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Not measured: express" in done.stdout
    assert "| floor PUT" in done.stdout
    (picture,) = (tmp_path / "results").glob("*.svg")
    assert ElementTree.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("size", ["0", "4KB", "-1", "MiB", "1.5GiB"])
def test_a_size_nobody_understands_is_refused(size: str) -> None:
    done = bench("one", "--one-size", size)
    assert done.returncode == 2
    assert "write 4096, 4KiB, 16MiB or 1GiB" in done.stderr


def test_the_peer_is_pinned_and_its_lock_names_no_host() -> None:
    place = Path(__file__).parents[2] / "bench" / "servers" / "express_multer"
    lock = json.loads((place / "package-lock.json").read_bytes())
    wanted = json.loads((place / "package.json").read_bytes())["dependencies"]
    assert {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted} == wanted
    packages = [package for path, package in lock["packages"].items() if path]
    assert all("integrity" in package and "resolved" not in package for package in packages)
