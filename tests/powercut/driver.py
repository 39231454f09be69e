"""The traced program: gateways on the real stores, played with from a seed, in a process of its own.

`python -m tests.powercut.driver DIRECTORY SEED SCENARIOS [MUTANT]` plays scenarios 0, 1, … one after the
other, each in `DIRECTORY/<number>`, and notes in `DIRECTORY/told` who was told what.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path
from random import Random

import trio

from penstock.server import log
from penstock.storage.kernel import Kernel
from penstock.storage.state.sqlite import SqliteState
from tests.powercut.mutants import KERNELS, STATES
from tests.powercut.player import Handle, Player
from tests.powercut.recording import TOLD
from tests.powercut.stores import FSYNCS, opened, settings
from tests.powercut.told import Lines, Living, encode

STEPS = 7  # a life


class Teller:
    """Writes lines, each with one system call: before whatever the gateway does next."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, line: Lines) -> None:
        os.write(self._fd, encode(line))


async def play(directory: Path, seed: int, number: int, teller: Teller, mutant: str) -> None:
    """One scenario: a gateway's life or two, with a clean end or a clean reboot in between."""
    scenario, random = directory / str(number), Random(f"{seed} {number}")
    fsync = FSYNCS[number % len(FSYNCS)]
    chosen = settings(
        fsync,
        keep_partials=random.random() < 0.5,
        sync_every_bytes=random.choice((1, 8192, 40_000)),
    )
    scenario.mkdir()
    serials, boot_id = count(number * 10_000), "boot 0"
    handles: list[Handle] = []
    for life in range(random.randint(1, 2)):
        boot_id = random.choice((boot_id, f"boot {life}"))
        kernel, state_type = KERNELS.get(mutant, Kernel)(), STATES.get(mutant, SqliteState)
        teller.say(Living(boot_id=boot_id, fsync=fsync))
        async with opened(scenario, chosen, boot_id, kernel=kernel, state_type=state_type) as there:
            player = Player(there.gateway, random, teller.say, serials)
            player.handles = handles
            await player.look_at_all()
            await player.create_session()
            for _ in range(STEPS):
                await player.step()
            await player.look_at_all()
            await there.gateway.drain()


async def main(directory: Path, seed: int, scenarios: int, mutant: str) -> None:
    log.configure("error")
    teller = Teller(directory / TOLD)
    for number in range(scenarios):
        await play(directory, seed, number, teller, mutant)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "".join(sys.argv[4:]))
