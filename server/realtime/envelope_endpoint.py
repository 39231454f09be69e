"""`/api/v1/ws`: the plain WebSocket with its JSON envelope, as an ASGI application."""

from __future__ import annotations

from collections import Counter
from typing import TypedDict

import structlog

from penstock.protocol.close_codes import CloseCode
from penstock.protocol.repeats import Repeats
from penstock.server.edge.asgi import CONNECTION, Receive, Scope, Send, WebSocketHandle
from penstock.server.realtime.connection import Connection
from penstock.server.realtime.hello import Hello, read_hello
from penstock.server.realtime.outbox import Outbox
from penstock.server.settings import Settings
from penstock.server.uploads.gateway import Gateway

log = structlog.get_logger()


class EnvelopeStatistics(TypedDict):
    """Open connections, and the ended ones by reason."""

    connections: int
    ended: dict[str, int]


class EnvelopeEndpoint:
    """Serves every plain WebSocket; works on any ASGI server under Trio, with pings only on ours."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self.connections = 0
        self.ended: Counter[str] = Counter()
        self._gateway = gateway
        self._settings = settings
        self._repeats = Repeats()  # of all connections: a repetition comes on another one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, from its handshake to its end."""
        message = await receive()
        if message["type"] != "websocket.connect":
            return
        hello = read_hello(scope)
        handle: WebSocketHandle | None = scope.get("state", {}).get(CONNECTION)
        await send({"type": "websocket.accept", "subprotocol": hello.subprotocol})
        outbox = Outbox(send, handle, self._gateway.clock.now)
        if hello.refusal is not None:
            await self._refuse(outbox, hello)
            return
        connection = Connection(
            self._gateway,
            self._settings,
            hello,
            receive=receive,
            outbox=outbox,
            handle=handle,
            repeats=self._repeats,
        )
        self.connections += 1
        try:
            await connection.run()
        finally:
            self.connections -= 1
            self._note_end(connection.reason, connection.client_id)

    def statistics(self) -> EnvelopeStatistics:
        return {"connections": self.connections, "ended": dict(self.ended)}

    async def _refuse(self, outbox: Outbox, hello: Hello) -> None:
        assert hello.refusal is not None
        self._note_end("protocol", hello.client_id)
        await outbox.error(hello.refusal)
        await outbox.close(CloseCode.PROTOCOL, "protocol")

    def _note_end(self, reason: str, client_id: str) -> None:
        self.ended[reason] += 1
        log.info("watcher-ended", protocol="envelope", client_id=client_id, reason=reason)
