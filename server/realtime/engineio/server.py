"""The sessions of one path, and which of its requests goes where.

`run` is a service of its own: sessions outlive the connections that carry them, so their tasks live there.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from typing import TypedDict

import trio

from penstock.protocol.engineio.handshake import Query, Refusal, Refused, Transport, open_frame
from penstock.server.edge.asgi import Address, Receive, Scope, Send
from penstock.server.realtime.engineio import polling, websocket
from penstock.server.realtime.engineio.session import (
    FAREWELL_S,
    EngineSession,
    Limits,
    MakeApplication,
    Opening,
)

SID_BYTES = 15  # as the Node server: 120 random bits


class EngineStatistics(TypedDict):
    """Open sessions by transport, and the ended ones by reason."""

    sessions: int
    websockets: int
    ended: dict[str, int]


class EngineServer:
    """Engine.IO on one path, as an ASGI application for both kinds of scope."""

    def __init__(
        self,
        make: MakeApplication,
        limits: Limits,
        *,
        max_sessions: int,
        max_per_address: int,
        is_shared: Callable[[str], bool],
    ) -> None:
        """A polling session costs no connection, so the limits on those do not bound it: these do.

        `is_shared`: for which addresses `max_per_address` does not hold.
        """
        self.limits = limits
        self.ended: Counter[str] = Counter()
        self._make = make
        self._max_sessions = max_sessions
        self._max_per_address = max_per_address
        self._is_shared = is_shared
        self._per_address: Counter[str] = Counter()
        self._sessions: dict[str, EngineSession] = {}
        self._nursery: trio.Nursery | None = None  # while it runs
        self._draining = False
        self._serving = 0  # requests and WebSockets
        self._one_ended = trio.lowlevel.ParkingLot()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; then every session ends as well."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or one WebSocket."""
        self._serving += 1
        try:
            if scope["type"] == "websocket":
                await websocket.serve(self, scope, receive, send)
            else:
                await polling.serve(self, scope, receive, send)
        finally:
            self._serving -= 1
            self._one_ended.unpark_all()

    async def drain(self, *, batch: int, pause_s: float) -> None:
        """End all sessions, so many at a time: their clients come back at once, and not all together.

        From now on there are no new ones: on a connection that is still open they would come back to us.
        Polling clients are between two requests now and then, so theirs must still be let in; whoever has
        not heard the last words within `linger_s` does not get them.
        """
        self._draining = True
        open_ones = list(self._sessions.values())
        for start in range(0, len(open_ones), batch):
            for session in open_ones[start : start + batch]:
                session.send_away()
            await trio.sleep(pause_s)
        with trio.move_on_after(self.limits.linger_s):
            while self._sessions or self._serving:
                await self._one_ended.park()

    def statistics(self) -> EngineStatistics:
        on_websockets = [s for s in self._sessions.values() if s.core.transport is Transport.WEBSOCKET]
        return {
            "sessions": len(self._sessions),
            "websockets": len(on_websockets),
            "ended": dict(self.ended),
        }

    # Sessions

    def find(self, sid: str) -> EngineSession:
        """A session that lives, or that still has to be told that it does not. Raises: Refused."""
        session = self._sessions.get(sid)
        if session is None:
            raise Refused(Refusal.UNKNOWN_SID)
        session.core.tick(trio.current_time())  # on the dot, whatever else this process is busy with
        if session.core.closed is not None and not session.core.owes_farewell:
            raise Refused(Refusal.UNKNOWN_SID)
        return session

    async def open(self, query: Query, scope: Scope) -> EngineSession:
        """A new session, whose open packet waits to be sent. Raises: Refused."""
        client: Address = tuple(scope.get("client") or ("", 0))
        if self._nursery is None or self._draining or self._is_full(client[0]):
            raise Refused(Refusal.BUSY)
        sid = secrets.token_urlsafe(SID_BYTES)
        opening = Opening(query, scope["headers"], client)
        session = EngineSession(sid, opening, self.limits)
        session.send(open_frame(sid, query.transport, self.limits.timing, self.limits.max_message_bytes))
        self._sessions[sid] = session
        self._per_address[client[0]] += 1
        await self._nursery.start(self._run, session)
        return session

    def _is_full(self, host: str) -> bool:
        if len(self._sessions) >= self._max_sessions:
            return True
        return self._per_address[host] >= self._max_per_address and not self._is_shared(host)

    async def _run(self, session: EngineSession, task_status: trio.TaskStatus[None]) -> None:
        try:
            await session.run(self._make, task_status=task_status)
            if session.core.owes_farewell:
                with trio.move_on_after(FAREWELL_S):
                    await session.wait_farewell()
        finally:
            del self._sessions[session.sid]
            host = session.opening.client[0]
            self._per_address[host] -= 1
            if not self._per_address[host]:
                del self._per_address[host]
            assert session.core.closed is not None
            self.ended[session.core.closed.value] += 1
            self._one_ended.unpark_all()
