"""One HTTP/2 connection without its socket: h2's state machine, flow-control windows, what waits to be sent.

All but the writer's wait is synchronous, so no frame is ever half made.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import trio
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.exceptions import ProtocolError, StreamClosedError, StreamIDTooLowError
from h2.settings import SettingCodes
from h2.settings import Settings as H2Settings
from h2.stream import StreamState
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame, GoAwayFrame

from penstock.server.edge.asgi import Headers
from penstock.server.edge.h2_frames import Frames, Run
from penstock.server.edge.transport import READ_BYTES
from penstock.server.settings import KIB, MIB

MAX_STREAMS = 100
MAX_HEADER_LIST_BYTES = 64 * KIB
HEADER_TABLE_BYTES = 4 * KIB
FIRST_WINDOW = 65_535  # RFC 9113 §6.9.2: what every stream starts with
LARGEST_WINDOW = MIB
MAX_BUFFERED = 8 * MIB  # of all bodies of one connection that nobody has taken yet
# Windows grow only out of what is left when every possible stream has its first one: so the bound above holds
# whatever the streams do, the connection's window needs no say in it, and no held stream stops a sibling.
GROWTH = MAX_BUFFERED - MAX_STREAMS * FIRST_WINDOW
CONNECTION_WINDOW = 8 * MIB
CONNECTION_CREDIT = CONNECTION_WINDOW // 16  # credited in such steps: a frame of ours per 512 KiB of theirs
DATA_BACKLOG = 128 * KIB  # two socket writes: one under way, one being filled
MAX_BACKLOG = MIB  # beyond this only answers to control frames can be waiting: stop reading more of those
BULK_READ_BYTES = 256 * KIB  # what is read at once of bodies: costs fall until here, and no further
BULK_SHARE = 15 / 16  # of what was read that must have been body
DATA_STEP = 64 * KIB  # largest DATA frame, however large the peer allows them: streams take turns


class _Machine(H2Connection):
    MAX_CLOSED_STREAMS = 1024  # h2 remembers 65 536 of them: megabytes on a long-lived connection

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        self.incoming_buffer = self.frames = Frames()
        self._frame_dispatch_table[Run] = self._receive_data_frame

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """h2 would close the connection here and fail the streams that still run.

        A client's GOAWAY only says that it opens no more of them (RFC 9113 §6.8).
        """
        return [], [ConnectionTerminated()]


class Link:
    """The connection as its streams see it. Who sends on a stream has made sure that it is not lost."""

    def __init__(self) -> None:
        self._machine = _Machine(H2Configuration(client_side=False, header_encoding=None))
        self._machine.local_settings = H2Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
            },
        )
        self.read_bytes = READ_BYTES
        """How much to read next. More while bodies come; of other frames 64 KiB are work enough at a time."""
        self._growth = GROWTH
        self._uncredited = 0
        self._outbox = bytearray()
        self._in_flight = 0
        self._finished = False
        self._filled = trio.lowlevel.ParkingLot()
        self.drained = trio.lowlevel.ParkingLot()
        """Who waits for `backlog` to fall parks here; woken on every step, and when a stream is lost."""

    # From the peer

    def start(self, upgrade_settings: bytes | None = None) -> None:
        """Queue our settings; with `upgrade_settings` (an HTTP2-Settings header) stream 1 is already open.

        Raises: `ProtocolError` where that header is no good, once the GOAWAY for it is queued.
        """
        try:
            if upgrade_settings is None:
                self._machine.initiate_connection()
            else:
                self._machine.initiate_upgrade_connection(upgrade_settings)
                self.settings_changed()
            self._machine.increment_flow_control_window(CONNECTION_WINDOW - FIRST_WINDOW)
        except (ProtocolError, HyperframeError, ValueError) as error:
            self._machine.close_connection(ErrorCodes.PROTOCOL_ERROR)
            raise ProtocolError(f"HTTP2-Settings: {error}") from error
        finally:
            self._flush()

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes off the wire. Raises `ProtocolError` once the GOAWAY for it is queued."""
        try:
            events = self._machine.receive_data(data)
        except ProtocolError as error:
            if self._machine.state_machine.state is not ConnectionState.CLOSED:  # a bad preface
                self._machine.close_connection(error.error_code)
            raise
        else:
            is_bulk = self._machine.frames.payload_bytes > BULK_SHARE * max(len(data), READ_BYTES)
            self.read_bytes = BULK_READ_BYTES if is_bulk else READ_BYTES
            return events
        finally:
            self._flush()

    def settings_changed(self) -> None:
        """Keep our side's header compression small, whatever the peer allows: the table is our memory."""
        encoder = self._machine.encoder
        encoder.header_table_size = min(encoder.header_table_size, HEADER_TABLE_BYTES)

    # Windows of the peer

    def credit_connection(self, size: int) -> None:
        """Bytes came in, padding included: the connection's window is given back on receipt."""
        self._uncredited += size
        if self._uncredited >= CONNECTION_CREDIT:
            self._machine.increment_flow_control_window(self._uncredited)
            self._uncredited = 0
            self._flush()

    def credit_stream(self, stream_id: int, size: int) -> None:
        """Bytes of this stream were consumed; the peer may send as many again."""
        with suppress(StreamClosedError, KeyError):  # reset later in the same read
            self._machine.increment_flow_control_window(size, stream_id)
        self._flush()

    def borrow_growth(self, wanted: int) -> int:
        """How much of `wanted` a stream may add to its window; to be returned when the stream's task ends."""
        granted = min(wanted, self._growth)
        self._growth -= granted
        return granted

    def return_growth(self, size: int) -> None:
        """The stream that borrowed it holds no bytes any more."""
        self._growth += size

    # To the peer

    def send_headers(self, stream_id: int, status: int, headers: Headers, *, end: bool = False) -> None:
        """A head, informational or final. `headers` are clean: h2 compresses while it validates, and an error
        in between would leave both sides with different tables.
        """
        fields: Iterable[tuple[bytes, bytes]] = [(b":status", b"%d" % status), *headers]
        self._machine.send_headers(stream_id, fields, end_stream=end)
        self._flush()

    def send_data(self, stream_id: int, data: memoryview, *, end: bool) -> int:
        """Send as much of `data` as windows, frame size and our own backlog allow now, and say how much.

        0 means: wait. `end` closes our side with the last byte (or without any).
        """
        size = min(len(data), self.window(stream_id), self._machine.max_outbound_frame_size, DATA_STEP)
        if data and size <= 0:
            return 0
        self._machine.send_data(stream_id, data[:size], end_stream=end and size == len(data))
        self._flush()
        return size

    def window(self, stream_id: int) -> int:
        """How many bytes the peer is ready to take; zero or less: none (RFC 9113 §6.9.2)."""
        return self._machine.local_flow_control_window(stream_id)

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """End one stream in both directions. What still comes for it is credited and dropped by h2."""
        with suppress(StreamClosedError):
            self._machine.reset_stream(stream_id, code)
        self._flush()

    def stop_request(self, stream_id: int) -> None:
        """The response is out; a request that has not ended is not wanted any more (RFC 9113 §8.1).

        The RST_STREAM waits for the answer to a PING behind the response: curl 7 throws away a response whose
        reset comes in the same read. Until then what comes for the stream is credited and dropped.
        """
        if self._is_answered_early(stream_id):
            self._machine.ping(stream_id.to_bytes(8, "big"))
            self._flush()

    def ping_answered(self, payload: bytes) -> None:
        """The peer has seen what we sent before that PING."""
        stream_id = int.from_bytes(payload, "big")
        if self._is_answered_early(stream_id):
            self.reset(stream_id, ErrorCodes.NO_ERROR)

    def _is_answered_early(self, stream_id: int) -> bool:
        stream = self._machine.streams.get(stream_id)
        return stream is not None and stream.state_machine.state is StreamState.HALF_CLOSED_LOCAL

    def refuse(self, stream_id: int, status: int, headers: Headers) -> None:
        """Answer a request that no application sees."""
        with suppress(StreamClosedError, StreamIDTooLowError):  # reset later in the same read
            self.send_headers(stream_id, status, headers, end=True)
            self.stop_request(stream_id)

    def goaway(self, code: ErrorCodes, last_stream_id: int) -> None:
        """Say that later streams will not be served; running ones go on (h2's own way closes its machine)."""
        frame = GoAwayFrame(0, last_stream_id=last_stream_id, error_code=code)
        self._outbox += frame.serialize()
        self._filled.unpark_all()

    # The outbox

    def _flush(self) -> None:
        if data := self._machine.data_to_send():
            self._outbox += data
            self._filled.unpark_all()

    @property
    def backlog(self) -> int:
        """How many bytes the socket has not taken yet."""
        return len(self._outbox) + self._in_flight

    async def next_outgoing(self) -> bytes:
        """All that waits to be sent, b"" after `finish`. The former piece is taken as sent.

        Cancel-safe.
        """
        self._in_flight = 0
        self.drained.unpark_all()
        while not self._outbox and not self._finished:
            await self._filled.park()
        data, self._outbox = bytes(self._outbox), bytearray()
        self._in_flight = len(data)
        return data

    def finish(self) -> None:
        """Nothing will be added any more."""
        self._finished = True
        self._filled.unpark_all()
