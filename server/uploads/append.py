"""One request that moves bytes into one file: a cancel scope with a reason.

Reading and storing overlap: a reader fills one buffer from the body while the sink stores the one before.
Pause closes the gate between the reader and the socket; stop cancels the scope. Whatever ends an append,
what it took is stored and made durable before anybody is told, unless the file is cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import trio

from penstock.protocol.errors import GatewayError
from penstock.server.peer import Body, BodyBroken, ThreadedBody
from penstock.server.uploads.buffers import BufferPool
from penstock.server.uploads.refill import Refill
from penstock.server.uploads.sink import Filled, Sink
from penstock.storage.blobs.base import BlobWriter
from penstock.storage.errors import StoreError

if TYPE_CHECKING:
    from penstock.server.uploads.file import LiveFile
    from penstock.server.uploads.session import LiveSession

FLUSH_AFTER_S = 1.0  # a slow upload's bytes are not kept in memory for longer


class StopReason(StrEnum):
    PAUSED = "paused"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    DRAINING = "draining"
    TIMED_OUT = "timed-out"
    LIMIT = "limit"
    STORE = "store"


class Overrun(Exception):
    """The body has more bytes than the append may take."""


class Append:
    """A visitor of a file: first held or admitted, then reading, then settled.

    `scope` covers all waiting of the request up to the end of its body; `done` is set when it holds nothing
    any more (no lease, no buffer, no descriptor).
    """

    def __init__(self, session: LiveSession, file: LiveFile, pool: BufferPool) -> None:
        self.session = session
        self.file = file
        self.scope = trio.CancelScope()  # of the current stage
        self.on_first_byte: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        self.stop_reason: StopReason | None = None
        self.done = trio.Event()
        self.fault: StoreError | None = None
        self.pause_due = False  # a pause was acknowledged, its fact is to come
        self.last_byte_at = trio.current_time()
        self.taken_bytes = 0
        self.sink = Sink(session, file, pool)
        self._settings = session.settings
        self._pool = pool
        self._threaded: ThreadedBody | None = None  # the body, if it can be taken in a thread
        self._is_fast = False  # its socket had more when its last turn was over
        self._limit: int | None = None  # bytes it may still take; None: no known end
        self._gate_open = True
        self._parked = trio.Event()
        self._pause_told = trio.Event()
        self._told_last = False  # it ends: no pause fact will come from it any more
        self._moved = trio.lowlevel.ParkingLot()  # gate or pause moved: look again
        self._waiting = trio.CancelScope()  # around the reader's current wait
        self._filling: bytearray | None = None
        self._filled = 0
        self._flush_at = 0.0
        self._has_read = False

    # Called by others

    def stop(self, reason: StopReason) -> None:
        """End it. The first reason wins, but a cancel always does."""
        if self.stop_reason is None or reason is StopReason.CANCELLED:
            self.stop_reason = reason
            self.scope.cancel(reason=reason.value)

    def fresh_scope(self) -> trio.CancelScope:
        """A scope for the next stage (one is entered once); already cancelled if it was stopped before."""
        self.scope = trio.CancelScope()
        if self.stop_reason is not None:
            self.scope.cancel(reason=self.stop_reason.value)
        return self.scope

    def close_gate(self) -> None:
        """Take not one more byte from the peer, until `open_gate`."""
        if self._gate_open:
            self._gate_open = False
            self._parked = trio.Event()
            self._pause_told = trio.Event()
            self._waiting.cancel(reason="gate closed")
            self._moved.unpark_all()

    def open_gate(self) -> None:
        self._gate_open = True
        self.last_byte_at = trio.current_time()  # it was not allowed to bring any
        self._moved.unpark_all()

    async def wait_parked(self) -> None:
        """Until the gate is closed and everything taken is written, or the append is done."""
        await self._first_of(self._parked)

    def confirm_pause(self) -> bool:
        """The pause was committed: make the bytes durable and tell the fact. False if the append has ended
        meanwhile: all it had is durable, and the caller tells."""
        if self._told_last or self.done.is_set():
            return False
        self.pause_due = True
        self._moved.unpark_all()
        return True

    async def wait_pause_told(self) -> None:
        """Until the fact of a confirmed pause is out, or the append is done."""
        await self._first_of(self._pause_told)

    @property
    def cancelled(self) -> bool:
        return self.stop_reason is StopReason.CANCELLED

    @property
    def paused(self) -> bool:
        return not self._gate_open

    @property
    def parked(self) -> bool:
        """Whether it takes nothing and everything taken is written."""
        return self.paused and self._parked.is_set()

    @property
    def settling(self) -> bool:
        """Whether it has taken its last byte and only stores it now."""
        return self._has_read

    @property
    def idle_s(self) -> float:
        """Seconds since the last byte came in."""
        return trio.current_time() - self.last_byte_at

    # The way of the bytes

    async def run(self, body: Body, writer: BlobWriter, limit: int | None) -> None:
        """Take the body's bytes until its end, a stop, or a break.

        Raises: BodyBroken; Overrun; StoreError; what `on_first_byte` does. On a stop it returns, see
        `stop_reason`.
        """
        self.sink.writer = writer
        self._limit = limit
        self._threaded = body if isinstance(body, ThreadedBody) else None
        self.last_byte_at = trio.current_time()  # it may have been held before
        broken: BodyBroken | Overrun | GatewayError | None = None
        with self.fresh_scope():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._store)
                try:
                    await self._read(body)
                except (BodyBroken, Overrun, GatewayError) as error:
                    broken = error  # as it is, not in the nursery's group
                except StoreError as error:
                    self.fault = error
                finally:
                    self._has_read = True
                    self.sink.end()
        if self.fault is not None:
            raise self.fault
        if broken is not None:
            raise broken

    def hand_over_rest(self) -> None:
        """Put what is filled so far into the sink; idempotent."""
        if self._filling is not None:
            self.sink.put(Filled(self._filling, self._filled))
            self._filling, self._filled = None, 0

    # Reader

    async def _read(self, body: Body) -> None:
        while body.length is None or self.taken_bytes < body.length:
            if not self._gate_open and self.file.received == self.file.row.file_size:
                return  # the pause came too late: held back, a whole file would never be finished
            if not self._gate_open:
                await self.pass_gate()
            elif self._is_fast and self._threaded:
                await self._pour(self._threaded)
            elif await self._wait_bytes(body) and await self._take(body):
                return

    async def _wait_bytes(self, body: Body) -> bool:
        """Wait until the body has something; False if the gate closed or it was time to flush."""
        idle_at = trio.current_time() + self._settings.body_idle_timeout_s
        wait_until = min(idle_at, self._flush_at) if self._filled else idle_at
        with trio.CancelScope(deadline=wait_until) as self._waiting:
            await body.wait_readable()
            if self._filling is None:
                self._filling = await self._pool.take()
            return self._gate_open
        if self._gate_open and trio.current_time() >= idle_at:
            self.stop_reason = self.stop_reason or StopReason.TIMED_OUT
            raise BodyBroken(f"no byte came for {self._settings.body_idle_timeout_s:g} s")
        if self._filled and self._gate_open:
            await self._hand_over()
        return False

    async def _take(self, body: Body) -> bool:
        """Take what is there without waiting for the peer; True at the end of the body."""
        while self._gate_open:
            assert self._filling is not None
            if self.taken_bytes == body.length:
                return True
            try:
                count = self._receive(body)
            except trio.WouldBlock:
                if not self._filled:
                    self.hand_over_rest()  # owns a buffer only while bytes are in it
                return False
            if count == 0:
                return True
            if self.taken_bytes == 0:
                await self.on_first_byte()
            self._took(count)
            if self._filled == len(self._filling):
                await (self._pour(self._threaded) if self._threaded else self._hand_over())
                return False
        return False

    async def _pour(self, body: ThreadedBody) -> None:
        """Store what was taken, and what comes next, in one thread, until its turn is over."""
        with trio.CancelScope() as self._waiting:
            async with self._pool.turns:
                if self._filling is None:
                    self._filling = await self._pool.take_largest()
                await self._take_turn(body, self._filling)

    async def _take_turn(self, body: ThreadedBody, buffer: bytearray) -> None:
        with body.in_thread() as take:
            refill = Refill(
                take,
                self._may_take,
                filled=self._filled,
                most_bytes=self._most_bytes(body, len(buffer)),
                turn_s=self._pool.turn_s,
            )
            try:
                await self.sink.pour(buffer, self._filled, refill)
            finally:
                self._filled = refill.filled
                self._count(refill.taken)
                self._is_fast = bool(refill.taken) and not refill.is_dry
                if not self._filled:
                    self.hand_over_rest()  # owns a buffer only while bytes are in it

    def _may_take(self) -> bool:
        return self._gate_open and self.stop_reason is None

    def _most_bytes(self, body: ThreadedBody, step_bytes: int) -> int:
        rest = None if body.length is None else body.length - self.taken_bytes
        until_sync = max(self.sink.bytes_until_sync, step_bytes)
        return min(end for end in (until_sync, self._limit, rest) if end is not None)

    def _receive(self, body: Body) -> int:
        assert self._filling is not None
        room = len(self._filling) - self._filled
        if self._limit == 0:  # all it may take is here: only the end of the body may follow
            if body.receive_nowait(memoryview(bytearray(1))):
                self.stop_reason = self.stop_reason or StopReason.LIMIT
                raise Overrun
            return 0
        take = room if self._limit is None else min(room, self._limit)
        return body.receive_nowait(memoryview(self._filling)[self._filled : self._filled + take])

    def _took(self, count: int) -> None:
        if not self._filled:
            self._flush_at = trio.current_time() + FLUSH_AFTER_S
        self._filled += count
        self._count(count)

    def _count(self, count: int) -> None:
        self.last_byte_at = trio.current_time()
        self.taken_bytes += count
        if self._limit is not None:
            self._limit -= count
        self.session.note_bytes(self.file, count)

    async def _hand_over(self) -> None:
        """Pass the filled buffer on; waits while the sink still has the one before."""
        await self.sink.wait_empty()
        self.hand_over_rest()

    async def _store(self) -> None:
        try:
            await self.sink.run()
        except StoreError as error:
            self.fault = error
            self.stop(StopReason.STORE)

    async def pass_gate(self) -> None:
        """Go on at once, or when the gate is open again. Cancel-safe."""
        while not self._gate_open:
            await self._park()

    def took_elsewhere(self, count: int) -> None:
        """Count bytes that were written without passing through our buffers."""
        self._count(count)

    async def _park(self) -> None:
        """The pause: write what was taken, say so, then stay until the gate opens or the hold is over."""
        await self._hand_over()
        await self.sink.wait_empty()
        with trio.move_on_after(self._settings.pause_hold_s) as hold:
            while not self._gate_open:
                self._parked.set()  # again for a pause that follows a resume at once
                if self.pause_due:
                    await self._tell_pause()
                    await trio.lowlevel.checkpoint_if_cancelled()  # it failed: not again and again
                else:
                    await self._moved.park()
        if hold.cancelled_caught:
            self.stop(StopReason.PAUSED)
        await trio.lowlevel.checkpoint()

    async def _tell_pause(self) -> None:
        # Not cancellable half way: it waits for the disk only, and the fact must follow the commit.
        with trio.CancelScope(shield=True):
            try:
                await self.sink.make_durable()
                await self.tell_due_pause()
            except StoreError as error:
                self.fault = error
                self.stop(StopReason.STORE)

    async def tell_due_pause(self, *, last: bool = False) -> None:
        """Tell the fact of a confirmed pause, if it is still to come. Raises: StoreError."""
        self._told_last = last
        if self.pause_due:
            self.pause_due = False
            await self.session.record_pause([self.file])
        self._pause_told.set()

    async def _first_of(self, event: trio.Event) -> None:
        """Wait for an event of the append, or for its end."""
        if event.is_set() or self.done.is_set():
            await trio.lowlevel.checkpoint()
            return
        async with trio.open_nursery() as nursery:

            async def wait(which: trio.Event) -> None:
                await which.wait()
                nursery.cancel_scope.cancel(reason="one is enough")

            nursery.start_soon(wait, event)
            nursery.start_soon(wait, self.done)
