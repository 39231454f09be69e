"""What happens in a session, as it happens: over the WebSocket, or by polling where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)
from trio_websocket._impl import TrioWebsocketInternalError  # several errors at once; not exported

from penstock.server.client.api import Api, advice_for
from penstock.server.client.errors import Again, Refused, in_one_line
from penstock.server.client.numbers import ENDED
from penstock.server.client.patience import Patience

_SOCKET_ERRORS = (
    OSError,
    trio.TooSlowError,
    HandshakeError,
    ConnectionClosed,
    TrioWebsocketInternalError,
)
CONNECT_S = 5.0  # for the handshake; trio-websocket waits this long also when the peer has hung up
QUIET_S = 20.0  # without a message: ask for a sign of life
REPLY_S = 10.0  # ... which must come within this time
GRACE_S = 2.0  # for the last words of a session that has ended
POLL_S = 20  # one poll
POLLING_S = 60.0  # then the WebSocket is tried again
CLOSE_S = 1.0

Told = Callable[[str, dict[str, Any]], None]


class _Message(msgspec.Struct, rename="camel"):
    """A frame from the server, as far as it is looked at."""

    type: str
    data: dict[str, Any] = {}  # Any: free JSON
    sequence: int | None = None


class Follower:
    """Calls `told(event, payload)` for every event of a session, and with `snapshot` for how it stands at the
    beginning and where events were missed. `told` must not block."""

    def __init__(self, api: Api, session: str, told: Told, *, give_up_s: float) -> None:
        self._api = api
        self._session = session
        self._told = told
        self._give_up_s = give_up_s
        self._since: dict[str, Any] | None = None
        self._etag = ""
        self._subscribed = False
        self._over = False
        self._over_by = float("inf")

    async def run(self) -> None:
        """Until the session is over. Cancel-safe. Raises: Refused (no such session), Unreachable."""
        patience = Patience(self._give_up_s)
        while not self._over:
            self._subscribed = False
            try:
                await self._listen()
            except _NoSocket:
                await self._poll_for_a_while(patience)
            except Again as trouble:
                if self._subscribed:
                    patience.reset()
                await patience.wait(trouble)

    # WebSocket

    async def _listen(self) -> None:
        """Raises: _NoSocket before the subscription stands, Again after that, Refused."""
        url = "ws" + self._api.url.removeprefix("http") + "/api/v1/ws"
        try:
            async with open_websocket_url(
                url, connect_timeout=CONNECT_S, disconnect_timeout=CLOSE_S
            ) as socket:
                await self._subscribe(socket)
                while not self._over:
                    self._take(await self._next(socket))
        except _SOCKET_ERRORS as error:
            if not self._subscribed:
                raise _NoSocket from error
            if not self._over:
                raise Again(f"the connection to {self._api.url} broke ({in_one_line(error)})") from error

    async def _subscribe(self, socket: WebSocketConnection) -> None:
        params = {} if self._since is None else {"since": self._since}
        data = {"topic": f"session:{self._session}", "params": params}
        await _send(socket, "subscribe", data)

    async def _next(self, socket: WebSocketConnection) -> _Message | None:
        """The next frame; None when the last words have had their time."""
        with trio.CancelScope(deadline=self._over_by) as last_words:
            for wait_s in (QUIET_S, REPLY_S):
                with trio.move_on_after(wait_s):
                    return _read(await socket.get_message())
                await _send(socket, "heartbeat", {})
            raise Again(f"{self._api.url} is silent")
        assert last_words.cancelled_caught
        return None

    def _take(self, message: _Message | None) -> None:
        if message is None:
            self._over = True
        elif message.type == "ack":
            self._take_ack(message.data)
        elif message.type == "error":
            name, text = str(message.data.get("name", "")), str(message.data.get("message", ""))
            raise Refused(text, advice_for(name), status=0, problem=name)
        elif "event" in message.data and message.data.get("topic"):
            if self._since is not None and message.sequence is not None:
                self._since["seq"] = max(self._since["seq"], message.sequence)
            self._take_event(message.data["event"], message.data["payload"])

    def _take_ack(self, ack: dict[str, Any]) -> None:
        snapshot = ack["snapshot"]
        self._subscribed = True
        if self._since is None or not ack["recovered"]:
            self._since = {"epoch": ack["epoch"], "seq": ack["sequence"]}
            self._told("snapshot", snapshot)
            self._over = _is_over(snapshot)
        elif _is_over(snapshot):
            self._over_by = trio.current_time() + GRACE_S

    def _take_event(self, name: str, payload: dict[str, Any]) -> None:
        self._told(name, payload)
        if name == "session-completed":
            self._over_by = trio.current_time() + GRACE_S
        elif name == "upload-progress" and payload["fileId"] is None and self._over_by < float("inf"):
            self._over = _is_over(payload)

    # Polling

    async def _poll_for_a_while(self, patience: Patience) -> None:
        until = trio.current_time() + POLLING_S
        while not self._over and trio.current_time() < until:
            try:
                await self._poll()
                patience.reset()
            except Again as trouble:
                await patience.wait(trouble)
                return

    async def _poll(self) -> None:
        """One round. Raises: Again, Refused."""
        news, self._etag = await self._api.progress(self._session, self._etag, POLL_S)
        if news is None:
            return
        page = {name: news.pop(name, None) for name in ("files", "filesTotal", "cursor")}
        self._told("snapshot", {**page, "overallStatus": news["overallStatus"]})
        self._told("upload-progress", news)
        self._over = _is_over(news)


class _NoSocket(Exception):
    """There is no WebSocket to be had."""


def _is_over(payload: dict[str, Any]) -> bool:
    return payload["overallStatus"] in ENDED and not payload.get("open")


def _read(text: str | bytes) -> _Message:
    try:
        return msgspec.json.decode(text, type=_Message)
    except msgspec.MsgspecError as error:
        raise Again(f"a message was not understood ({in_one_line(error)})") from error


async def _send(socket: WebSocketConnection, kind: str, data: object) -> None:
    message = {"type": kind, "data": data, "messageId": str(uuid4())}
    with trio.fail_after(CONNECT_S):
        await socket.send_message(msgspec.json.encode(message).decode())
