"""Node's socket.io-parser and engine.io-parser in a process, and ours: what they make of the same frames."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from penstock.protocol.engineio import packets as engine
from penstock.protocol.engineio.packets import Frame
from penstock.protocol.socketio import packets as socket
from penstock.protocol.socketio.decoder import Decoder
from penstock.protocol.socketio.packets import SocketError
from tests.running import PATIENCE_S

PLACE = Path(__file__).parent / "socketio_parser"

ENGINE_NAMES = {kind.name.lower(): kind for kind in engine.PacketType}


class More(NamedTuple):
    """The frame is a part of a packet."""


class Refused(NamedTuple):
    """The frame ends the connection."""

    message: str


Outcome = socket.Packet | engine.Packet | More | Refused


class Undefined(NamedTuple):
    """A value that JSON has not and JavaScript has."""


class Node:
    """Cases are gathered, then run at once: starting Node takes longer than a thousand of them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def ask(self, work: str, **case: object) -> None:
        self._lines.append(json.dumps({"work": work, **case}))

    def answers(self) -> list[Any]:
        """One for each case, in order."""
        done = subprocess.run(
            ["node", str(PLACE / "parse.js")],
            input="\n".join(self._lines).encode(),
            stdout=subprocess.PIPE,
            timeout=10 * PATIENCE_S,
            check=True,
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(self._lines)
        return answers


def tell(value: object) -> object:
    """A value for parse.js; `hear` is the reverse."""
    match value:
        case bytes():
            return {"bytes": base64.b64encode(value).decode()}
        case list():
            return [tell(item) for item in value]
        case dict():
            return {"object": [[key, tell(item)] for key, item in value.items()]}
    return value


def hear(told: object) -> object:
    match told:
        case list():
            return [hear(item) for item in told]
        case {"bytes": str(text)}:
            return base64.b64decode(text)
        case {"object": list(items)}:
            return {key: hear(item) for key, item in items}
        case {"number": str(text)}:
            return float(text)
        case dict():
            return Undefined()
        case int() if abs(told) > 2**53:
            return float(told)  # what it is there: written with the fewest digits that tell it from the next
    return told


def node_socket(frames: Sequence[Frame]) -> dict[str, object]:
    return {"frames": [tell(frame) for frame in frames]}


def hear_socket(answer: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    return [
        _hear_packet(told["packet"])
        if "packet" in told
        else More()
        if "more" in told
        else Refused(told["refused"])
        for told in answer
    ]


def _hear_packet(told: Mapping[str, Any]) -> socket.Packet:
    data, ack_id = hear(told["data"]), hear(told["id"])
    return socket.Packet(
        socket.PacketType(str(told["type"])),
        told["nsp"],
        None if isinstance(data, Undefined) else data,
        None if isinstance(ack_id, Undefined) else ack_id,  # type: ignore[arg-type]  # NaN, too
    )


def hear_engine(answer: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    return [
        Refused(told["refused"])
        if "refused" in told
        else engine.Packet(ENGINE_NAMES[told["type"]], hear(told["data"]))  # type: ignore[arg-type]  # as Node says
        for told in answer
    ]


def our_socket(frames: Iterable[Frame]) -> list[Outcome]:
    """What each frame comes to, up to the first that is refused."""
    decoder = Decoder(max_bytes=10_000_000)  # Node's parser has no limit
    outcomes: list[Outcome] = []
    try:
        for frame in frames:
            packet = decoder.feed(frame)
            outcomes.append(More() if packet is None else packet)
    except SocketError as error:
        outcomes.append(Refused(str(error)))
    return outcomes


def our_engine(frame: Frame) -> list[Outcome]:
    try:
        return [engine.decode(frame)]
    except engine.EngineError as error:
        return [Refused(str(error))]


def our_payload(body: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    try:
        outcomes.extend(engine.decode_payload(body))
    except engine.EngineError as error:
        outcomes.append(Refused(str(error)))
    return outcomes
