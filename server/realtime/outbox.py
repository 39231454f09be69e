"""The one place through which everything leaves a connection, whole frame by whole frame."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count

import trio
from msgspec import UNSET, UnsetType

from penstock.protocol.close_codes import CloseCode
from penstock.protocol.envelope import Disconnecting, Message, MessageType, encode, error_data
from penstock.protocol.errors import GatewayError
from penstock.server.edge.asgi import Send, WebSocketHandle

Wanted = Callable[[], bool] | None


class Outbox:
    """Used by the reader's answers and the writer's pushes alike. After `close` or `seal` sends do nothing.

    All methods raise `PeerGone` (or the OSError of the ASGI server) when the peer cannot be reached.
    """

    def __init__(self, send: Send, handle: WebSocketHandle | None, now: Callable[[], float]) -> None:
        """`now`: Unix seconds."""
        self._send = send
        self._handle = handle
        self._now = now
        self._lock = trio.Lock()
        self._sealed = False
        self._name = secrets.token_hex(6)  # clients remember message ids across connections
        self._numbers = count(1)

    def now_ms(self) -> int:
        return round(self._now() * 1000)

    async def message(
        self, kind: MessageType, data: object, sequence: int | UnsetType = UNSET, *, wanted: Wanted = None
    ) -> None:
        """Send a message of the connection's own (events come encoded, through `push`)."""
        message = Message(
            type=kind,
            data=data,
            timestamp=self.now_ms(),
            message_id=f"{self._name}:{next(self._numbers)}",
            sequence=sequence,
        )
        await self.push(encode(message), wanted)

    async def ack(self, message_id: str | None, **fields: object) -> None:
        await self.message(MessageType.ACK, {"messageId": message_id, "ok": True, **fields})

    async def error(self, error: GatewayError, message_id: str | None = None) -> None:
        await self.message(MessageType.ERROR, error_data(error, message_id))

    async def push(self, frame: bytes, wanted: Wanted = None) -> None:
        """Send a frame, unless `wanted()` says at the last moment that nobody wants it any more."""
        async with self._lock:
            if not self._sealed and (wanted is None or wanted()):
                await self._send({"type": "websocket.send", "text": frame.decode()})

    def send_nowait(self, frames: bytes) -> bool:
        """Write ready-made frames while nothing else is written; False: nothing of them was. Never waits."""
        if self._handle is None or self._sealed or self._lock.locked():
            return False
        return self._handle.send_nowait(frames)

    @property
    def is_behind(self) -> bool:
        """Whether the kernel took only the beginning of what `send_nowait` was given."""
        return self._handle is not None and self._handle.is_behind

    async def catch_up(self) -> None:
        """Write the rest of it."""
        if self._handle is not None:
            await self._handle.catch_up()

    async def ask_for_life(self) -> None:
        """A ping, which browsers answer by themselves; a heartbeat message where the server cannot ping."""
        if self._handle is None:
            await self.message(MessageType.HEARTBEAT, {})
        elif not self._sealed:
            await self._handle.ping()

    async def close(self, code: CloseCode, reason: str) -> None:
        """Say why, and close; waits for the frame under way, so none is cut. Idempotent."""
        farewell = Disconnecting(code=code, reason=reason, reconnect=code.come_back)
        await self.message(MessageType.DISCONNECT, farewell)
        async with self._lock:
            if not self._sealed:
                self._sealed = True
                await self._send({"type": "websocket.close", "code": int(code), "reason": reason})

    def seal(self) -> None:
        """The peer is gone: whatever is still to be sent is dropped."""
        self._sealed = True
