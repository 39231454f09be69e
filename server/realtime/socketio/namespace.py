"""What is said on one namespace: its handlers by event name, its rooms, and who is in them.

```
chat = Namespace("/chat")

@chat.on("say")
async def say(socket: Socket, said: Said) -> None:
    chat.emit("said", *said.args, room="everybody")
    said.answer("ok")
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

import trio

from penstock.protocol.socketio.packets import ROOT, Packet, PacketType, encode

if TYPE_CHECKING:
    from penstock.server.realtime.socketio.socket import Socket


class ConnectRefused(Exception):
    """Raised by `admit`: the client is told the message (and data), and its socket never was."""

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(message)
        self.data = data


class Said(NamedTuple):
    """One event of a client. `answer` calls its ack callback: once, and nothing if it gave none."""

    event: str | float
    args: list[object]
    wants_answer: bool
    answer: Callable[..., None]


Handler = Callable[["Socket", Said], Awaitable[None]]


class Namespace:
    """Register with `on`; override `admit`, `connected`, `disconnected` and `unknown` where more is wanted.

    Handlers of one connection run one at a time, in the order of their events. An exception of one is logged
    and ends nothing.
    """

    def __init__(self, name: str = ROOT) -> None:
        self.name = name
        self.sockets: dict[str, Socket] = {}
        self._handlers: dict[str | float, Handler] = {}
        self._rooms: dict[str, dict[str, Socket]] = {}

    def on(self, event: str) -> Callable[[Handler], Handler]:
        """Decorator: this handles the event."""

        def register(handler: Handler) -> Handler:
            self._handlers[event] = handler
            return handler

        return register

    async def handle(self, socket: Socket, said: Said) -> None:
        """Run the handler of an event."""
        await self._handlers.get(said.event, self.unknown)(socket, said)

    # To be overridden

    async def admit(self, socket: Socket) -> None:
        """Before a client is told that it is connected; `socket.auth` is what it sent.

        Raises: ConnectRefused.
        """
        await trio.lowlevel.checkpoint()

    async def connected(self, socket: Socket) -> None:
        """Right after it was told."""
        await trio.lowlevel.checkpoint()

    def disconnected(self, socket: Socket, reason: str) -> None:
        """It is gone; it has left its rooms already."""

    async def unknown(self, socket: Socket, said: Said) -> None:
        """An event nobody registered for: ignored, as in Node."""
        await trio.lowlevel.checkpoint()

    def too_fast(self, socket: Socket, said: Said, wait_s: float) -> None:
        """An event beyond the rate was ignored; there will be room in `wait_s`."""

    def going_away(self, socket: Socket) -> None:
        """The server is shutting down: last words. The client is not sent away, so it comes back."""

    # Sending to many

    def emit(self, event: str, *args: object, room: str | None = None, but: Collection[Socket] = ()) -> None:
        """Send to all sockets, or to those in a room, except some. Encoded once. Never waits.

        Raises: ValueError for a reserved name, or data that cannot be sent.
        """
        frames = encode(Packet(PacketType.EVENT, self.name, [event, *args]))
        members = self.sockets if room is None else self._rooms.get(room, {})
        for socket in list(members.values()):
            if socket not in but:
                socket.send_frames(frames)

    # Kept by `Socket`

    def add(self, socket: Socket) -> None:
        self.sockets[socket.sid] = socket
        self.enter(socket, socket.sid)

    def remove(self, socket: Socket) -> None:
        self.sockets.pop(socket.sid, None)
        for room in list(socket.rooms):
            self.leave(socket, room)

    def enter(self, socket: Socket, room: str) -> None:
        self._rooms.setdefault(room, {})[socket.sid] = socket
        socket.rooms.add(room)

    def leave(self, socket: Socket, room: str) -> None:
        members = self._rooms.get(room, {})
        members.pop(socket.sid, None)
        if not members:
            self._rooms.pop(room, None)
        socket.rooms.discard(room)
