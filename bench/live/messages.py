"""What the measuring process asks of the crowd and of the senders, and what it is told: a JSON line each."""

from __future__ import annotations

import msgspec


class Open(msgspec.Struct, frozen=True, tag=True):
    """Connect a watcher for each target; `at_once`: how many may be on their way. Answered by Opened."""

    host: str
    port: int
    targets: list[str]
    greetings: int  # events each is told when it has joined
    at_once: int
    deflate: bool
    most_s: float


class Count(msgspec.Struct, frozen=True, tag=True):
    """From here on: until each watcher got so many events. Answered by Ready, then by Counted.

    `nap_s`: read only so often, so that the reader, on the same machine, is not woken by every frame."""

    events: int
    nap_s: float
    most_s: float
    linger_s: float  # ... and so long after the last one, for those that should not have come


class Record(msgspec.Struct, frozen=True, tag=True):
    """For so long: when each event came. Answered by Ready, then by Recorded."""

    seconds: float


class Tell(msgspec.Struct, frozen=True, tag=True):
    """What has come so far, greetings included. Answered by Counted."""


Asked = Open | Count | Record | Tell


class Opened(msgspec.Struct, frozen=True):
    seconds: float
    cpu_s: float
    failures: list[str]


class Ready(msgspec.Struct, frozen=True):
    cpu_s: float = 0.0


class Counted(msgspec.Struct, frozen=True):
    """`last_at`: the monotonic time at which the last event was read. `bytes`: with their headers."""

    events: int
    bytes: int
    last_at: float
    cpu_s: float
    failures: list[str]


class Recorded(msgspec.Struct, frozen=True):
    """`gaps_s`: between one event of a watcher and its next."""

    events: int
    bytes: int
    cpu_s: float
    gaps_s: list[float]
    failures: list[str]


class Send(msgspec.Struct, frozen=True):
    """To the senders. `heads`: of requests whose bodies are longer than anybody waits.

    `every_s`: a chunk each; 0 is as fast as it goes."""

    host: str
    port: int
    heads: list[str]
    chunk_bytes: int
    every_s: float
