"""The default namespace: watch sessions and command them over Socket.IO."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from penstock.protocol.commands import (
    BY_BARE_ID,
    COMMANDS,
    Command,
    JoinSession,
    LeaveSession,
    UploadProgressCommand,
    parse_command,
)
from penstock.protocol.errors import (
    GatewayError,
    InvalidMessage,
    InvalidSession,
    RateLimitExceeded,
    ServerError,
)
from penstock.protocol.events import ConnectionStatus, UploadProgress
from penstock.protocol.messages import as_seen
from penstock.protocol.socket_events import error_event, refused
from penstock.server.realtime.hello import asked_language
from penstock.server.realtime.socket_watcher import SocketWatcher
from penstock.server.realtime.socketio.namespace import Namespace, Said
from penstock.server.realtime.socketio.socket import Socket
from penstock.server.settings import Settings
from penstock.server.uploads import trouble
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.watch import told_seq

MAX_INVALID = 10  # in a row
CONNECTED = ConnectionStatus(status="connected")
DRAINING = ConnectionStatus(status="reconnecting", message="the server is shutting down; come back soon")

log = structlog.get_logger()

Answer = dict[str, Any]


class UploadNamespace(Namespace):
    """Each command is an event with its payload as the one argument; its ack is `{ok: true, …}` or
    `{ok: false, error}`. Without an ack callback only failures are told, as an `error` event.
    """

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        super().__init__()
        self._gateway = gateway
        self._settings = settings

    # Coming and going

    async def connected(self, socket: Socket) -> None:
        """Say hello, and join the session named in the address, if there is one."""
        query = socket.opening.query.values
        language = asked_language(query, socket.opening.headers)
        watcher = socket.data = SocketWatcher(self._gateway, socket, language)
        socket.source = watcher.pull
        socket.emit(CONNECTED.NAME, msgspec.to_builtins(CONNECTED))
        log.debug("watcher-connected", protocol="socketio", client_type=query.get("clientType"))
        if reference := query.get("sessionId"):
            by_address = Said("join-session", [reference], False, _nobody_waits)
            await self.handle(socket, by_address)

    def disconnected(self, socket: Socket, reason: str) -> None:
        _watcher(socket).close()
        log.info("watcher-ended", protocol="socketio", reason=reason)

    def going_away(self, socket: Socket) -> None:
        socket.emit(DRAINING.NAME, msgspec.to_builtins(DRAINING))

    # Commands

    async def handle(self, socket: Socket, said: Said) -> None:
        """Do what is asked and answer it, though the client may have left meanwhile."""
        watcher = _watcher(socket)
        try:
            command = _command(said)
            watcher.invalid = 0
            answer = await self._run(watcher, command)
        except Exception as error:  # the edge of a service: one command failed, its connection is well
            known = trouble.known(error)
            if known is None:
                log.error("request-failed", request=said.event, exc_info=error)
            sorry = ServerError("the request failed in the server; it may or may not have been done")
            self._refuse(watcher, said, known or sorry)
        else:
            said.answer({"ok": True, **answer})
            self._tell(watcher, command, answer)

    async def _run(self, watcher: SocketWatcher, command: Command) -> Answer:
        match command:
            case JoinSession():
                snapshot, recovered = await watcher.join(command.session_id, command.since)
                # No checkpoint from here to the answer: it must leave before the first event.
                return {
                    "sessionId": snapshot.session_id,
                    "epoch": snapshot.epoch,
                    "seq": snapshot.seq,
                    "recovered": recovered,
                    "snapshot": msgspec.to_builtins(snapshot),
                }
            case LeaveSession():
                watcher.leave(command.session_id)
                return {"sessionId": command.session_id}
        answer = await self._gateway.command(ANYBODY, command)
        if isinstance(command, UploadProgressCommand) and command.request_update:
            progress = answer["progress"]
            progress["seq"] = told_seq(watcher.watches, progress["sessionId"], progress["seq"])
        return answer

    def _tell(self, watcher: SocketWatcher, command: Command, answer: Answer) -> None:
        """What follows an answer."""
        socket = watcher.socket
        if isinstance(command, JoinSession):
            socket.emit(CONNECTED.NAME, msgspec.to_builtins(CONNECTED))
            watcher.shorten()
        elif isinstance(command, UploadProgressCommand) and command.request_update:
            event = msgspec.convert(answer["progress"], UploadProgress)
            seen = as_seen(event, event.session_id, watcher.language)
            socket.emit(event.NAME, msgspec.to_builtins(seen))

    def too_fast(self, socket: Socket, said: Said, wait_s: float) -> None:
        """Refuse an event beyond the rate."""
        most = self._settings.messages_per_s
        error = RateLimitExceeded(
            f"at most {most} events per second; this one was ignored",
            details={"retryAfter": round(wait_s, 3)},
        )
        self._refuse(_watcher(socket), said, error)

    def _refuse(self, watcher: SocketWatcher, said: Said, error: GatewayError) -> None:
        if said.wants_answer:
            said.answer(refused(error))
        else:
            now = self._gateway.clock.now()
            watcher.socket.emit("error", error_event(error, str(said.event), now))
        if isinstance(error, InvalidMessage | InvalidSession):
            watcher.invalid += 1
            if watcher.invalid == MAX_INVALID:
                watcher.socket.client.cut()


def _watcher(socket: Socket) -> SocketWatcher:
    assert isinstance(socket.data, SocketWatcher)
    return socket.data


def _command(said: Said) -> Command:
    """Raises: InvalidMessage, InvalidSession."""
    name = said.event
    if not isinstance(name, str) or name not in COMMANDS:
        raise InvalidMessage(f"event: {str(name)[:40]!r} is not a command; there are {', '.join(COMMANDS)}")
    if len(said.args) != 1:
        also = " or the session id" if COMMANDS[name] in BY_BARE_ID else ""
        raise InvalidMessage(f"{name}: send one argument, an object with sessionId{also}")
    return parse_command(name, said.args[0])


def _nobody_waits(*args: object) -> None: ...
