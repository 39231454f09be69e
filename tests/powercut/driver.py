"""The traced program: gateways on the real stores, played with from a seed, in a process of its own.

`python -m tests.powercut.driver play DIRECTORY SEED SCENARIOS [MUTANT]` plays scenarios 0, 1, … one after the
other, each in `DIRECTORY/<number>`, and notes in `DIRECTORY/<number>.told` who was told what. With `go-on`
the directories are there already, left by a crash, and `DIRECTORY/<number>.life` says how to go on.
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
from tests.powercut.clients import Handle
from tests.powercut.mutants import KERNELS, STATES
from tests.powercut.player import Player
from tests.powercut.stores import FSYNCS, all_rows, fsync_named, opened, settings
from tests.powercut.told import Lines, Living, decode, encode
from tests.powercut.watching import Say

STEPS = 7  # a life
STEPS_AFTER = 2


def teller(path: Path) -> Say:
    """Writes lines, each with one system call: before whatever the gateway does next."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(line: Lines) -> None:
        os.write(fd, encode(line))

    return say


async def play(directory: Path, seed: int, number: int, mutant: str) -> None:
    """One scenario: a gateway's life or two, with a clean end or a clean reboot in between."""
    scenario, say = directory / str(number), teller(directory / f"{number}.told")
    random, serials = Random(f"{seed} {number}"), count(number * 10_000)
    fsync = FSYNCS[number % len(FSYNCS)]
    chosen = settings(
        fsync,
        keep_partials=random.random() < 0.5,
        sync_every_bytes=random.choice((1, 8192, 40_000)),
    )
    scenario.mkdir()
    handles: list[Handle] = []
    boot_id = "boot 0"
    for life in range(random.randint(1, 2)):
        boot_id = random.choice((boot_id, f"boot {life}"))
        kernel, state_type = KERNELS.get(mutant, Kernel)(), STATES.get(mutant, SqliteState)
        say(Living(boot_id=boot_id, fsync=fsync))
        async with opened(scenario, chosen, boot_id, kernel=kernel, state_type=state_type) as there:
            player = Player(there.gateway, random, say, serials, handles)
            await player.look_at_all()
            await player.create_session()
            await player.steps(STEPS)
            await there.gateway.drain()


async def go_on(directory: Path, seed: int, number: int) -> None:
    """A life after a crash, short, for what is of interest in it is how it begins."""
    say, random = teller(directory / f"{number}.told"), Random(f"{seed} {number}")
    life = decode((directory / f"{number}.life").read_bytes())
    assert isinstance(life, Living)
    say(life)
    async with opened(directory / str(number), settings(fsync_named(life.fsync)), life.boot_id) as there:
        handles = [
            Handle(row.session_id, row.file_id, row.upload_id, row.file_name)
            for row in (await all_rows(there.state)).files.values()
        ]
        player = Player(there.gateway, random, say, count((number + 1) * 1_000_000), handles)
        await player.look_at_all()
        await player.steps(STEPS_AFTER)


async def main(how: str, directory: Path, seed: int, scenarios: int, mutant: str) -> None:
    log.configure("error")
    for number in range(scenarios):
        if how == "go-on":
            await go_on(directory, seed, number)
        else:
            await play(directory, seed, number, mutant)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), "".join(sys.argv[5:]))
