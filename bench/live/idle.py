"""Connections that do nothing: what each costs to have, and how fast they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import uuid4

from bench.contestants import Contestant, Elsewhere
from bench.live.limits import allow_many_files, most_files
from bench.live.stage import stage_for, stage_of
from bench.live.watching import crowd
from bench.sizes import KIB, MIB
from bench.uploads.base import Count
from bench.workload import Entry, Metric, Ratio, Variant, Workload

CONTESTANTS = ("penstock", "socketio-node", "socketio-python")
OFFERED = "offered compression"
FEW = 10  # connections that are had before: what is made for the first one is not counted
SPARE_FILES = 100


class Idle(Workload, frozen=True, kw_only=True):
    """memory of an idle Socket.IO websocket, with and without compression offered

    Resident memory of the server's process tree with the connections, less that with a few, divided by
    their number. They watch one session. Each sample has a fresh server: freed memory is seldom given back.
    """

    name: ClassVar = "idle"
    full: ClassVar = ({"connections": 10_000},)

    connections: Count = 1000

    @property
    def title(self) -> str:
        return f"{self.connections:,} idle Socket.IO websockets"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("memory", "KiB/connection", "less"), Metric("in all", "MiB", "less"))

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        peers = ("socketio-node", "socketio-python")
        plain = [Ratio("memory", f"{peer} plain", f"× {peer}", where="* plain") for peer in peers]
        offered = [Ratio("memory", f"{peer} {OFFERED}", f"× {peer}", f"* {OFFERED}") for peer in peers]
        return (*plain, *offered)

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        chosen = [one.name for one in contestants if one.name in CONTESTANTS]
        return [Variant(name, how) for how in ("plain", OFFERED) for name in chosen]

    def impossible(self) -> str:
        return lack_of_files(self.connections)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        deflate = entry.variant.how == OFFERED
        bytes_each, in_all = resident(entry, self.connections, deflate=deflate)
        return {"memory": bytes_each / KIB, "in all": in_all / MIB}


class GrowthConnections(Workload, frozen=True, kw_only=True):
    """memory against the number of idle Socket.IO websockets"""

    name: ClassVar = "growth-connections"
    x_axis: ClassVar = "connections"
    full: ClassVar = ({"connections": (100, 300, 1000, 3000, 10_000)},)

    connections: tuple[Count, ...] = (100, 300, 1000)

    @property
    def title(self) -> str:
        return "Memory against the number of idle Socket.IO websockets"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("in all", "MiB", "less"), Metric("memory", "KiB/connection", "less"))

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        chosen = [one.name for one in contestants if one.name in CONTESTANTS]
        return [Variant(name, x=count) for count in self.connections for name in chosen]

    def impossible(self) -> str:
        return lack_of_files(max(self.connections))

    def sample(self, entry: Entry) -> Mapping[str, float]:
        assert entry.variant.x is not None
        bytes_each, in_all = resident(entry, int(entry.variant.x), deflate=False)
        return {"in all": in_all / MIB, "memory": bytes_each / KIB}


class Storm(Workload, frozen=True, kw_only=True):
    """all connect at once: until each has joined its session and was told so"""

    name: ClassVar = "storm"
    full: ClassVar = ({"connections": 1000}, {"connections": 10_000})

    connections: Count = 1000

    @property
    def title(self) -> str:
        return f"{self.connections:,} connect at once"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("joined", "/s", "more"),
            Metric("CPU", "µs/connection", "less", "mean"),
            Metric("client busy", "%"),
        )

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        return tuple(Ratio("joined", peer, f"× {peer}") for peer in ("socketio-node", "socketio-python"))

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        return [
            Variant(one.name)
            for one in contestants
            if one.name in CONTESTANTS or (isinstance(one, Elsewhere) and one.kind == "socketio")
        ]

    def impossible(self) -> str:
        return lack_of_files(self.connections)

    def warm_up(self, entry: Entry) -> None:
        self.sample(entry)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        allow_many_files()
        with stage_of(entry) as stage, crowd() as coming:
            session, cpu_s = stage.session(), entry.server.settled_cpu_s()
            opened = coming.open(stage, [session] * self.connections, at_once=self.connections)
            cpu_s = entry.server.settled_cpu_s() - cpu_s
        entry.server.settled_cpu_s()  # they leave: not in anybody else's time
        return {
            "joined": self.connections / opened.seconds,
            "CPU": cpu_s / self.connections * 1e6,
            "client busy": opened.cpu_s / opened.seconds * 100,
        }


def resident(entry: Entry, connections: int, *, deflate: bool) -> tuple[float, float]:
    """Bytes for each connection, and bytes in all, of a fresh server. Raises: Failed."""
    allow_many_files()
    directory = entry.directory / uuid4().hex
    directory.mkdir()
    with (
        entry.contestant.running(directory) as server,
        stage_for(entry.contestant, server) as stage,
        crowd() as idle,
    ):
        session = stage.session()

        def grown_to(more: int) -> float:
            idle.open(stage, [session] * more, deflate=deflate)
            server.settled_cpu_s()
            return server.resident_bytes()

        few = grown_to(FEW)
        many = grown_to(connections)
    return (many - few) / connections, many


def lack_of_files(connections: int) -> str:
    """Both ends are processes of this machine, each with a descriptor for every connection."""
    wanted, most = connections + SPARE_FILES, most_files()
    return "" if wanted <= most else f"{wanted} open files are needed, {most} are allowed (ulimit -Hn)"
