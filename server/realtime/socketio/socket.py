"""One client in one namespace: what handlers are given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import trio

from penstock.protocol.engineio.packets import Frame
from penstock.protocol.socketio.packets import encode
from penstock.protocol.socketio.session import NotConnected
from penstock.server.realtime.engineio.session import Opening

if TYPE_CHECKING:
    from penstock.server.realtime.socketio.client import Client
    from penstock.server.realtime.socketio.namespace import Namespace

Source = Callable[[], Awaitable[bool]]
"""Sends what is next, if there is something; False if not. Asked while the client takes what it is sent."""


class SocketGone(Exception):
    """The client has left, or was sent away, before it answered."""


class Socket:
    """`sid` names it, and its own room; `auth` is what it sent with CONNECT; `data` is for the namespace.

    What is sent to a socket that has left is dropped: it may leave at any moment.
    """

    def __init__(self, client: Client, namespace: Namespace, sid: str, auth: Mapping[str, object]) -> None:
        self.client = client
        self.namespace = namespace
        self.sid = sid
        self.auth = auth
        self.data: Any = None
        self.rooms: set[str] = set()
        self.source: Source | None = None
        self._calls: dict[int, _Call] = {}

    @property
    def opening(self) -> Opening:
        """The connection's first request."""
        return self.client.session.opening

    # Sending

    def emit(self, event: str, *args: object) -> None:
        """Send an event. Never waits. Raises: ValueError for a reserved name, or data that cannot be sent."""
        try:
            packet = self.client.core.emit(self.namespace.name, event, args)
        except NotConnected:
            return
        self.send_frames(encode(packet))

    def emit_volatile(self, event: str, *args: object) -> None:
        """As `emit`, unless the client does not take anything right now: then it never gets it."""
        if self.client.session.core.writable:
            self.emit(event, *args)

    async def call(self, event: str, *args: object, timeout_s: float) -> list[object]:
        """Send an event and wait for its answer. Cancel-safe: a late answer is ignored.

        Raises: trio.TooSlowError after `timeout_s`; SocketGone; ValueError as `emit`.
        """
        deadline = trio.current_time() + timeout_s
        try:
            packet, ack_id = self.client.core.emit_with_ack(self.namespace.name, event, args, deadline)
        except NotConnected as error:
            raise SocketGone(str(error)) from None
        call = self._calls[ack_id] = _Call()
        try:
            self.send_frames(encode(packet))
            with trio.fail_at(deadline):
                return await call.answer()
        finally:
            del self._calls[ack_id]
            self.client.core.expire_acks(trio.current_time())

    def send_frames(self, frames: Sequence[Frame]) -> None:
        """Send what is encoded already."""
        self.client.send(frames)

    # Rooms

    def join(self, room: str) -> None:
        self.namespace.enter(self, room)

    def leave(self, room: str) -> None:
        self.namespace.leave(self, room)

    # The end

    def disconnect(self) -> None:
        """Send the client away from this namespace: JavaScript's does not come back by itself."""
        self.client.dismiss(self)

    # Called by the client

    def answered(self, ack_id: int, args: list[object]) -> None:
        if (call := self._calls.get(ack_id)) is not None:
            call.finish(args)

    def gone(self) -> None:
        for call in self._calls.values():
            call.finish(None)


class _Call:
    """One answer that is waited for."""

    def __init__(self) -> None:
        self._args: list[object] | None = None
        self._done = trio.Event()

    def finish(self, args: list[object] | None) -> None:
        """None: it will not come."""
        self._args = args
        self._done.set()

    async def answer(self) -> list[object]:
        await self._done.wait()
        if self._args is None:
            raise SocketGone("the client has left before it answered")
        return self._args
