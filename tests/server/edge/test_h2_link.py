"""The connection without its socket: what one read costs h2, how much is read next."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from hyperframe.frame import DataFrame, PingFrame

from penstock.server.edge.h2_link import BULK_READ_BYTES, FIRST_WINDOW, Link
from penstock.server.edge.h2_streams import PIECE_BYTES, Pieces
from penstock.server.edge.transport import READ_BYTES
from penstock.server.settings import KIB

HEAD = [(":method", "PUT"), (":scheme", "http"), (":authority", "a"), (":path", "/")]


def opened(streams: int = 1, *, length: int | None = None) -> Link:
    """With so many requests open."""
    link = Link()
    link.start()
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    fields = [*HEAD, ("content-length", str(length))] if length is not None else HEAD
    for number in range(streams):
        client.send_headers(2 * number + 1, fields)
    link.feed(client.data_to_send())
    return link


def data(size: int, *, stream_id: int = 1, end: bool = False) -> bytes:
    return DataFrame(stream_id, bytes(size), flags=["END_STREAM"] * end).serialize()


def test_a_read_of_many_frames_is_one_event_for_each_stream() -> None:
    link = opened(3)
    mixed = b"".join(data(100, stream_id=stream_id) for _ in range(50) for stream_id in (1, 3, 5))
    got = [event for event in link.feed(mixed) if isinstance(event, DataReceived)]
    assert [(event.stream_id, len(event.data), event.flow_controlled_length) for event in got] == [
        (1, 5000, 5000),
        (3, 5000, 5000),
        (5, 5000, 5000),
    ]


def test_a_part_of_a_frame_is_told_at_once() -> None:
    link = opened()
    frame = data(16 * KIB, end=True)
    [first] = link.feed(frame[:1009])
    assert isinstance(first, DataReceived)
    assert len(first.data) == 1000
    second, last = link.feed(frame[1009:])
    assert isinstance(second, DataReceived)
    assert len(second.data) == 16 * KIB - 1000
    assert isinstance(last, StreamEnded)


@pytest.mark.parametrize("cut", [0, 9, 10, 9000])
def test_h2_checks_the_window_of_runs(cut: int) -> None:
    link = opened()
    whole = b"".join(data(size) for size in [16 * KIB] * 3 + [16 * KIB - 1, 1])
    link.feed(whole[:cut])
    with pytest.raises(ProtocolError) as caught:
        link.feed(whole[cut:])
    assert caught.value.error_code == ErrorCodes.FLOW_CONTROL_ERROR


def test_all_of_a_window_may_come_in_one_run() -> None:
    [got] = opened().feed(data(16 * KIB) * 3 + data(FIRST_WINDOW - 48 * KIB))
    assert isinstance(got, DataReceived)
    assert len(got.data) == FIRST_WINDOW


@pytest.mark.parametrize("sizes", [[4, 4, 3], [4, 4, 2, 0, 1]])
def test_h2_checks_the_announced_length_of_runs(sizes: list[int]) -> None:
    link = opened(length=10)
    with pytest.raises(ProtocolError):
        link.feed(b"".join(map(data, sizes)))


def test_data_after_the_end_resets_the_stream() -> None:
    got = opened().feed(data(10, end=True) + data(10))
    assert [type(event) for event in got] == [DataReceived, StreamEnded, StreamReset]
    assert isinstance(got[-1], StreamReset)
    assert got[-1].error_code == ErrorCodes.STREAM_CLOSED


def test_reads_are_large_while_bodies_come() -> None:
    link = opened()
    ping = PingFrame(0, b"12345678").serialize()
    sizes = []
    for read in (
        data(16 * KIB - 9),
        data(16 * KIB - 9) * 4,
        ping * (BULK_READ_BYTES // len(ping)),  # costs too much to read as much of it again
    ):
        link.feed(read)
        sizes.append(link.read_bytes)
        link.credit_stream(1, 16 * KIB - 9)
    assert sizes == [READ_BYTES, BULK_READ_BYTES, READ_BYTES]


def test_reads_are_not_large_for_a_lot_of_small_bodies() -> None:
    link = opened()
    link.feed(data(50) * (READ_BYTES // 59))
    assert link.read_bytes == READ_BYTES


def test_small_pieces_become_few() -> None:
    pieces = Pieces()
    for number in range(FIRST_WINDOW):
        pieces.add(bytes([number & 0xFF]))
    assert len(pieces) <= 2 * FIRST_WINDOW // PIECE_BYTES
    assert pieces.take() == bytes(number & 0xFF for number in range(FIRST_WINDOW))
    assert not pieces
    assert pieces.take() == b""


def test_large_pieces_are_not_copied() -> None:
    pieces = Pieces()
    piece = bytes(READ_BYTES)
    pieces.add(piece)
    pieces.add(b"")
    assert pieces.take() is piece
