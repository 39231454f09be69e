"""The short way of events to watchers: one task writes ready-made frames to every idle socket.

To wake a task for each watcher costs many times what it takes to write its frame. So news of a session are
told in rounds: what a watcher has not seen is looked up once for all who stand at the same place, framed
once, and written from here. Facts that come while a round goes on are told together in the next. A watcher
that has no such way, or whose connection has something else to send or takes nothing right now, has its own
writer woken, which pulls: nothing but speed depends on which of the two it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import structlog
import trio

from penstock.protocol.events import UploadProgress
from penstock.server.uploads.ring import Encoder, Entry

if TYPE_CHECKING:
    from penstock.server.uploads.session import LiveSession
    from penstock.server.uploads.watch import Place, Watch

TURN_WATCHERS = 50  # written to before others have their turn: about half a millisecond
# After its rounds it rests as long as they took: half of the time is everybody else's, and what happens
# meanwhile is told in one write. For a few watchers that is nothing.
MOST_REST_S = 0.05
MOST_BYTES = 64 * 1024  # told to a watcher in one write

log = structlog.get_logger()


class Lane(Protocol):
    """The short way to one watcher, whose frames are the same for all with an encoder of the same key."""

    @property
    def encoder(self) -> Encoder[Any]: ...

    def framed(self, frame: Any, /) -> bytes:
        """What the encoder made, as it is on the wire."""

    def send_nowait(self, wire: bytes, /) -> bool:
        """Write it if the connection has nothing else to write and takes it; else False, and nothing of it is
        written. Never waits."""


class Fanout:
    """Run `run` beside the gateway; without it every watcher's writer is woken."""

    def __init__(self) -> None:
        self._due: dict[LiveSession, None] = {}
        self._is_due = trio.Event()
        self._runs = False

    def tell(self, session: LiveSession) -> None:
        """It has news for its watchers. Never waits."""
        if not self._runs:
            session.wake_all()
        elif session.watches:
            self._due[session] = None
            self._is_due.set()

    async def run(self) -> None:
        """Tell news until cancelled."""
        self._runs = True
        try:
            while True:
                await self._is_due.wait()
                self._is_due = trio.Event()
                due, self._due = self._due, {}
                began_at = trio.current_time()
                for session in due:
                    await self._round(session)
                await trio.sleep(min(trio.current_time() - began_at, MOST_REST_S))
        finally:
            self._runs = False
            for session in self._due:
                session.wake_all()

    async def _round(self, session: LiveSession) -> None:
        """Tell each of its watchers what it has not seen yet."""
        stretches: dict[Place, _Stretch | None] = {}
        state = None
        for number, watch in enumerate([*session.watches], 1):
            if state != (state := (session.version, session.ring.seq)):
                stretches.clear()  # what was looked up is out of date
            if not self._told(watch, stretches):
                watch.wake()
            if number % TURN_WATCHERS == 0:
                await trio.lowlevel.checkpoint()

    def _told(self, watch: Watch, stretches: dict[Place, _Stretch | None]) -> bool:
        """Whether it has seen everything now, or will in the next round."""
        lane = watch.lane
        if lane is None:
            return False
        place = watch.place
        if place in stretches:
            stretch = stretches[place]
        else:
            stretch = stretches[place] = _stretch(watch)
        if stretch is None:
            return False
        if stretch.entries:
            if not self._written(lane, stretch):
                return False
            watch.passed(stretch.seq, stretch.sampled)
            if not stretch.is_whole:
                self.tell(watch.session)
        return True

    def _written(self, lane: Lane, stretch: _Stretch) -> bool:
        try:
            return lane.send_nowait(stretch.wire(lane))
        except Exception as error:  # the edge of a service: one watcher failed, and its writer will say so
            log.error("fanout-failed", exc_info=error)
            return False


class _Stretch(NamedTuple):
    """What comes next for all who stand at one place: up to the fact `seq`, and the samples of some files."""

    entries: list[Entry]
    seq: int
    sampled: list[str]
    is_whole: bool  # nothing comes behind it
    wires: dict[object, bytes]  # by the encoder's key

    def wire(self, lane: Lane) -> bytes:
        wire = self.wires.get(lane.encoder.key)
        if wire is None:
            frames = (lane.framed(frame) for entry in self.entries for frame in entry.frames(lane.encoder))
            wire = self.wires[lane.encoder.key] = b"".join(frames)
        return wire


def _stretch(watch: Watch) -> _Stretch | None:
    """None: it is not all in memory, or somebody is pulling it already."""
    entries = watch.upcoming()
    if entries is None:
        return None
    told = [*_at_most(entries, MOST_BYTES)]
    is_whole = len(told) == len(entries)
    seq = watch.session.ring.seq if is_whole else max([watch.cursor, *(entry.seq for entry in told)])
    events = (event for entry in told if entry.is_sample for event in entry.events)
    sampled = [event.file_id for event in events if isinstance(event, UploadProgress) and event.file_id]
    return _Stretch(told, seq, sampled, is_whole, {})


def _at_most(entries: list[Entry], most_bytes: int) -> Iterator[Entry]:
    """The first ones, at least one."""
    size_bytes = 0
    for entry in entries:
        size_bytes += entry.size_bytes
        if size_bytes > most_bytes and entry is not entries[0]:
            return
        yield entry
