"""Being watched: fan-out, idle connections, pauses, take-overs.

`docs/performance.md` says what is measured.
"""

from bench.live.fanout import Fanout, GrowthWatchers
from bench.live.idle import GrowthConnections, Idle, Storm
from bench.live.pause import Pause
from bench.workload import Workload

WORKLOADS: tuple[type[Workload], ...] = (Fanout, Idle, Storm, Pause, GrowthWatchers, GrowthConnections)
