"""Those who look on: over WebSocket and by polling, again from where they were, or without reading."""

from __future__ import annotations

import json
import random
import time
from contextlib import suppress
from typing import Any

import trio
from trio_websocket import ConnectionClosed, HandshakeError
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import Request, TextMessage
from wsproto.utilities import RemoteProtocolError

from penstock.protocol.close_codes import CloseCode
from tests.acceptance.watcher import PATH, Watcher, connected
from tests.soak.ledger import Story
from tests.soak.world import Shown, World

VISIT_S = 4.0
PATIENCE_S = 15.0  # with a handshake, and a subscription
LOST = (
    OSError,
    HandshakeError,
    ConnectionClosed,
    RemoteProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)


async def watch(world: World, dice: random.Random) -> None:
    """One visit to a session that somebody uploads into, by any means."""
    if not world.shown:
        await trio.sleep(0.1)
        return
    shown = dice.choice(list(world.shown.values()))
    means = dice.choice((_by_socket, _by_socket, _by_socket, _by_polling, _without_reading))
    world.ledger.counts[f"watchers{means.__name__.replace('_', ' ')}"] += 1
    await means(world, shown, dice)


async def _by_socket(world: World, shown: Shown, dice: random.Random) -> None:
    """Several connections one after the other, each going on where the one before was."""
    reference = dice.choice(shown)
    story = Story(world.ledger, f"watcher of {shown.session_id}")
    for _ in range(dice.randint(1, 3)):
        await _connection(world, reference, story, dice.uniform(0.1, VISIT_S))
        await trio.sleep(dice.uniform(0, 0.5))
        if world.is_resting or shown.session_id not in world.shown:
            return


async def _connection(world: World, reference: str, story: Story, stay_s: float) -> None:
    began, closed = time.time(), None
    with trio.move_on_after(stay_s + PATIENCE_S) as patience:  # trio-websocket waits for ever where the
        with suppress(*LOST):  # connection ends in mid-handshake
            try:
                async with connected(world.api) as watcher:
                    await _listen(watcher, reference, story, stay_s)
                    closed = watcher.closed
            except* LOST:
                pass  # the server was killed, or drains
    if world.excuses.between(began, time.time()) is None:
        if patience.cancelled_caught:
            world.ledger.problem(f"watcher of {reference}", f"no answer for {PATIENCE_S:.0f} s")
        if closed is not None and closed[0] != CloseCode.SESSION_TIMEOUT:  # its client stalls
            world.ledger.problem(f"watcher of {reference}", f"its connection was closed: {closed}")


async def _listen(watcher: Watcher, reference: str, story: Story, stay_s: float) -> None:
    since = {"epoch": story.epoch, "seq": story.last_seq} if story.epoch else None
    try:
        answer = await watcher.send("subscribe", _subscription(reference, since))
    except AssertionError:
        assert watcher.closed is not None
        return
    if answer["type"] == "error":
        return  # the session has left
    data = answer["data"]
    story.subscribed(
        recovered=data["recovered"], since=story.last_seq if since else None, sequence=data["sequence"]
    )
    story.epoch = data["epoch"]
    with trio.move_on_after(stay_s):
        await watcher.until_closed()
    for event in watcher.events:
        story.told(event)


def _subscription(reference: str, since: dict[str, Any] | None) -> dict[str, Any]:
    return {"topic": f"session:{reference}", **({"params": {"since": since}} if since else {})}


async def _by_polling(world: World, shown: Shown, dice: random.Random) -> None:
    """Each answer held until there is something new."""
    path = f"/api/upload/progress/{dice.choice(shown)}"
    etag, last = "", 0
    with trio.move_on_after(VISIT_S):
        while not world.is_resting:
            fields = [("Prefer", "wait=1"), *([("If-None-Match", etag)] if etag else [])]
            answer = await world.ask("GET", path, fields)
            if answer is None or answer.status not in (200, 304):
                return
            etag = answer["etag"]
            if answer.status == 200:
                completed = json.loads(answer.body)["completedFiles"]
                if completed < last:
                    world.ledger.problem(f"polling {shown.session_id}", f"{completed} files after {last}")
                last = completed


async def _without_reading(world: World, shown: Shown, dice: random.Random) -> None:
    """It subscribes and does not read what comes, then goes without a word."""
    gateway = world.machine.gateway
    protocol = WSConnection(ConnectionType.CLIENT)
    subscribe = {"type": "subscribe", "messageId": "m1", "data": _subscription(shown.session_id, None)}
    with suppress(*LOST):
        async with await trio.open_tcp_stream(gateway.host, gateway.port) as stream:
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await stream.send_all(protocol.send(Request(host=world.api.host, target=PATH)))
            with trio.move_on_after(VISIT_S):
                protocol.receive_data(bytes(await stream.receive_some(4096)) or None)
                if protocol.state is ConnectionState.OPEN:
                    await stream.send_all(protocol.send(TextMessage(json.dumps(subscribe))))
                    await trio.sleep(dice.uniform(0.5, VISIT_S))
