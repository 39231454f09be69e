"""Run the suites against every server and write docs/conformance.md (`make conformance`)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.npm import NotHere
from tests.conformance.peers.contestants import CONTESTANTS, Contestant
from tests.conformance.peers.report import Run, report
from tests.conformance.scores import read

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "conformance.md"
SUITES = "tests/conformance"
TESTS_FAILED = 1  # pytest's exit code


def main() -> int:
    runs = []
    for contestant in CONTESTANTS:
        try:
            contestant.prepare()
        except NotHere as error:
            print(f"{contestant.name} cannot take part: {error}", file=sys.stderr)
            return 1
        runs.append(run(contestant))
    PAGE.write_text(report(runs), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    ours_failed = any(result.outcome == "failed" for result in runs[0].results)
    return int(ours_failed)


def run(contestant: Contestant) -> Run:
    """Everything a suite says about one server; that tests fail is a result, too."""
    print(f"{contestant.name} {contestant.version()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="penstock-conformance-") as place:
        results = Path(place) / "results.json"
        command = [sys.executable, "-P", "-m", "pytest", "-q", "--no-header", "--tb=no", "-r", ""]
        suites = [f"{SUITES}/{suite}" for suite in contestant.suites]
        done = subprocess.run(
            [*command, *suites, *contestant.options(), "--results", str(results)], cwd=ROOT, check=False
        )
        if done.returncode not in (0, TESTS_FAILED):
            sys.exit(f"the suite could not be run against {contestant.name}")
        return Run(contestant.name, contestant.version(), read(results))


if __name__ == "__main__":
    sys.exit(main())
