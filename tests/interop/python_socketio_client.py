"""python-socketio's client, told line by line. Arguments, commands and words are those of
socketio_client/watch.js."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import socketio  # type: ignore[import-untyped]  # the library is not typed

wanted: dict[str, Any] = json.loads(sys.argv[1])
lock = threading.Lock()
since: dict[str, Any] = {}


def tell(event: str, **details: object) -> None:
    with lock:
        print(json.dumps({"event": event, **details}), flush=True)


def note(payload: object) -> None:
    """The library hands over each event in a thread of its own, so they come in any order."""
    with lock:
        if isinstance(payload, dict) and payload.get("seq", -1) > since.get("seq", -1):
            since.update(epoch=payload["epoch"], seq=payload["seq"])


client = socketio.Client(reconnection_delay=0.1, randomization_factor=0)


@client.event  # type: ignore[untyped-decorator]  # as above
def connect() -> None:
    tell("connect", sid=client.get_sid(), transport=client.transport())
    if wanted.get("join"):
        asked = {"sessionId": wanted["join"], **({"since": dict(since)} if since else {})}
        client.emit("join-session", asked, callback=joined)


def joined(answer: dict[str, Any]) -> None:
    if not since and answer["ok"]:
        note(answer)
    tell("joined", answer=answer)


@client.event  # type: ignore[untyped-decorator]  # as above
def disconnect(reason: str) -> None:
    tell("disconnect", reason=reason)


@client.on("*")  # type: ignore[untyped-decorator]  # as above
def said(name: str, *args: Any) -> None:
    if args:
        note(args[0])
    tell("said", name=name, args=args)


client.connect(wanted["url"], transports=wanted["options"]["transports"], retry=True)
for line in sys.stdin:
    order = json.loads(line)
    if order.get("do") == "disconnect":
        client.disconnect()
        continue
    number = order.get("id")
    callback = None if number is None else lambda *a, number=number: tell("ack", id=number, answer=a)
    client.emit(order["emit"], *order["args"], callback=callback)
client.disconnect()
