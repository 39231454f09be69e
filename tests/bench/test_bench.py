"""The command line at tiny sizes: does it run, and does it say what is wrong? No figure is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.contestants import FLOOR, PENSTOCK
from bench.processes import running


def bench(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=env)


def tiny(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What a run of one round wrote into its JSON file."""
    options = ("--rounds", "1", "--dir", tmp_path, "--results", tmp_path / "results")
    done = bench(*arguments, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "results"], "it cleans up behind itself"
    (path,) = (tmp_path / "results").glob("*.json")
    return dict(json.loads(path.read_bytes()))


def test_a_run_leaves_a_page_a_chart_and_every_sample(tmp_path: Path) -> None:
    written = tiny(tmp_path, "one:size=1MiB,dialects=PUT", "-c", "floor", "-c", "penstock")
    run = written["run"]
    assert run["machine"]["cores"] > 0
    assert run["absent"] == {}
    (result,) = run["results"]
    assert result["parameters"] == {"size": 2**20, "dialects": ["PUT"]}
    labels = [f"{row['variant']['contestant']} {row['variant']['how']}" for row in result["rows"]]
    assert labels == ["floor PUT", "penstock PUT"]
    assert all(row["failure"] is None and row["samples"][0]["MB/s"] > 0 for row in result["rows"])
    assert [line["label"] for line in written["tables"][0]["lines"]] == labels
    (page,) = (tmp_path / "results").glob("*.md")
    assert "| penstock PUT |" in page.read_text(encoding="utf-8")
    (picture,) = (tmp_path / "results").glob("*.svg")
    assert ElementTree.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_bar_is_judged_where_both_rows_were_measured(tmp_path: Path) -> None:
    written = tiny(tmp_path, "one:size=4KiB,dialects=tus", "-c", "floor", "-c", "penstock")
    (verdict,) = written["bars"]
    assert (verdict["bar"]["ours"], verdict["bar"]["peer"]) == ("penstock tus", "floor PUT")
    assert verdict["got"] > 0


def test_a_server_that_runs_already_takes_part_by_its_url(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with running(PENSTOCK.command(place), place) as server:
        url = f"mine=tus:http://127.0.0.1:{server.port}/files/"
        done = bench(
            *("one:size=4KiB", "-c", FLOOR.name, "--url", url, "--rounds", "1"),
            *("--dir", tmp_path, "--results", tmp_path / "results"),
        )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("| mine tus"))
    _, _, rate, _, _, cpu, peak, busy, _ = (cell.strip() for cell in line.split("|"))
    assert rate
    assert busy
    assert (cpu, peak) == ("", ""), "nobody can see from here what it costs"


def test_a_contestant_that_is_missing_is_named_and_the_rest_is_measured(tmp_path: Path) -> None:
    done = bench(
        *("one:size=4KiB", "--rounds", "1", "-c", "floor", "-c", "express"),
        *("--dir", tmp_path, "--results", tmp_path / "results"),
        env={"PATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "Not measured: express" in done.stdout
    assert "| floor PUT" in done.stdout


def test_a_workload_that_cannot_be_measured_here_says_why(tmp_path: Path) -> None:
    done = bench(
        *("http2:size=4KiB", "syncs:size=4KiB", "one:size=4KiB", "--rounds", "1", "-c", "floor"),
        *("--dir", tmp_path, "--results", tmp_path / "results"),
        env={"PATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "curl is not installed (apt-get install curl)" in done.stdout
    assert "strace is not installed (apt-get install strace)" in done.stdout
    assert "| floor PUT" in done.stdout


def test_who_fails_makes_the_run_fail(tmp_path: Path) -> None:
    done = bench(
        *("one:size=4KiB", "-c", "floor", "--url", "gone=tus:http://127.0.0.1:9/files/", "--rounds", "1"),
        *("--dir", tmp_path, "--results", tmp_path / "results"),
    )
    assert done.returncode == 1
    assert "**Failed: gone tus.**" in done.stdout
    assert "| floor PUT" in done.stdout


def test_the_list_tells_every_parameter() -> None:
    said = bench("--list").stdout
    for line in ("short  uploads=32,size=16MiB,dialects=tus/PUT", "full   size=1GiB,chunk=5MiB"):
        assert line in said


@pytest.mark.parametrize("kind", ["--help", "--list"])
def test_asking_measures_nothing(kind: str) -> None:
    done = bench(kind, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0
    assert "growth" in done.stdout
