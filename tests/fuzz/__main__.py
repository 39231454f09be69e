"""`make fuzz`: throws mutated bytes at every parser of ours until one breaks its promise."""

from __future__ import annotations

import argparse
import ast
import sys
import time
import traceback
from collections.abc import Callable
from random import SystemRandom

from tests.fuzz.run import Finding, attempt, fuzz
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

SECONDS = 10.0
EPILOG = """\
Each target is one sentence that must hold for any bytes whatever; --list shows them. Inputs are well-formed
ones, changed at random; those that get an answer not seen before are changed further.

  all targets, ten seconds each      make fuzz
  an hour for one parser             make fuzz ARGS="http1 --seconds 3600"
  the same run again                 make fuzz ARGS="form --runs 50000 --seed 7"
  one input, with its traceback      make fuzz ARGS="form --input \\"b'--x'\\""

A broken promise is printed with the shortest input found for it, as a Python literal: put that into a test
beside the parser's others, then mend the parser. The exit code is 1 then, else 0.
"""


def main() -> int:
    options = _options()
    chosen = [TARGETS[name] for name in options.targets or TARGETS]
    if options.list:
        for target in chosen:
            print(f"{target.name}: {target.promise}")
        return 0
    if options.input is not None:
        return max(_try(target, ast.literal_eval(options.input)) for target in chosen)
    seed = SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}")
    return max(_fuzz(target, seed, options.runs, options.seconds) for target in chosen)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make fuzz",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="which parsers; all without one")
    parser.add_argument("--list", action="store_true", help="the targets and their promises")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"for each target (default {SECONDS:g})"
    )
    parser.add_argument("--runs", type=int, help="inputs for each target, instead of --seconds")
    parser.add_argument("--seed", type=int, help="what chance begins with; printed where it is not given")
    parser.add_argument("--input", metavar="LITERAL", help="check just these bytes, such as \"b'a\\r\\n'\"")
    options = parser.parse_args()
    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(f"there is no {', no '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    return options


def _fuzz(target: Target, seed: int, runs: int | None, seconds: float) -> int:
    """1 if the promise broke."""
    began = time.monotonic()
    result = fuzz(target, seed, _until(began + seconds) if runs is None else lambda done: done < runs)
    took_s = max(time.monotonic() - began, 1e-6)
    print(
        f"{target.name:<21}{result.runs:>9} runs {result.runs / took_s:>8.0f}/s {result.corpus:>5} in corpus",
        flush=True,
    )
    if result.finding is None:
        return 0
    _report(target, seed, result.finding)
    return 1


def _until(deadline: float) -> Callable[[int], bool]:
    return lambda done: time.monotonic() < deadline


def _report(target: Target, seed: int, finding: Finding) -> None:
    print(f"\nBROKEN  {target.name}: {target.promise}")
    print(f"seed {seed}, run {finding.run}; the shortest input found:\n\n{finding.data!r}\n")
    traceback.print_exception(finding.error, file=sys.stdout)


def _try(target: Target, data: bytes) -> int:
    answer, error = attempt(target, data)
    print(f"{target.name}: {answer or 'BROKEN'}")
    if error is not None:
        traceback.print_exception(error, file=sys.stdout)
    return int(error is not None)


if __name__ == "__main__":
    sys.exit(main())
