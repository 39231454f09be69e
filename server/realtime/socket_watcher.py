"""What one Socket.IO client watches: its sessions, each with a watch of the gateway."""

from __future__ import annotations

import structlog

from penstock.protocol.commands import Since
from penstock.protocol.errors import ServerBusy
from penstock.protocol.names import check_session_reference
from penstock.protocol.snapshot import Snapshot
from penstock.protocol.socket_events import SocketEncoder
from penstock.server.realtime.lane import WireLane, engineio_frame
from penstock.server.realtime.socketio.socket import Socket
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.watch import SlowConsumer, Watch

log = structlog.get_logger()

MAX_SESSIONS = 100  # a round of the writer looks at each of them


class SocketWatcher:
    """Its `pull` is the socket's source: facts and progress are taken from the gateway as fast as the client
    takes them, and wait there, not here."""

    def __init__(self, gateway: Gateway, socket: Socket, language: str) -> None:
        self.socket = socket
        self.language = language
        self.invalid = 0  # events in a row that could not be understood
        self._closed = False
        self._gateway = gateway
        self._watches: dict[str, tuple[Watch, SocketEncoder]] = {}  # by the reference its client used

    async def join(self, reference: str, since: Since | None = None) -> tuple[Snapshot, bool]:
        """Watch a session; the snapshot, and whether nothing was missed since.

        Raises: InvalidSession, SessionNotFound, InsufficientPermissions, ServerBusy.
        """
        reference = check_session_reference(reference)
        if (known := self._watches.get(reference)) is not None:
            watch, _ = known
            if not watch.session.gone:
                return await self._gateway.snapshot(ANYBODY, reference), True
            # It has left memory, and its client does not know that yet: go on where that watch stands.
            since = Since(self._gateway.epoch, watch.cursor)
            self.leave(reference)
        if len(self._watches) >= MAX_SESSIONS:
            raise ServerBusy(f"at most {MAX_SESSIONS} sessions per connection; leave one, or connect again")
        joined = await self._gateway.join(ANYBODY, reference, self.socket.client.session.wakeup, since=since)
        if self._closed:  # its client has left meanwhile
            self._gateway.leave(joined.watch)
            return joined.snapshot, joined.recovered
        encoder = SocketEncoder(joined.snapshot.session_id, self.language)
        self._watches[reference] = joined.watch, encoder
        return joined.snapshot, joined.recovered

    def shorten(self) -> None:
        """The answers to all joins are on their way: from now on events may take the short one."""
        send_nowait = self.socket.client.session.send_nowait
        for watch, encoder in self._watches.values():
            if watch.lane is None:
                watch.lane = WireLane(encoder, engineio_frame, send_nowait)

    def leave(self, reference: str) -> None:
        """Idempotent. Raises: InvalidSession."""
        known = self._watches.pop(check_session_reference(reference), None)
        if known is not None:
            self._gateway.leave(known[0])

    @property
    def watches(self) -> list[Watch]:
        return [watch for watch, _ in self._watches.values()]

    def close(self) -> None:
        """Its client has left."""
        self._closed = True
        for reference in list(self._watches):
            self.leave(reference)

    async def pull(self) -> bool:
        """Send one entry of each session, so that none starves; whether there was any.

        Raises: StoreError.
        """
        sent = False
        for reference, watched in list(self._watches.items()):
            watch, encoder = watched
            try:
                entry = await watch.pull()
            except SlowConsumer as error:  # it comes back, and is told that it has missed something
                log.warning("slow-watcher", missing=str(error))
                self.socket.client.cut()
                return False
            if self._watches.get(reference) is not watched:  # left meanwhile, and perhaps joined anew
                continue
            if entry is not None:
                sent = True
                for frame in entry.frames(encoder):
                    self.socket.send_frames([frame])
            if watch.ended:
                self.leave(reference)
        return sent
