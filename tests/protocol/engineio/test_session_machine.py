"""Frames out = frames in, in order, each once: whatever carries them, and however often that changes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.protocol.engineio.handshake import Refused, Timing, Transport
from penstock.protocol.engineio.packets import Frame, Packet, PacketType, encode, text_bytes
from penstock.protocol.engineio.session import CloseReason, Session

PING, NOOP, CLOSE = "2", "6", "1"


class Deliveries(RuleBasedStateMachine):
    """The model: what was sent, what arrived, and a clock. Messages are numbered: each is one only."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = Session(Transport.POLLING, Timing(25.0, 20.0), self.now)
        self.sent: list[Frame] = []
        self.arrived: list[Frame] = []
        self.unanswered_pings = 0
        self.lost = False  # closed at once: what waited is dropped

    # The application

    @rule(count=st.integers(1, 5), binary=st.booleans(), size=st.integers(0, 100))
    def send(self, count: int, binary: bool, size: int) -> None:
        frames: list[Frame] = []
        for number in range(len(self.sent), len(self.sent) + count):
            data = f"{number}:" + "x" * size
            frames.append(data.encode() if binary else encode(Packet(PacketType.MESSAGE, data)))
        if self.session.closed is None:
            self.sent += frames
        self.session.send(frames)

    # The peer

    @precondition(lambda self: self.session.transport is Transport.POLLING)
    @rule(room_bytes=st.integers(0, 300))
    def poll(self, room_bytes: int) -> None:
        try:
            self.session.begin_poll()
        except Refused:
            assert self.session.closed is not None
            assert not self.session.owes_farewell
            return
        frames = self.session.take_poll(room_bytes)
        if frames is None:
            assert self.session.buffered_bytes == 0
            self.session.end_poll()  # it went away, and took nothing with it
            return
        data = [frame for frame in frames if frame not in (NOOP, CLOSE)]
        assert frames
        assert len(data) <= 1 or sum(map(text_bytes, data)) <= room_bytes
        self.session.end_poll()
        self.take(frames)

    @rule()
    def read_websocket(self) -> None:
        self.take(self.session.take_websocket())

    def take(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame == PING:
                self.unanswered_pings += 1
                assert self.unanswered_pings == 1, "a ping before the last one was answered"
            elif frame not in (NOOP, CLOSE):
                self.arrived.append(frame)

    @precondition(lambda self: self.unanswered_pings)
    @rule()
    def pong(self) -> None:
        self.unanswered_pings = 0
        self.session.receive(Packet(PacketType.PONG), self.now)

    @rule()
    def begin_upgrade(self) -> None:
        self.session.begin_upgrade()

    @rule()
    def probe(self) -> None:
        self.session.probed()

    @rule()
    def upgrade(self) -> None:
        before = self.session.transport
        assert self.session.upgrade() is (self.session.transport is not before)

    @rule()
    def give_up(self) -> None:
        before = self.session.transport
        self.session.give_up_upgrade()
        assert self.session.transport is before

    # Time and ends

    @rule(seconds=st.sampled_from([1.0, 10.0, 25.0]))
    def wait(self, seconds: float) -> None:
        alive = self.session.closed is None
        self.now += seconds
        self.session.tick(self.now)
        if alive and self.session.closed is not None:
            assert self.session.closed is CloseReason.PING_TIMEOUT
            assert self.now >= self.session.dead_at
            self.lost = True

    @rule()
    def finish(self) -> None:
        self.session.finish(CloseReason.SERVER_SHUTTING_DOWN)

    @rule(reason=st.sampled_from(CloseReason), tell=st.booleans())
    def close(self, reason: CloseReason, tell: bool) -> None:
        if self.session.closed is None:
            self.lost = True
        self.session.close(reason, tell=tell)

    # Always

    @invariant()
    def in_order_and_each_once(self) -> None:
        assert self.arrived == self.sent[: len(self.arrived)]

    @invariant()
    def what_has_not_arrived_waits_or_was_dropped(self) -> None:
        if self.lost:
            assert self.session.buffered_bytes == 0
        elif self.arrived != self.sent:
            assert self.session.buffered_bytes > 0

    def teardown(self) -> None:
        """Whoever goes on reading gets the rest."""
        for _ in range(2 * len(self.sent) + 3):
            if self.session.transport is Transport.POLLING:
                self.poll(50)
            self.read_websocket()
        assert self.lost or self.arrived == self.sent


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=100, stateful_step_count=40)
