"""A client of Socket.IO v5 that takes every step by hand, on either transport."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.conformance.engineio.client import Engine, Peer
from tests.conformance.websocket import Frame

PATH = "/socket.io/"


def prefix(namespace: str) -> str:
    return "" if namespace == "/" else namespace + ","


def placeholder(number: int) -> str:
    return f'{{"_placeholder":true,"num":{number}}}'


async def join(peer: Peer, namespace: str = "/", auth: str = "") -> str:
    """Connect to a namespace of the test server, which then says what came with it; the socket's id."""
    await peer.send(f"40{prefix(namespace)}{auth}")
    sid = sid_of(await peer.next(), namespace)
    told = await peer.next()
    assert str(told).startswith(f'42{prefix(namespace)}["auth",'), told
    return sid


def sid_of(frame: Frame, namespace: str = "/") -> str:
    """Of the answer to a CONNECT."""
    head = f"40{prefix(namespace)}"
    assert isinstance(frame, str), frame
    assert frame.startswith(head + "{"), frame
    answer: dict[str, Any] = json.loads(frame[len(head) :])
    assert answer.keys() == {"sid"}, answer
    assert isinstance(answer["sid"], str)
    return answer["sid"]


@asynccontextmanager
async def joined(engine: Engine, transport: str, namespace: str = "/") -> AsyncIterator[Peer]:
    """A new connection that is in a namespace."""
    async with engine.peer(transport) as peer:
        await join(peer, namespace)
        yield peer


async def is_well(peer: Peer) -> None:
    """It is in the default namespace, and its next event comes back."""
    await peer.send('42["message","still here"]')
    assert await peer.next() == '42["message-back","still here"]'
