"""What a client asks for, done and answered: subscriptions and commands. One request at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from penstock.protocol.commands import (
    Command,
    JoinSession,
    LeaveSession,
    UploadProgressCommand,
)
from penstock.protocol.envelope import MessageType, Request, Subscribe, Topic, Unsubscribe
from penstock.protocol.errors import ServerError
from penstock.protocol.events import ConnectionStatus, UploadProgress
from penstock.protocol.names import check_session_reference
from penstock.protocol.pushes import PushEncoder, connection_status
from penstock.protocol.repeats import Asker, Repeats
from penstock.protocol.snapshot import Snapshot
from penstock.protocol.websocket_frames import text_frame
from penstock.server.realtime.lane import WireLane
from penstock.server.realtime.outbox import Outbox
from penstock.server.realtime.subscriptions import Subscription, Subscriptions
from penstock.server.uploads import trouble
from penstock.server.uploads.actor import Actor
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.watch import Wakeup, told_seq

log = structlog.get_logger()


class Desk:
    """The counter between one connection and the gateway. Everything is answered: an ack, or an error."""

    def __init__(
        self,
        gateway: Gateway,
        actor: Actor,
        *,
        outbox: Outbox,
        wakeup: Wakeup,
        subscriptions: Subscriptions,
        repeats: Repeats,
        client_id: str,
        language: str,
        send_nowait: Callable[[bytes], bool],
    ) -> None:
        self.client_id = client_id
        self._gateway = gateway
        self._actor = actor
        self._outbox = outbox
        self._wakeup = wakeup
        self._subscriptions = subscriptions
        self._repeats = repeats
        self._language = language
        self._send_nowait = send_nowait

    async def serve(self, request: Request, message_id: str | None) -> None:
        """Do it and answer. Raises: OSError when the peer cannot be reached."""
        try:
            await self._serve(request, message_id)
        except OSError:
            raise
        except Exception as error:  # the edge of a service: one request failed, its connection is well
            known = trouble.known(error)
            if known is None:
                log.error("request-failed", request=type(request).__name__, exc_info=error)
            sorry = ServerError("the request failed in the server; it may or may not have been done")
            await self._outbox.error(known or sorry, message_id)

    async def _serve(self, request: Request, message_id: str | None) -> None:
        match request:
            case Subscribe():
                await self._subscribe(request, message_id)
            case JoinSession():
                topic = Topic(check_session_reference(request.session_id))
                await self._subscribe(Subscribe(topic, request.since), message_id)
            case Unsubscribe(topic):
                await self._unsubscribe(topic, message_id)
            case LeaveSession():
                await self._unsubscribe(Topic(check_session_reference(request.session_id)), message_id)
            case Command():
                await self._command(request, message_id)

    # Topics

    async def _subscribe(self, wanted: Subscribe, message_id: str | None) -> None:
        topic = wanted.topic
        known = self._subscriptions.get(topic)
        if known is not None:
            snapshot = await self._gateway.snapshot(self._actor, topic.session)
            await self._confirm(known, message_id, snapshot, recovered=True)
            return
        self._subscriptions.check_room()
        joined = await self._gateway.join(
            self._actor, topic.session, self._wakeup, since=wanted.since, file_id=topic.file_id
        )
        public = topic._replace(session=joined.snapshot.session_id)
        subscription = Subscription(public, joined.watch, self._language)
        subscription.wants_acks = wanted.ack
        self._subscriptions.add(topic, subscription)
        await self._confirm(subscription, message_id, joined.snapshot, recovered=joined.recovered)
        status = connection_status(self.client_id, ConnectionStatus(status="connected"), public)
        await self._outbox.message(MessageType.STATUS, status)
        subscription.acked = True
        if subscription.has_shared_frames:
            subscription.watch.lane = WireLane(subscription.encoder, text_frame, self._send_nowait)
        self._wakeup.set()

    async def _confirm(
        self, subscription: Subscription, message_id: str | None, snapshot: Snapshot, *, recovered: bool
    ) -> None:
        file_id = subscription.topic.file_id
        if file_id is not None:  # of a file topic the snapshot lists that file
            view = await self._gateway.file(self._actor, subscription.topic.session, file_id)
            snapshot = msgspec.structs.replace(snapshot, files=[view], cursor=None)
        await self._outbox.ack(
            message_id,
            topic=str(subscription.topic),
            epoch=snapshot.epoch,
            sequence=snapshot.seq,
            recovered=recovered,
            snapshot=snapshot,
        )

    async def _unsubscribe(self, topic: Topic, message_id: str | None) -> None:
        subscription = self._subscriptions.get(topic)
        self._subscriptions.remove(topic)
        await self._outbox.ack(message_id, topic=str(subscription.topic if subscription else topic))

    # Commands

    async def _command(self, command: Command, message_id: str | None) -> None:
        answer = await self._run_once(command, message_id)
        if not isinstance(command, UploadProgressCommand) or not command.request_update:
            await self._outbox.ack(message_id, **answer)
            return
        progress = answer["progress"]
        progress["seq"] = told_seq(self._subscriptions.watches, progress["sessionId"], progress["seq"])
        await self._outbox.ack(message_id, **answer)
        await self._push_progress(answer)

    async def _run_once(self, command: Command, message_id: str | None) -> dict[str, Any]:
        """The command's answer; the first one, if this client has sent it before (on whatever connection)."""
        if message_id is None or isinstance(command, UploadProgressCommand):
            return await self._gateway.command(self._actor, command)
        asker = Asker(self._actor.subject, self.client_id, check_session_reference(command.session_id))
        answer = self._repeats.find(asker, message_id, command, self._gateway.clock.now())
        if answer is None:
            answer = await self._gateway.command(self._actor, command)
            self._repeats.keep(asker, message_id, command, answer, self._gateway.clock.now())
        return answer

    async def _push_progress(self, answer: dict[str, Any]) -> None:
        """What was asked for as its asker gets it by itself at other times: one more `data` push."""
        event = msgspec.convert(answer["progress"], UploadProgress)
        encoder = PushEncoder(Topic(event.session_id), self._language)
        await self._outbox.push(encoder.encode(event))
