"""How h2 gets its frames here: DATA in runs, everything else as it comes.

h2 works as long for a DATA frame of a byte as for one of a megabyte, and curl sends 16 KiB in each, whatever
size is allowed. So what one read brought of a stream's DATA becomes one frame. Where DATA frames begin and
end means nothing (RFC 9113 §6.1), nor does the order of those of different streams: states, windows, lengths
and END_STREAM are still h2's to judge, by the run. All that is no DATA, has padding or is out of place goes
h2's own way.
"""

from __future__ import annotations

import struct
from collections import deque

from h2.frame_buffer import FrameBuffer
from hyperframe.frame import DataFrame, Frame

HEADER_BYTES = 9
_HEADER = struct.Struct(">HBBBL")  # the first two are the length
_END_STREAM = 0x1
_PADDED = 0x8
_NOTHING = memoryview(b"")


class Run(DataFrame):
    """Payload of one stream, of any number of DATA frames or a part of one."""

    def __init__(self, stream_id: int, data: bytes, *, end: bool) -> None:
        super().__init__(stream_id, data, flags=["END_STREAM"] if end else [])

    def __repr__(self) -> str:
        """h2 asks for it with every frame, for no log at all; hyperframe's own turns all bytes into hex."""
        return f"Run({self.stream_id}, {len(self.data)} bytes, {self.flags!r})"


class Frames(FrameBuffer):
    """A server's `FrameBuffer`. What was added is iterated to its end before more is added.

    In between it holds at most the beginning of one frame, and nothing of a payload that goes into runs.
    """

    payload_bytes = 0
    """How much of what was added last went into runs."""

    def __init__(self) -> None:
        super().__init__(server=True)
        self._fresh = _NOTHING  # what is left of what was added; h2's own buffer, `_data`, comes before it
        self._runs: deque[Run] = deque()
        self._in_payload = False
        self._stream_id = 0  # of the payload
        self._left = 0  # of the DATA frame that it is in
        self._is_last = False  # that frame

    def add_data(self, data: bytes) -> None:  # type: ignore[override]  # other buffers never come
        self._fresh = memoryview(data)
        self.payload_bytes = 0

    def __next__(self) -> Frame:
        if not self._runs:
            self._gather()
        return self._runs.popleft() if self._runs else self._whole_frame()

    def _gather(self) -> None:
        """Make runs of all DATA up to the next frame of another kind."""
        found: dict[int, list[memoryview]] = {}
        ended: set[int] = set()
        while self._in_payload or self._enters_payload(ended):
            piece = self._cut(self._left)
            self._left -= len(piece)
            self._in_payload = self._left > 0
            if piece or not self._in_payload:
                found.setdefault(self._stream_id, []).append(piece)
            if self._in_payload:
                break
            if self._is_last:
                ended.add(self._stream_id)
        for stream_id, pieces in found.items():
            run = Run(stream_id, b"".join(pieces), end=stream_id in ended)
            self.payload_bytes += len(run.data)
            self._runs.append(run)

    def _enters_payload(self, ended: set[int]) -> bool:
        """Whether a DATA frame for a run begins here, of a stream that has not `ended`."""
        self._keep(self._preamble_len)
        self._keep(HEADER_BYTES - len(self._data))
        if len(self._data) < HEADER_BYTES:
            return False
        length, kind, flags, stream_id = _parse(self._data)
        if (
            kind != DataFrame.type
            or flags & _PADDED
            or length > self.max_frame_size
            or not stream_id
            or stream_id in ended
            or self._headers_buffer  # in mid-header block, where it is an error
        ):
            return False
        self._data.clear()
        self._stream_id, self._left, self._is_last = stream_id, length, bool(flags & _END_STREAM)
        return True

    def _whole_frame(self) -> Frame:
        """Whatever is next, in h2's own way."""
        if len(self._data) < HEADER_BYTES:
            raise StopIteration
        length, _, _, _ = _parse(self._data)
        self._validate_frame_length(length)  # h2 would wait for all of it first
        self._keep(HEADER_BYTES + length - len(self._data))
        return super().__next__()

    def _cut(self, size: int) -> memoryview:
        """Up to so many bytes off the front of what is fresh."""
        piece, rest = self._fresh[:size], self._fresh[size:]
        self._fresh = rest or _NOTHING  # an empty view keeps alive all that was read, too
        return piece

    def _keep(self, size: int) -> None:
        """Move up to so many bytes to where h2 takes frames from."""
        if size > 0:
            super().add_data(self._cut(size))


def _parse(header: bytearray) -> tuple[int, int, int, int]:
    """Length, type, flags and stream id (RFC 9113 §4.1)."""
    high, low, kind, flags, stream_id = _HEADER.unpack_from(header)
    return high << 8 | low, kind, flags, stream_id & 0x7FFFFFFF
