"""`AsgiBody` over hand-made messages."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import trio

from penstock.server.edge.asgi import Message
from penstock.server.http.body import AsgiBody
from penstock.server.peer import BodyBroken


class Messages:
    """An ASGI `receive` that counts how often it was asked."""

    def __init__(self, *bodies: bytes, end: bool = True) -> None:
        last = len(bodies) - 1
        self.waiting: list[Message] = [
            {"type": "http.request", "body": body, "more_body": not (end and number == last)}
            for number, body in enumerate(bodies)
        ]
        self.asked = 0

    async def __call__(self) -> Message:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return self.waiting.pop(0) if self.waiting else {"type": "http.disconnect"}


async def taken(body: AsgiBody, sizes: Iterable[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        await body.wait_readable()
        buffer = bytearray(size)
        pieces.append(bytes(buffer[: body.receive_nowait(memoryview(buffer))]))
    return pieces


async def test_pieces_of_the_takers_size() -> None:
    messages = Messages(b"hello", b"", b" world")
    body = AsgiBody(messages, 11)
    assert await taken(body, [3, 3, 4, 4, 4, 1]) == [b"hel", b"lo", b" wor", b"ld", b"", b""]


async def test_one_message_is_kept_at_most() -> None:
    messages = Messages(b"hello", b"world")
    body = AsgiBody(messages, None)
    await body.wait_readable()
    await body.wait_readable()
    assert messages.asked == 1


async def test_nothing_there_yet() -> None:
    with pytest.raises(trio.WouldBlock):
        AsgiBody(Messages(b"x"), None).receive_nowait(memoryview(bytearray(1)))


async def test_a_cancelled_wait_loses_nothing() -> None:
    body = AsgiBody(Messages(b"hello"), 5)
    with trio.CancelScope() as scope:
        scope.cancel()
        await body.wait_readable()
    assert await taken(body, [9, 9]) == [b"hello", b""]


@pytest.mark.parametrize(
    ("messages", "length"),
    [
        (Messages(b"hell"), 5),
        (Messages(b"hello!"), 5),
        (Messages(b"hell", end=False), None),  # then the peer goes
    ],
)
async def test_another_size_than_announced_is_broken(messages: Messages, length: int | None) -> None:
    body = AsgiBody(messages, length)
    with pytest.raises(BodyBroken):
        await taken(body, [10, 10])
    with pytest.raises(BodyBroken):
        await taken(body, [10])
