"""`python -P -m tests.mutants [names] [--list]`: is every seeded bug found by its test?"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutants.killing import Copy, Outcome, Run
from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -P -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="of mutants; all of them if there are none")
    parser.add_argument("--list", action="store_true", help="only show what there is")
    arguments = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not arguments.names or mutant.name in arguments.names]
    if unknown := set(arguments.names) - {mutant.name for mutant in chosen}:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    if arguments.list:
        for mutant in chosen:
            print(f"{mutant.name:32} {mutant.breaks}\n{'':32} {mutant.killer}")
        return 0
    return hunt(chosen)


def hunt(mutants: Sequence[Mutant]) -> int:
    """1 if one survives."""
    with TemporaryDirectory(prefix="penstock-mutants-") as directory:
        copy = Copy(Path(directory))
        killers = list(dict.fromkeys(mutant.killer for mutant in mutants))
        sound = copy.run(killers)
        if sound.outcome is not Outcome.PASSED:
            print(f"{sound.output}\nthe killers do not pass without a mutant", file=sys.stderr)
            return 1
        left = [mutant for number, mutant in enumerate(mutants, 1) if not _killed(copy, mutant, number)]
    print(f"{len(mutants)} mutants, {len(killers)} killers, {len(left)} not killed")
    for mutant in left:
        print(f"  {mutant.name}: {mutant.breaks} ({mutant.killer})")
    return 1 if left else 0


def _killed(copy: Copy, mutant: Mutant, number: int) -> bool:
    begun = time.monotonic()
    with copy.having(mutant):
        run = copy.run([mutant.killer])
    print(f"{number:3} {mutant.name:32} {run.outcome.value:9} {time.monotonic() - begun:5.1f} s", flush=True)
    if run.outcome is Outcome.BROKEN:
        print(_end_of(run), file=sys.stderr)
    return run.outcome is Outcome.FAILED


def _end_of(run: Run) -> str:
    return "\n".join(run.output.splitlines()[-20:])


if __name__ == "__main__":
    sys.exit(main())
