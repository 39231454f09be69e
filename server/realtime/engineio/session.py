"""A running session: one task that writes, pings and ends it, whatever connection carries it.

Polls and WebSockets come and go in tasks of their own; they bring what the peer sends and take what waits for
it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog
import trio

from penstock.protocol.engineio.handshake import Query, Timing, Transport
from penstock.protocol.engineio.packets import EngineError, Frame, Packet
from penstock.protocol.engineio.session import CloseReason, Session
from penstock.server.edge.asgi import Address, Headers, Send, WebSocketHandle
from penstock.server.uploads.watch import Wakeup

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger()

FILL_BYTES = 64 * 1024  # of events are gathered for one write or one poll; more would only be memory
CHANGE_OVER_S = 0.1  # as the Node server, which lets polls of an upgrade go ten times a second
FAREWELL_S = 30.0  # a polling peer learns within this time that its session was closed


class Limits(NamedTuple):
    """What one session may cost."""

    timing: Timing
    max_message_bytes: int  # that a peer may send, and a poll's answer aims at
    max_buffered_bytes: int  # that may wait for a peer; it is cut beyond
    upgrade_timeout_s: float
    linger_s: float  # for what is under way when it ends


class Opening(NamedTuple):
    """How a session began: what its application may want to know of the first request."""

    query: Query
    headers: Headers
    client: Address


class Application(Protocol):
    """What runs on a session. An exception of any method ends the session and is logged."""

    @property
    def due_at(self) -> float:
        """When `tick` is to be called, on Trio's clock."""

    def tick(self) -> None:
        """Its time has come."""

    async def receive(self, data: Frame) -> None:
        """A message came, in order. Not to wait for long: pongs come the same way. Raises: EngineError."""

    async def fill(self) -> bool:
        """Send what is next, if there is something; False if not. Asked while the peer takes things."""

    async def wind_up(self) -> None:
        """The session has ended: finish what is under way, within `linger_s`."""

    def going_away(self) -> None:
        """The server is shutting down: last words."""

    def closed(self, reason: str) -> None:
        """The last call: give everything back."""


MakeApplication = Callable[["EngineSession", trio.Nursery], Application]


class EngineSession:
    """Made by the server; `run` is its task. `sid` is secret."""

    def __init__(self, sid: str, opening: Opening, limits: Limits) -> None:
        now = trio.current_time()
        self.sid = sid
        self.opening = opening
        self.wakeup = Wakeup()  # of the writer
        self.core = Session(opening.query.transport, limits.timing, now, only_text=opening.query.only_text)
        self._limits = limits
        self._life = trio.CancelScope(deadline=self.core.dead_at)
        self._application: Application  # once it has begun
        self._has_begun = False
        self._send: Send | None = None
        self._handle: WebSocketHandle | None = None  # of our own edge
        self._writing = False
        self._moved = trio.lowlevel.ParkingLot()  # something to take, or the end
        self._filling = False
        self._has_let_go = False
        self._readers: set[trio.CancelScope] = set()  # of WebSockets: they end with the session

    @property
    def max_message_bytes(self) -> int:
        return self._limits.max_message_bytes

    @property
    def upgrade_timeout_s(self) -> float:
        return self._limits.upgrade_timeout_s

    # The task

    async def run(
        self, make: MakeApplication, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """From the open packet to the end; started once it can `take`. Does not raise."""
        application: Application | None = None
        try:
            with self._life:
                async with trio.open_nursery() as nursery:
                    application = self._application = make(self, nursery)
                    self._has_begun = True
                    task_status.started()
                    try:
                        await self._write()
                    except OSError:  # the peer is gone, or takes nothing: its jobs are done all the same
                        self.core.close(CloseReason.TRANSPORT_ERROR)
                    self._let_go()  # nobody has to wait for what is under way
                    with trio.move_on_after(self._limits.linger_s):
                        await application.wind_up()
                    nursery.cancel_scope.cancel(reason="the session has ended")
            self.core.tick(trio.current_time())  # its deadline has ended it
        except* OSError:  # the peer is gone, or takes nothing
            self.core.close(CloseReason.TRANSPORT_ERROR)
        except* Exception as errors:
            log.error("session-failed", exc_info=errors)
            self.core.close(CloseReason.TRANSPORT_ERROR)
        finally:
            self.core.close(CloseReason.SERVER_SHUTTING_DOWN)
            self._let_go()
            if application is not None and self.core.closed is not None:
                application.closed(self.core.closed.value)

    async def _write(self) -> None:
        while self.core.closed is None:
            if not await self._write_some() and not await self._fill():
                with trio.CancelScope(deadline=min(self.core.next_tick, self._application.due_at)):
                    await self.wakeup.wait()
                self.core.tick(trio.current_time())
                self._application.tick()
                self._moved.unpark_all()  # a poll that waits takes the ping
        await self._write_some()

    async def _write_some(self) -> bool:
        if self._send is None:
            return False
        if self._handle is not None and self._handle.is_behind:
            await self._handle.catch_up()
        frames = self.core.take_websocket()
        self._writing = bool(frames)
        for frame in frames:
            kind = "bytes" if isinstance(frame, bytes) else "text"
            await self._send({"type": "websocket.send", kind: frame})
        self._writing = False
        return bool(frames)

    async def _fill(self) -> bool:
        """Gather what is next while the peer waits for it; whether there was anything."""
        if not self.core.writable:
            return False
        self._filling = True
        enough = min(FILL_BYTES, self._limits.max_buffered_bytes // 2)  # never so much that it is cut for it
        try:
            while self.core.closed is None and self.core.buffered_bytes < enough:
                if not await self._application.fill():
                    break
        finally:
            self._filling = False
        self._moved.unpark_all()
        return self.core.buffered_bytes > 0 and self.core.transport is Transport.WEBSOCKET

    # What is sent

    def send(self, *frames: Frame) -> None:
        """Queue frames, contiguously. A peer that lets too much wait is cut. Never waits."""
        self.core.send(frames)
        if self.core.buffered_bytes > self._limits.max_buffered_bytes:
            log.warning("slow-peer", buffered_bytes=self.core.buffered_bytes)
            self.close(CloseReason.TRANSPORT_ERROR)
        self._wake()

    def send_nowait(self, frames: bytes) -> bool:
        """Write frames, as they are on a WebSocket's wire, past all that waits here: only while nothing does.
        Never waits; False: nothing of them was written."""
        core = self.core
        if self._handle is None or self._writing or core.buffered_bytes or core.closed is not None:
            return False
        written = self._handle.send_nowait(frames)
        if written and self._handle.is_behind:
            self._wake()
        return written

    def close(self, reason: CloseReason) -> None:
        """End it at once: what waits is dropped. Idempotent."""
        self.core.close(reason, tell=reason is CloseReason.FORCED_CLOSE)
        self._wake()

    def send_away(self) -> None:
        """End it, because the server shuts down, once the peer has what waits for it."""
        if self.core.closed is None and self._has_begun:
            self._application.going_away()
        self.core.finish(CloseReason.SERVER_SHUTTING_DOWN)
        self._wake()

    # What comes in

    async def take(self, packet: Packet) -> None:
        """Hand over one packet. Raises: EngineError, and the session is closed."""
        try:
            data = self.core.receive(packet, trio.current_time())
            if self._life.deadline != self.core.dead_at:  # to set it is not cheap, and most packets do not
                self._life.deadline = self.core.dead_at
            if data is not None and self.core.closed is None:
                await self._application.receive(data)
        except EngineError:
            self.close(CloseReason.PARSE_ERROR)
            raise
        self._wake()

    # Polls

    def begin_poll(self) -> None:
        """A GET has come; `poll` must follow. Raises: Refused."""
        try:
            self.core.begin_poll()
        finally:
            self._wake()

    async def poll(self) -> list[Frame]:
        """What the GET is answered, once there is something. Cancelled, it closes the session: what was to be
        told would be lost otherwise. No frames: the session was upgraded meanwhile."""
        frames = None
        try:
            await self._wait_upgrade()
            while (frames := self._pollable()) is None:
                await self._moved.park()
                await self._wait_upgrade()
        finally:
            self.core.end_poll()
            if frames is None:
                self.core.close(CloseReason.TRANSPORT_CLOSE)
            self._wake()
        return frames

    async def _wait_upgrade(self) -> None:
        """A GET while the peer changes over, who may have said so already on its WebSocket."""
        with trio.move_on_after(CHANGE_OVER_S):
            while self.core.is_probed and not self.core.buffered_bytes and self.core.closed is None:
                await self._moved.park()

    def begin_post(self) -> None:
        """A POST has come; `core.end_post` must follow. Raises: Refused."""
        try:
            self.core.begin_post()
        finally:
            self._wake()

    async def wait_farewell(self) -> None:
        """Until a polling peer knows that its session is closed."""
        while self.core.owes_farewell:
            await self._moved.park()

    def _pollable(self) -> list[Frame] | None:
        return None if self._filling else self.core.take_poll(self._limits.max_message_bytes)

    # WebSockets

    def release_polls(self) -> None:
        """The WebSocket works: polls are answered, so that the peer can change over."""
        self.core.probed()
        self._moved.unpark_all()

    def attach(self, send: Send, handle: WebSocketHandle | None) -> None:
        """From now on this WebSocket carries it."""
        self._send, self._handle = send, handle
        self._wake()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around the reader of a WebSocket: cancelled when the session ends; left, it ends the session."""
        scope = trio.CancelScope()
        if self._has_let_go:  # between the handshake and now
            scope.cancel(reason="the session has ended")
        self._readers.add(scope)
        try:
            with scope:
                yield
        finally:
            self._readers.discard(scope)

    def _wake(self) -> None:
        self.wakeup.set()
        self._moved.unpark_all()

    def _let_go(self) -> None:
        self._has_let_go = True
        self._moved.unpark_all()
        for scope in self._readers:
            scope.cancel(reason="the session has ended")
