"""What nobody should send ends the connection it came on; its neighbour gets every event all the while."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.engineio.client import TRANSPORTS, Engine, Peer
from tests.conformance.socketio.client import join, joined, placeholder
from tests.conformance.websocket import Frame
from tests.server.realtime.engineio.rig import SOCKETS, Running, conformance

MEGABYTE = 1_000_000
DEPTH = 100_000


def with_attachments(count: str, *numbers: str) -> tuple[Frame, ...]:
    """An event that announces so many, with these placeholders, and one attachment."""
    args = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in numbers)
    return f'45{count}-["message",{args}]', b"x"


HOSTILE: dict[str, tuple[Frame, ...]] = {
    "no attachments": with_attachments("0", "0"),
    "eleven attachments": with_attachments("11", "0"),
    "a billion attachments": with_attachments("1000000000", "0"),
    "a placeholder below": with_attachments("1", "-1"),
    "a placeholder that is text": with_attachments("1", '"0"'),
    "a placeholder above": with_attachments("1", "1"),
    "a placeholder that is true": with_attachments("1", "true"),
    "a placeholder that is half": with_attachments("1", "0.5"),
    "a placeholder that is a path": with_attachments("1", '"__proto__"'),
    "brackets": ('42["message",' + "[" * DEPTH + "]" * DEPTH + "]",),
    "brackets that stay open": ('42["message",' + "[" * DEPTH,),
    "braces": ('42["message",' + '{"a":' * DEPTH + "1" + "}" * DEPTH + "]",),
    "not a number": ('42["message",NaN]',),
    "infinity": ('42["message",-Infinity]',),
    "a number of many digits": ("42" + "9" * (MEGABYTE - 100) + '["message"]',),
    "a count of many digits": ("45" + "9" * (MEGABYTE - 100) + '-["message"]',),
    "half a surrogate pair": ('42["message","\\ud800"]',),
    "an unknown type": ("48",),
    "an unknown engine type": ("8",),
    "no packet": ("4",),
    "nothing": ("",),
    "a reserved name": ('42["connect"]',),
    "another": ('42["newListener","x"]',),
    "binary of nothing": (b"\x00" * 1000,),
    "text in between": (f'452-["message",{placeholder(0)}]', b"x", '42["message"]'),
    "a long namespace": ("40/" + "a" * (MEGABYTE - 100) + ",x",),
    "a ping": ("2",),
}

FLOODS: dict[str, str] = {
    "separators": "\x1e" * MEGABYTE,
    "empty messages": "\x1e".join(["4"] * 333_000),
    "acks of nothing": "\x1e".join(["430[]"] * 20_000) + "\x1e4",
    "pongs": "\x1e".join(["3"] * 20_000) + "\x1e4",
    "events": "\x1e".join(['42["message"]'] * 20_000),
}


class Neighbour:
    """Another client, which says one event after the other and hears each of them."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.heard = 0

    async def say(self) -> None:
        await self._peer.send(f'42["message",{self.heard}]')
        assert await self._peer.next() == f'42["message-back",{self.heard}]'
        self.heard += 1


LIMITS = {"max_message_bytes": MEGABYTE, "max_unsent_bytes": MEGABYTE}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("what", HOSTILE)
async def test_one_connection_ends_and_no_other(what: str, transport: str) -> None:
    async with conformance(**LIMITS) as server:
        client = server.client(SOCKETS)
        await survives(server, client, transport, HOSTILE[what])
        assert server.ended(SOCKETS) == {"parse error": 1, "transport close": 1}


@pytest.mark.parametrize("what", FLOODS)
async def test_a_flood_in_one_post(what: str) -> None:
    async with conformance(**LIMITS) as server:
        await survives(server, server.client(SOCKETS), "polling", (FLOODS[what],))


async def survives(server: Running, client: Engine, transport: str, frames: tuple[Frame, ...]) -> None:
    """The neighbour is told everything, before, meanwhile and afterwards."""
    async with joined(client, "websocket") as other:
        neighbour = Neighbour(other)
        await neighbour.say()
        async with client.peer(transport) as attacker:
            await join(attacker)
            await while_talking(neighbour, attacker, frames)
        await server.until_sessions(1, SOCKETS)
        await neighbour.say()
    await server.until_idle()


async def while_talking(neighbour: Neighbour, attacker: Peer, frames: tuple[Frame, ...]) -> None:
    done = False

    async def talk() -> None:
        while not done:
            await neighbour.say()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        await attacker.send(*frames)
        await attacker.ended()
        done = True
