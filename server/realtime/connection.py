"""One socket: a reader that always drains it, and a writer that waits for events.

The reader runs in the connection's own task, the writer beside it; requests run in a third task that exists
while there are some. Each side ends the whole by `_end`, with a close code and a reason.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import structlog
import trio

from penstock.protocol import heartbeat
from penstock.protocol.close_codes import CloseCode
from penstock.protocol.envelope import (
    PROTOCOL,
    Acked,
    Connect,
    Connected,
    Disconnect,
    Heartbeat,
    MessageType,
    Request,
    parse_message,
    parse_request,
)
from penstock.protocol.errors import (
    GatewayError,
    InvalidMessage,
    InvalidSession,
    RateLimitExceeded,
    UnsupportedProtocol,
)
from penstock.protocol.events import ConnectionStatus
from penstock.protocol.heartbeat import Beat
from penstock.protocol.pushes import connection_status
from penstock.protocol.rate_limit import TokenBucket
from penstock.protocol.repeats import Repeats
from penstock.protocol.unacked import Unacked
from penstock.server.edge.asgi import Message, Receive, WebSocketHandle
from penstock.server.peer import PeerTooSlow
from penstock.server.realtime.desk import Desk
from penstock.server.realtime.hello import Hello
from penstock.server.realtime.in_order import InOrder
from penstock.server.realtime.outbox import Outbox
from penstock.server.realtime.subscriptions import Subscription, Subscriptions
from penstock.server.settings import Settings
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.ring import Entry
from penstock.server.uploads.watch import SlowConsumer, Wakeup

MAX_REQUESTS = 8  # that wait or run; beyond it the reader waits, and TCP holds the client back
MAX_INVALID = 10  # in a row

log = structlog.get_logger()


class Connection:
    """From the greeting to the end. `reason` says how it ended."""

    def __init__(
        self,
        gateway: Gateway,
        settings: Settings,
        hello: Hello,
        *,
        receive: Receive,
        outbox: Outbox,
        handle: WebSocketHandle | None,
        repeats: Repeats,
    ) -> None:
        self.reason = "cancelled"
        self.subscriptions = Subscriptions(gateway)
        self._gateway = gateway
        self._settings = settings
        self._receive = receive
        self._outbox = outbox
        self._handle = handle
        self._wakeup = Wakeup()
        self._desk = Desk(
            gateway,
            ANYBODY,
            outbox=outbox,
            wakeup=self._wakeup,
            subscriptions=self.subscriptions,
            repeats=repeats,
            client_id=hello.client_id,
            language=hello.language,
            send_nowait=self._send_nowait,
        )
        now = trio.current_time()
        self._message_at = now
        self._bucket = TokenBucket(settings.messages_per_s, settings.messages_burst, now)
        self._heartbeat = heartbeat.Heartbeat(settings.heartbeat_interval_s, settings.heartbeat_timeout_s)
        self._unacked = Unacked[tuple[bytes, Subscription]]()
        self._invalid = 0
        self._pushing = False
        self._scope = trio.CancelScope()
        self._requests: InOrder

    @property
    def client_id(self) -> str:
        return self._desk.client_id

    async def run(self) -> None:
        """Serve the peer until either side ends it; an error of ours ends this connection only."""
        self._gateway.drain_wakeups.add(self._wakeup)
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                self._requests = InOrder(nursery, MAX_REQUESTS)
                await self._greet()
                nursery.start_soon(self._write)
                await self._read()
        except* SlowConsumer:
            await self._apologise("slow_consumer", CloseCode.TOO_SLOW)
        except* PeerTooSlow:  # the frame under way is cut: nothing more can be said
            self.reason = "slow_consumer"
        except* OSError:
            self.reason = "peer_gone"
        except* Exception as errors:
            log.error("watcher-failed", client_id=self.client_id, exc_info=errors)
            await self._apologise("failed", CloseCode.INTERNAL_ERROR)
        finally:
            self.subscriptions.remove_all()
            self._gateway.drain_wakeups.discard(self._wakeup)

    # Reader

    async def _greet(self) -> None:
        settings = self._settings
        connected = Connected(
            client_id=self.client_id,
            server_time=self._outbox.now_ms(),
            protocol=PROTOCOL,
            heartbeat_interval=settings.heartbeat_interval_s,
            heartbeat_timeout=settings.heartbeat_timeout_s,
        )
        await self._outbox.message(MessageType.CONNECT, connected)
        await self._tell_status(ConnectionStatus(status="connected"))

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] != "websocket.receive":
                return await self._peer_left()
            self._message_at = trio.current_time()
            wait_s = self._bucket.take(self._message_at)
            await self._take(message, wait_s)
            if wait_s:  # a flood is slowed down to the rate: what it sends beyond waits in its own socket
                await trio.sleep(1 / self._settings.messages_per_s)

    async def _take(self, message: Message, wait_s: float) -> None:
        message_id: str | None = None
        try:
            incoming = parse_message(_text(message))
            message_id = incoming.message_id
            if wait_s:
                raise self._too_many(wait_s)
            request = parse_request(incoming)
        except GatewayError as error:
            await self._refuse(error, message_id)
        else:
            self._invalid = 0
            await self._serve(request, message_id)

    def _too_many(self, wait_s: float) -> RateLimitExceeded:
        return RateLimitExceeded(
            f"at most {self._settings.messages_per_s} messages per second; the message was ignored",
            details={"retryAfter": round(wait_s, 3)},
        )

    async def _refuse(self, error: GatewayError, message_id: str | None) -> None:
        await self._outbox.error(error, message_id)
        if isinstance(error, UnsupportedProtocol):
            await self._end("protocol", CloseCode.PROTOCOL)
        elif isinstance(error, InvalidMessage | InvalidSession):
            self._invalid += 1
            if self._invalid == MAX_INVALID:
                await self._end("invalid_messages", CloseCode.INVALID_MESSAGES)

    async def _serve(self, request: Request, message_id: str | None) -> None:
        match request:
            case Heartbeat():
                await self._outbox.message(MessageType.HEARTBEAT, {})
            case Acked():
                self._unacked.acked(request.message_id)
            case Connect():
                self._desk.client_id = request.client_id or self.client_id
                await self._greet()
            case Disconnect():
                await self._requests.wait_empty()
                await self._end("client_disconnect", CloseCode.NORMAL)
            case _:
                await self._requests.put(partial(self._desk.serve, request, message_id))

    async def _peer_left(self) -> None:
        """What the peer has asked for is done, though nobody waits for the answer."""
        self.reason = "peer_closed"
        self._outbox.seal()
        with trio.move_on_after(self._settings.linger_s):
            await self._requests.wait_empty()
        self._scope.cancel(reason="peer closed")

    # Writer

    def _send_nowait(self, frames: bytes) -> bool:
        """Events past the writer, while it waits for some."""
        if self._pushing or not self._outbox.send_nowait(frames):
            return False
        if self._outbox.is_behind:
            self._wakeup.set()
        return True

    async def _write(self) -> None:
        while not self._gateway.draining.is_set():
            if self._outbox.is_behind:
                await self._outbox.catch_up()
            if not await self._push_round():
                await self._wait()
        await self._tell_status(
            ConnectionStatus(status="reconnecting", message="the server is shutting down; come back soon")
        )
        await self._end("draining", CloseCode.DRAINING)

    async def _push_round(self) -> bool:
        """At most one entry of each topic, so that none starves; whether there was any."""
        pushed = False
        for subscription in self.subscriptions.live():
            self._pushing = True
            entry = await subscription.watch.pull()
            if entry is not None:
                pushed = True
                await self._push(subscription, entry)
            self._pushing = False
            if subscription.watch.ended:
                await self._session_left(subscription)
        return pushed

    async def _push(self, subscription: Subscription, entry: Entry) -> None:
        frames = subscription.frames(entry)
        for frame, message_id in zip(frames, subscription.ids_to_ack(entry), strict=True):
            await self._outbox.push(frame, subscription.is_live)
            if message_id is not None:
                self._unacked.sent(message_id, (frame, subscription), trio.current_time())

    async def _push_again(self) -> None:
        for frame, subscription in self._unacked.take_due(trio.current_time()):
            await self._outbox.push(frame, subscription.is_live)

    async def _session_left(self, subscription: Subscription) -> None:
        self.subscriptions.drop_ended(subscription)
        if not len(self.subscriptions):
            with trio.move_on_after(self._settings.linger_s):
                await self._requests.wait_empty()  # a command may have broken it, and is to be answered
        if not len(self.subscriptions):
            await self._end("session_timeout", CloseCode.SESSION_TIMEOUT)

    async def _wait(self) -> None:
        """For something to push, for the heartbeat, or for what was not acknowledged to be due."""
        deadline = min(self._heartbeat.deadline(self._heard_at), self._unacked.due_at())
        with trio.CancelScope(deadline=deadline) as waiting:
            await self._wakeup.wait()
        if waiting.cancelled_caught:
            await self._push_again()
            await self._beat()

    async def _beat(self) -> None:
        match self._heartbeat.check(trio.current_time(), self._heard_at):
            case Beat.ASK:
                await self._outbox.ask_for_life()
            case Beat.DEAD:
                await self._end("heartbeat", CloseCode.HEARTBEAT)

    @property
    def _heard_at(self) -> float:
        if self._requests.is_full:  # nobody reads: silence is our own doing
            return trio.current_time()
        return self._message_at if self._handle is None else self._handle.last_heard

    # The end

    async def _tell_status(self, status: ConnectionStatus) -> None:
        await self._outbox.message(MessageType.STATUS, connection_status(self.client_id, status))

    async def _end(self, reason: str, code: CloseCode) -> None:
        """Close and end all tasks; the first reason wins. Does not return."""
        if self.reason == "cancelled":
            self.reason = reason
            await self._outbox.close(code, reason.replace("_", " "))
        self._scope.cancel(reason=reason)
        await trio.sleep_forever()

    async def _apologise(self, reason: str, code: CloseCode) -> None:
        self.reason = reason
        with trio.move_on_after(self._settings.linger_s, shield=True):
            with suppress(OSError):
                await self._outbox.close(code, reason.replace("_", " "))


def _text(message: Message) -> str:
    text: str | None = message.get("text")
    if text is None:
        raise InvalidMessage("message: binary frames are not understood; send JSON as text")
    return text
