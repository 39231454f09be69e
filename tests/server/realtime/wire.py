"""Stands for the edge's handle, where frames are written past the application's `send`."""

from __future__ import annotations

from collections.abc import Callable

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

REFUSES = 3  # every third time the kernel takes nothing
HALVES = 2  # every second time it takes only half


class Wire:
    """`hear` gets every whole message, as a client's WebSocket makes it of the frames. Nothing is taken while
    `is_reading` is unset."""

    def __init__(self, hear: Callable[[str], None], is_reading: Callable[[], trio.Event]) -> None:
        self.last_heard = trio.current_time()
        self.written = 0  # times something was taken
        self._hear = hear
        self._is_reading = is_reading
        self._asked = 0
        self._rest = b""
        self._partial = ""
        self._frames = Connection(ConnectionType.CLIENT)

    async def ping(self, payload: bytes = b"") -> None:
        await trio.lowlevel.checkpoint()

    def send_nowait(self, frames: bytes) -> bool:
        self._asked += 1
        if self._rest or not self._is_reading().is_set() or self._asked % REFUSES == 0:
            return False
        self.written += 1
        end = len(frames) // 2 if self.written % HALVES == 0 else len(frames)
        self._take(frames[:end])
        self._rest = frames[end:]
        return True

    @property
    def is_behind(self) -> bool:
        return bool(self._rest)

    async def catch_up(self) -> None:
        await self._is_reading().wait()
        rest, self._rest = self._rest, b""
        self._take(rest)

    def _take(self, data: bytes) -> None:
        if data:
            self._frames.receive_data(data)
        for event in self._frames.events():
            assert isinstance(event, TextMessage)
            self._partial += event.data
            if event.message_finished:
                whole, self._partial = self._partial, ""
                self._hear(whole)
