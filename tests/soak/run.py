"""A whole run: clients at work, a server that is killed and hurt meanwhile, looks at what it holds."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import trio

from tests.faults.proxy import Fault, Plan, Proxy, proxied, rough
from tests.soak.disk import filled
from tests.soak.flatness import Held, Sample, differences
from tests.soak.ledger import Ledger
from tests.soak.machine import Machine, machine_in
from tests.soak.timeline import Deed, Step
from tests.soak.upload import leaves, upload
from tests.soak.watchers import watch
from tests.soak.world import GaveUp, Gone, World

FULL_S = 1.5
FROZEN_S = 1.5
SETTLES_S = 60.0  # patience with what ends by itself after a while: sessions, threads, finished files
LINE_EVERY_S = 5.0
ROUGH_BYTES = (1_000, 8_000_000)

Say = Callable[[str], None]


class Setup(NamedTuple):
    directory: Path  # the server's data are in data/ below
    seed: int
    workers: int
    watchers: int
    small_disk: bool  # the data directory is a file system of its own


class Outcome(NamedTuple):
    world: World
    samples: list[Sample]
    reference: Held
    explained: dict[str, int]  # lines of level error in the log, by event and excuse


async def run(setup: Setup, steps: Iterable[Step], say: Say) -> Outcome:
    """Everything that is found lies in the outcome's ledger."""
    async with AsyncExitStack() as stack:
        machine = await stack.enter_async_context(machine_in(setup.directory))
        world = World(machine, Ledger(), setup.seed)
        proxies = await stack.enter_async_context(_proxies(world, setup.seed))
        soak = _Soak(setup, world, proxies, say)
        await soak.run(steps)
        await soak.end()
    explained = _judge_log(world)
    world.ledger.close()
    return Outcome(world, soak.samples, soak.reference, explained)


@asynccontextmanager
async def _proxies(world: World, seed: int) -> AsyncIterator[tuple[Proxy, Proxy]]:
    """One that breaks half of its connections, and one that only keeps its address."""
    url = f"http://127.0.0.1:{world.machine.gateway.port}"
    async with proxied(url, _half_rough(seed)) as (bad, bad_url), proxied(url) as (good, good_url):
        world.rough_port = int(bad_url.rpartition(":")[2])
        world.steady_url = good_url
        yield bad, good


def _half_rough(seed: int) -> Plan:
    bad = rough(seed, *ROUGH_BYTES)

    def plan(number: int) -> Sequence[Fault]:
        return bad(number) if number % 2 else ()

    return plan


class _Soak:
    def __init__(self, setup: Setup, world: World, proxies: tuple[Proxy, Proxy], say: Say) -> None:
        self._setup = setup
        self._world = world
        self._proxies = proxies
        self._say = say
        self.samples: list[Sample] = []
        self.reference: Held

    async def run(self, steps: Iterable[Step]) -> None:
        self.reference = (await self._sample()).held
        async with trio.open_nursery() as nursery:
            for number in range(self._setup.workers):
                nursery.start_soon(self._over_and_over, upload, f"worker/{number}")
            for number in range(self._setup.watchers):
                nursery.start_soon(self._over_and_over, watch, f"watcher/{number}")
            nursery.start_soon(self._tell)
            for step in steps:
                self._world.go_on()
                await trio.sleep(step.load_s)
                await self._do(step.deed)
            nursery.cancel_scope.cancel(reason="the run is over")

    async def end(self) -> None:
        """A last drain, with nobody there."""
        code = await self._world.machine.terminate()
        if code:
            self._world.ledger.problem("server", f"exit code {code} after SIGTERM")

    async def _over_and_over(
        self, work: Callable[[World, random.Random], Awaitable[None]], name: str
    ) -> None:
        turn = 0
        while True:
            turn += 1
            async with self._world.working():
                try:
                    await work(self._world, random.Random(f"{self._setup.seed}/{name}/{turn}"))
                except* (Gone, GaveUp) as group:
                    what = "; ".join(str(leaf) for leaf in leaves(group))
                    self._world.ledger.problem(name, what)

    # What is done to the server

    async def _do(self, deed: Deed) -> None:
        if self._world.machine.gateway.process.poll() is not None:
            self._world.ledger.problem("server", "it died by itself")
            await self._start()
        match deed:
            case Deed.KILL:
                with self._world.excuse("kills"):
                    await self._world.machine.kill()
                    await self._start()
            case Deed.DRAIN:
                await self._drain()
            case Deed.FULL if self._setup.small_disk:
                with self._world.excuse("full disks"):
                    async with filled(self._world.machine.gateway.data):
                        await trio.sleep(FULL_S)
            case Deed.FREEZE:
                with self._world.excuse("freezes"):
                    await self._world.machine.freeze(FROZEN_S)
            case Deed.QUIET:
                await self._quiet()

    async def _drain(self) -> None:
        with self._world.excuse("drains"):
            code = await self._world.machine.terminate()
            if code:
                self._world.ledger.problem("server", f"exit code {code} after SIGTERM in mid-load")
            await self._start()

    async def _start(self) -> None:
        await self._world.machine.start()
        self._world.uploads_of_life = 0
        for proxy in self._proxies:
            proxy.port = self._world.machine.gateway.port

    async def _quiet(self) -> None:
        """All clients finish; then nothing may be left but what was there at the beginning."""
        await self._world.rest()
        left = self._world.machine.files_below("incoming")
        if left:
            self._world.ledger.problem(
                "disk", f"every upload has ended, and {left} unfinished files are left"
            )
        sample = await self._settled()
        self.samples.append(sample)
        for difference in differences(self.reference, sample.held):
            self._world.ledger.problem("flatness", f"at a quiet point: {difference}")

    async def _settled(self) -> Sample:
        deadline = trio.current_time() + SETTLES_S
        while True:
            sample = await self._sample()
            if not differences(self.reference, sample.held) or trio.current_time() > deadline:
                return sample
            await trio.sleep(0.5)

    async def _sample(self) -> Sample:
        return await self._world.machine.sample(self._world.now_s(), self._world.uploads_of_life)

    # What the terminal shows

    async def _tell(self) -> None:
        told = 0
        while True:
            self._world.ledger.now_s = self._world.now_s()
            for problem in self._world.ledger.problems[told:]:
                self._say(f"PROBLEM: {problem.who}: {problem.what}")
            told = len(self._world.ledger.problems)
            if int(self._world.now_s()) % int(LINE_EVERY_S) == 0:
                self._say(self._line())
            await trio.sleep(1)

    def _line(self) -> str:
        world = self._world
        counts = world.ledger.counts
        ended = sum(n for what, n in counts.items() if what.endswith((": completed", ": cancelled")))
        faults = counts["full disks"] + counts["freezes"] + sum(p.cuts for p in self._proxies)
        return (
            f"{world.now_s() / 60:5.1f} min  {ended} files  {world.ledger.sent_bytes / 2**20:.0f} MiB  "
            f"{counts['kills']} kills  {counts['drains']} drains  {faults} faults  "
            f"{_process(world.machine)}  {len(world.ledger.problems)} problems"
        )


def _process(machine: Machine) -> str:
    try:
        private = machine.private_bytes() / 2**20
        return f"{private:.0f} MiB  {machine.gateway.descriptors()} descriptors  {machine.threads()} threads"
    except OSError:
        return "(no server)"


def _judge_log(world: World) -> dict[str, int]:
    """Lines of level error, and what is no line at all, need an excuse. Those that have one, counted."""
    explained: dict[str, int] = {}
    for entry in world.machine.gateway.faults():
        excuse = world.excuses.at(datetime.fromisoformat(entry["timestamp"]).timestamp())
        if excuse is None:
            world.ledger.problem("log", f"{entry}"[:2000])
        else:
            what = f"{entry['event']} ({excuse})"
            explained[what] = explained.get(what, 0) + 1
    log = world.machine.directory / "server.log"
    for line in log.read_text(encoding="utf-8").splitlines():
        if not line.startswith("{"):
            world.ledger.problem("log", line)
    return explained
