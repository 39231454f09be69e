"""Being watched: fan-out, idle connections, pauses, take-overs.

`docs/performance.md` says what is measured.
"""

from bench.live.fanout import Fanout, GrowthWatchers
from bench.live.idle import GrowthConnections, Idle, Storm
from bench.live.paced import FanoutMany
from bench.live.pause import Pause
from bench.live.progress import Progress
from bench.live.takeover import Takeover
from bench.live.watched import Watched
from bench.workload import Workload

WORKLOADS: tuple[type[Workload], ...] = (
    Fanout,
    FanoutMany,
    Idle,
    Storm,
    Watched,
    Pause,
    Takeover,
    Progress,
    GrowthWatchers,
    GrowthConnections,
)
