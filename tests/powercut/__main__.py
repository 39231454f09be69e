"""See one image of a recording again: `python -m tests.powercut DIRECTORY SEED SCENARIO AT VARIANT`.

The directory is the one that the finding names; pytest keeps those of failed tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from penstock.server import log
from tests.powercut.harness import crashes_before, look_at, read
from tests.powercut.images import Variant, images


async def main(directory: Path, seed: int, scenario: int, at: int, variant: Variant) -> None:
    earlier = dict(enumerate(crashes_before(directory))).get(scenario)
    [one] = images(read(directory)[scenario], [(at, variant)], seed, earlier)
    for path, found in one.tree.items():
        print("directory" if found.content is None else f"{len(found.content):9}", path)
    finding = await look_at(one)
    if finding is not None:
        raise finding
    print("all is well")


if __name__ == "__main__":
    log.configure("info")
    trio.run(
        main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Variant(sys.argv[5])
    )
