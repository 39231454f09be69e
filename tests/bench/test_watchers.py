"""The crowd's counting: every way frames can be cut, and everything a server may say besides events."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from bench.live import wire
from bench.live.crowd import Crowd
from bench.live.latency import percentile
from bench.live.messages import Open
from bench.live.watcher import Buffer, Lost, Step, Watcher

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
OPENING = HEAD + wire.server_frame(b'0{"sid":"a"}')
JOINED = wire.server_frame(b'40{"sid":"b"}')
EVENT = wire.server_frame(b'42["upload-progress",{}]')
LONG_EVENT = wire.server_frame(b'42["upload-progress","' + b"4" * 3000 + b'"]')
EMPTY_EVENT = wire.server_frame(b"42")
SAID = OPENING + JOINED + EVENT + LONG_EVENT + EMPTY_EVENT + wire.server_frame(b"2") + EVENT


@contextmanager
def connected() -> Iterator[tuple[Watcher, socket.socket]]:
    """A watcher that has asked for the upgrade, and the server's end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upgrade = wire.upgrade(wire.watch_target("s"), 1, deflate=True)
        watcher = Watcher(Buffer(), listener.getsockname(), "127.0.0.1", upgrade)
        server, _ = listener.accept()
        with server, watcher.socket:
            watcher.writable()
            assert server.recv(65536) == upgrade
            watcher.socket.setblocking(True)
            yield watcher, server


def told(watcher: Watcher, server: socket.socket, said: bytes, step_bytes: int) -> bytes:
    """What it answers when that comes in such pieces."""
    for start in range(0, len(said), step_bytes):
        server.sendall(said[start : start + step_bytes])
        watcher.readable()
    server.setblocking(False)
    with suppress(BlockingIOError):
        return server.recv(65536)
    return b""


@pytest.mark.parametrize("step_bytes", [1, 2, 3, 7, 50, 1000, 100_000])
def test_events_are_counted_however_they_are_cut(step_bytes: int) -> None:
    with connected() as (watcher, server):
        answers = told(watcher, server, SAID, step_bytes)
        assert (watcher.step, watcher.events, watcher.bytes) == (Step.JOINED, 4, len(SAID))
        assert answers == wire.NAMESPACE + wire.PONG_PACKET


def test_websocket_pings_are_answered_with_what_they_carry() -> None:
    with connected() as (watcher, server):
        ping = bytes((wire.PING, 2)) + b"hi"
        assert told(watcher, server, OPENING + JOINED + ping, 1).endswith(wire.frame(b"hi", wire.PONG))
        assert watcher.events == 0


def test_compressed_frames_are_told_by_their_order_and_pings_by_their_bytes() -> None:
    def compressed(payload: bytes) -> bytes:
        return bytes((wire.COMPRESSED, len(payload))) + payload

    with connected() as (watcher, server):
        said = compressed(b"open") + compressed(b"joined") + compressed(b"event") + compressed(b"event")
        answers = told(watcher, server, HEAD + said + compressed(wire.COMPRESSED_PING), 5)
        assert (watcher.step, watcher.events) == (Step.JOINED, 2)
        assert answers == wire.NAMESPACE + wire.PONG_PACKET


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503"),
        (OPENING + JOINED + bytes((wire.CLOSE, 2)) + (4001).to_bytes(2, "big"), "closed: 4001"),
        (HEAD + wire.server_frame(b"40"), "said b'4' while OPENING"),
        (OPENING + JOINED + wire.server_frame(b'43["ack"]'), "43"),
    ],
)
def test_what_is_not_as_it_should_be_ends_the_watcher(said: bytes, why: str) -> None:
    with connected() as (watcher, server), pytest.raises(Lost, match=why):
        told(watcher, server, said, len(said))


def test_a_server_that_leaves_ends_the_watcher() -> None:
    with connected() as (watcher, server):
        server.shutdown(socket.SHUT_WR)
        with pytest.raises(Lost, match="ended the connection"):
            watcher.readable()


def test_nobody_there_is_a_failure_of_the_crowd() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    nobodys = Crowd()
    opened = nobodys.open(Open("127.0.0.1", port, ["/"] * 3, 0, 3, False, 5.0))
    nobodys.close()
    assert "refused" in opened.failures[0]


def test_frames_of_every_length_are_made_as_the_rfc_wants() -> None:
    assert wire.frame(b"x" * 125)[:2] == bytes((0x81, 0x80 | 125))
    assert wire.frame(b"x" * 126)[:4] == bytes((0x81, 0x80 | 126, 0, 126))
    assert wire.server_frame(b"x" * 300)[:4] == bytes((0x81, 126, 1, 44))
    with pytest.raises(ValueError, match="65536 bytes"):
        wire.frame(b"x" * 65536)


@pytest.mark.parametrize(
    ("percent", "wanted"), [(0, 1), (50, 2), (51, 3), (75, 3), (76, 4), (99, 4), (100, 4)]
)
def test_a_percentile_is_one_of_the_values(percent: float, wanted: float) -> None:
    assert percentile([4, 2, 3, 1], percent) == wanted
    assert percentile([], percent) != percentile([], percent), "nan of nothing"
