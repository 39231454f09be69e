"""One session: which transport carries it, what waits to be sent, when it is to be pinged, when it is dead.

It outlives its connections: polls come and go, and an upgrade moves it from polling to a WebSocket. No clock
and no sockets here; whoever drives it looks at it again after every call that may have changed something.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum, auto

from penstock.protocol.engineio.handshake import Refusal, Refused, Timing, Transport
from penstock.protocol.engineio.packets import EngineError, Frame, Packet, PacketType, as_text, text_bytes

_CLOSE = PacketType.CLOSE.value
_NOOP = PacketType.NOOP.value
_PING = PacketType.PING.value


class CloseReason(Enum):
    """As the Node server names them."""

    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    PARSE_ERROR = "parse error"
    FORCED_CLOSE = "forced close"
    SERVER_SHUTTING_DOWN = "server shutting down"


class _Upgrade(Enum):
    NONE = auto()
    BEGUN = auto()  # a WebSocket has come
    PROBED = auto()  # it works: polls are let go, so that the client can change over
    DONE = auto()


class Session:
    """Frames go in by `send` and out by `take_poll` or `take_websocket`, in one order, each once."""

    def __init__(self, transport: Transport, timing: Timing, now: float, *, only_text: bool = False) -> None:
        """`now` and all times: seconds of one clock. `only_text`: bytes go out as base64, always."""
        self.transport = transport
        self.closed: CloseReason | None = None
        self.buffered_bytes = 0  # that wait to be sent
        self.ping_due = now + timing.ping_interval_s
        self._timing = timing
        self._only_text = only_text
        self._buffer: deque[tuple[Frame, int]] = deque()
        self._pinged = False
        self._polling = False
        self._posting = False
        self._farewell = False  # the peer is to be told that it is closed
        self._upgrade = _Upgrade.NONE

    # Time

    @property
    def dead_at(self) -> float:
        """When it is dead unless a pong comes. Counted from when the ping was due: it may never have left."""
        return self.ping_due + self._timing.ping_timeout_s

    @property
    def next_tick(self) -> float:
        """When `tick` has something to do."""
        return self.dead_at if self._pinged else self.ping_due

    def tick(self, now: float) -> None:
        """Ping, or close, if it is time."""
        if now >= self.dead_at:
            self.close(CloseReason.PING_TIMEOUT)
        elif now >= self.ping_due and not self._pinged:
            self._pinged = True
            self.send([_PING])

    # What the peer sends

    def receive(self, packet: Packet, now: float) -> Frame | None:
        """The data of a message; None for what concerns the session alone. Raises: EngineError."""
        match packet.type:
            case PacketType.MESSAGE:
                return packet.data
            case PacketType.PONG:  # and nothing else: a peer that only sends may have stopped reading
                self._pinged = False
                self.ping_due = now + self._timing.ping_interval_s
            case PacketType.CLOSE:
                self.close(CloseReason.TRANSPORT_CLOSE)
            case PacketType.PING:
                raise EngineError("pings come from the server")
        return None

    # What is sent

    def send(self, frames: Iterable[Frame]) -> None:
        """Add frames, contiguously. Nothing once it is closed."""
        if self.closed is not None:
            return
        for frame in frames:
            self._push(as_text(frame) if self._only_text else frame)

    def _push(self, frame: Frame) -> None:
        as_it_is = isinstance(frame, bytes) and self.transport is Transport.WEBSOCKET
        size = len(frame) if as_it_is else text_bytes(frame)
        self._buffer.append((frame, size))
        self.buffered_bytes += size

    @property
    def writable(self) -> bool:
        """Whether what is sent now leaves now."""
        if self.closed is not None or self._buffer:
            return False
        return self.transport is Transport.WEBSOCKET or self._polling

    def take_websocket(self) -> list[Frame]:
        """All that waits, for a WebSocket; nothing while polling carries the session."""
        if self.transport is not Transport.WEBSOCKET:
            return []
        frames = [frame for frame, _ in self._buffer]
        self._clear()
        return frames

    # Polling

    def begin_poll(self) -> None:
        """A GET has come. Raises: Refused, and the session is closed if there was one already."""
        if not self.owes_farewell:
            self._check_polling()
        elif not self._polling:
            self._push(_NOOP)  # as the Node server does: noop, then close
        if self._polling:
            self.close(CloseReason.TRANSPORT_ERROR, tell=True)
            raise Refused(Refusal.BAD_REQUEST)
        self._polling = True

    def take_poll(self, max_bytes: int) -> list[Frame] | None:
        """What the GET is answered: at least one frame, of more as many as fit.

        None: nothing to say yet. No frame at all: a WebSocket carries the session meanwhile.
        """
        frames: list[Frame] = []
        if self.transport is Transport.WEBSOCKET:
            return frames
        while self._buffer and (not frames or self._buffer[0][1] <= max_bytes):
            frame, size = self._buffer.popleft()
            self.buffered_bytes -= size
            max_bytes -= size
            frames.append(frame)
        if self.closed is not None and frames in ([], [_NOOP]):
            # Not behind a message: socket.io-client drops what it has not handled when it is closed. And only
            # who has closed it needs not be told.
            frames.append(_NOOP if self.closed is CloseReason.TRANSPORT_CLOSE else _CLOSE)
            self._farewell = False
        if not frames and self.is_probed:
            # Each GET, not only the first: a client that polls once more would wait for the next ping.
            return [_NOOP]  # github.com/socketio/engine.io-client/issues/18
        return frames or None

    def end_poll(self) -> None:
        """The GET was answered."""
        self._polling = False

    def begin_post(self) -> None:
        """A POST has come. Raises: Refused, and the session is closed if there was one already."""
        self._check_polling()
        if self._posting:
            self.close(CloseReason.TRANSPORT_ERROR, tell=True)
            raise Refused(Refusal.BAD_REQUEST)
        self._posting = True

    def end_post(self) -> None:
        """The POST was read, to its end or not."""
        self._posting = False

    def _check_polling(self) -> None:
        if self.closed is not None:
            raise Refused(Refusal.UNKNOWN_SID)
        if self.transport is not Transport.POLLING:
            raise Refused(Refusal.BAD_REQUEST)

    # Upgrade

    def begin_upgrade(self) -> bool:
        """A WebSocket has come for this session; False if it has one, or is closed."""
        if self.closed is not None or self._upgrade is not _Upgrade.NONE:
            return False
        if self.transport is Transport.WEBSOCKET:
            return False
        self._upgrade = _Upgrade.BEGUN
        return True

    def probed(self) -> None:
        """The WebSocket has been tried and works."""
        if self._upgrade is _Upgrade.BEGUN:
            self._upgrade = _Upgrade.PROBED

    @property
    def is_probed(self) -> bool:
        """Whether the peer may change over at any moment."""
        return self._upgrade is _Upgrade.PROBED

    def upgrade(self) -> bool:
        """From now on the WebSocket carries the session; False if that cannot be."""
        if self.closed is not None or not self.is_probed:
            return False
        self._upgrade = _Upgrade.DONE
        self.transport = Transport.WEBSOCKET
        return True

    def give_up_upgrade(self) -> None:
        """The WebSocket was not what it should be: polling goes on."""
        if self._upgrade is not _Upgrade.DONE:
            self._upgrade = _Upgrade.NONE

    # The end

    def close(self, reason: CloseReason, *, tell: bool = False) -> None:
        """The first reason stays. What waits to be sent is dropped.

        `tell`: a polling peer is to learn of it from its next GET, if none is pending.
        """
        if self.closed is None:
            self.closed = reason
            self._clear()
            self._farewell = tell and self.transport is Transport.POLLING

    def finish(self, reason: CloseReason) -> None:
        """Close, but let what waits be taken first."""
        if self.closed is None:
            self.closed = reason
            self._farewell = self.transport is Transport.POLLING

    @property
    def owes_farewell(self) -> bool:
        """Whether a GET of a closed session still has something to be answered."""
        return self._farewell

    def _clear(self) -> None:
        self._buffer.clear()
        self.buffered_bytes = 0
