"""What watchers cost an upload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from bench.contestants import Contestant
from bench.live.stage import PenstockStage
from bench.live.watching import crowd
from bench.load import Plan
from bench.sizes import GIB, MIB, size_text
from bench.uploads.base import Size, source_in
from bench.uploads.exchange import amount_of_bytes, clear, send, weigh
from bench.uploads.payload import Payload
from bench.uploads.requests import put
from bench.workload import Entry, Failed, Metric, Ratio, Variant, Workload

CONTESTANT = "penstock"
TOLD_AT_LEAST = 3  # started, completed, and the session's end


class Watched(Workload, frozen=True, kw_only=True):
    """one large upload with 0, 1 and 10 Socket.IO watchers"""

    name: ClassVar = "watched"
    full: ClassVar = ({"size": GIB},)

    size: Size = 256 * MIB
    watchers: tuple[int, ...] = (0, 1, 10)

    @property
    def title(self) -> str:
        return f"One upload of {size_text(self.size)} by PUT, watched"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (*amount_of_bytes(self.size).metrics, Metric("told", "events/watcher"))

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        first = _variant(self.watchers[0])
        return (Ratio("MB/s", first.label, f"× {first.how}"),)

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        takes_part = CONTESTANT in [one.name for one in contestants]
        return [_variant(count) for count in self.watchers if takes_part]

    def prepare(self, directory: Path) -> None:
        self._payload.write(source_in(directory))

    def warm_up(self, entry: Entry) -> None:
        self.sample(entry)

    def sample(self, entry: Entry) -> Mapping[str, float]:
        count = int(entry.variant.how.split()[0])
        try:
            with PenstockStage(entry.server) as stage, crowd() as watchers:
                session, (target,) = stage.uploads(1, self.size)
                watchers.open(stage, [session] * count)
                greeted = watchers.told()
                plan = self._plan(entry, target)
                weighed = weigh(entry, amount_of_bytes(self.size), lambda: send(plan))
                told = watchers.told() - greeted
        finally:
            clear(entry)
        if told < TOLD_AT_LEAST * count:
            raise Failed(f"{count} watchers were told {told} events")
        return {**weighed, "told": told / count if count else 0.0}

    def _plan(self, entry: Entry, target: str) -> Plan:
        request = put(entry, target, self._payload, source_in(entry.shared), 0)
        return Plan(entry.server.host, entry.server.port, [[request]])

    @property
    def _payload(self) -> Payload:
        return Payload(1, 1, self.size)


def _variant(watchers: int) -> Variant:
    return Variant(CONTESTANT, f"{watchers} watchers")
