"""How long a server takes until it can serve."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import uuid4

from bench.contestants import Contestant, Elsewhere
from bench.processes import StartFailed
from bench.sizes import MIB
from bench.workload import Entry, Failed, Metric, Variant, Workload


class Startup(Workload, frozen=True, kw_only=True):
    """from the start of the process until it says that it is ready, with an empty directory"""

    name: ClassVar = "startup"

    @property
    def title(self) -> str:
        return "Start-up with an empty directory"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("ready", "ms", better="less"),
            Metric("CPU", "ms", better="less", combine="mean"),
            Metric("memory", "MiB", better="less", combine="max"),
        )

    def variants(self, contestants: Sequence[Contestant]) -> list[Variant]:
        return [Variant(one.name) for one in contestants if not one.synced and not isinstance(one, Elsewhere)]

    def sample(self, entry: Entry) -> Mapping[str, float]:
        """Another one than the server that runs, which brought the files into the page cache."""
        place = entry.directory.parent / uuid4().hex
        place.mkdir()
        started_at = time.perf_counter()
        try:
            with entry.contestant.running(place) as server:
                seconds = time.perf_counter() - started_at
                cpu_s, resident_bytes = server.cpu_s(), server.resident_bytes()
        except StartFailed as error:
            raise Failed(str(error)) from error
        return {"ready": 1000 * seconds, "CPU": 1000 * cpu_s, "memory": resident_bytes / MIB}
