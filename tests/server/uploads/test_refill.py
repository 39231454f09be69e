"""One turn of a reader in a worker thread: what it takes, and when it is over."""

from __future__ import annotations

import pytest

from penstock.server.uploads.refill import WAIT_S, Refill

BUFFER_BYTES = 16


class Socket:
    """Gives a piece each time it is asked, and nothing after the last."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [*pieces]
        self.waits: set[float] = set()

    def take(self, into: memoryview, wait_s: float) -> int:
        self.waits.add(wait_s)
        if not self.pieces:
            return 0
        count = min(len(into), len(self.pieces[0]))
        into[:count] = self.pieces[0][:count]
        self.pieces[0] = self.pieces[0][count:]
        if not self.pieces[0]:
            self.pieces.pop(0)
        return count

    @property
    def left(self) -> bytes:
        return b"".join(self.pieces)


def turn(socket: Socket, *, most_bytes: int = 1000, turn_s: float = 1000.0, room: int = 1000) -> Refill:
    """`room`: how many bytes it may take before somebody wants it to stop."""
    refill = Refill(
        socket.take, lambda: refill.taken < room, filled=BUFFER_BYTES, most_bytes=most_bytes, turn_s=turn_s
    )
    return refill


def run(refill: Refill) -> bytes:
    """All that it says is to be written."""
    buffer, written = memoryview(bytearray(BUFFER_BYTES)), bytearray()
    while count := refill(buffer):
        written += buffer[:count]
    assert refill.filled == 0
    return bytes(written)


@pytest.mark.parametrize(
    "pieces", [(), (b"a",), (b"abcd",), (b"abcd" * 10,), (b"a", b"bc", b"defghij"), (b"abc" * 100, b"d")]
)
def test_everything_that_comes_is_there_in_order(pieces: tuple[bytes, ...]) -> None:
    socket = Socket(*pieces)
    assert run(turn(socket)) == b"".join(pieces)
    assert socket.left == b""
    assert socket.waits == {WAIT_S}


def test_a_buffer_of_which_a_quarter_is_full_is_written() -> None:
    buffer = memoryview(bytearray(BUFFER_BYTES))
    refill = turn(Socket(b"abcd", b"e"))
    assert (refill(buffer), refill.is_dry) == (4, False)
    assert (refill(buffer), refill.is_dry) == (1, True)
    assert (refill(buffer), refill.filled) == (0, 0)


def test_a_turn_before_its_first_refill_leaves_the_buffer_full() -> None:
    assert turn(Socket(b"abc")).filled == BUFFER_BYTES


@pytest.mark.parametrize("most_bytes", [0, 1, 15, 16, 17, 50])
def test_it_takes_no_more_than_it_may(most_bytes: int) -> None:
    socket = Socket(b"x" * 100)
    refill = turn(socket, most_bytes=most_bytes)
    assert len(run(refill)) == refill.taken == most_bytes
    assert len(socket.left) == 100 - most_bytes


def test_a_stop_ends_it_before_the_next_byte() -> None:
    socket = Socket(*(b"xy" for _ in range(50)))
    refill = turn(socket, room=6)
    assert len(run(refill)) == refill.taken == 6


@pytest.mark.parametrize("turn_s", [0.0, 1e-9])
def test_when_its_time_is_over_one_buffer_was_had(turn_s: float) -> None:
    socket = Socket(b"x" * 100)
    refill = turn(socket, turn_s=turn_s)
    assert run(refill) == b"x" * BUFFER_BYTES
    assert not refill.is_dry


def test_a_sender_that_has_a_pause_ends_it() -> None:
    refill = turn(Socket())
    assert (run(refill), refill.is_dry) == (b"", True)
