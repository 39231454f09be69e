"""Our codecs and Node's parsers get the same frames: same verdict, same value, or a listed difference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from random import Random

import pytest

from bench import npm
from penstock.protocol.engineio import packets as engine
from penstock.protocol.engineio.packets import Frame
from penstock.protocol.socketio import packets as socket
from tests.acceptance.sizes import full_or
from tests.interop import parser_cases, parser_differences
from tests.interop.node_parsers import (
    PLACE,
    More,
    Node,
    Outcome,
    Refused,
    hear,
    hear_engine,
    hear_socket,
    node_socket,
    our_engine,
    our_payload,
    our_socket,
    tell,
)
from tests.interop.parser_differences import Difference, Disagreement

CASES = full_or(4_000, 20_000)  # of a seed
SEEDS = range(full_or(1, 20))


@pytest.fixture(scope="module", autouse=True)
def _parsers(require_program: Callable[[str], str]) -> None:
    """They are installed."""
    for program in ("node", "npm"):
        require_program(program)
    try:
        npm.install(PLACE)
    except npm.NotHere as missing:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise
        pytest.skip(f"NOT tested here: {missing}")


def disagreements(
    frames: Sequence[Frame], ours: Sequence[Outcome], theirs: Sequence[Outcome]
) -> Iterator[Disagreement]:
    """The first of a connection, if any: behind it they are in different states."""
    for at, (our, their) in enumerate(zip_longest(ours, theirs)):
        if our != their and not (isinstance(our, Refused) and isinstance(their, Refused)):
            at_last = next((later for later in theirs[at:] if not isinstance(later, More)), None)
            assert our is not None
            assert their is not None
            yield Disagreement(frames[at], our, their, at_last)
            return


def judge(table: list[Difference], found: list[Disagreement]) -> None:
    """Each is in the table, and each of the table has come up: none of it is history."""
    unexplained = [one for one in found if parser_differences.named(table, one) is None]
    assert not unexplained, "\n".join(ascii(one)[:600] for one in unexplained[:10])
    assert {parser_differences.named(table, one) for one in found} == {one.what for one in table}


@pytest.mark.parametrize("seed", SEEDS)
def test_socket_io_frames_mean_the_same(seed: int) -> None:
    cases = list(parser_cases.socket_cases(seed, CASES))
    node = Node()
    for frames in cases:
        node.ask("decode socket", **node_socket(frames))
    found: list[Disagreement] = []
    accepted = 0
    for frames, answer in zip(cases, node.answers(), strict=True):
        ours, theirs = our_socket(frames), hear_socket(answer)
        found += disagreements(frames, ours, theirs)
        accepted += not isinstance(ours[-1], Refused)
    assert CASES // 10 < accepted < CASES  # both verdicts are put to the test
    judge(parser_differences.SOCKET, found)


@pytest.mark.parametrize("seed", SEEDS)
def test_engine_io_frames_mean_the_same(seed: int) -> None:
    cases = list(parser_cases.engine_cases(seed, CASES))
    node = Node()
    for frame in cases:
        node.ask("decode engine", frame=tell(frame))
    found: list[Disagreement] = []
    for frame, answer in zip(cases, node.answers(), strict=True):
        found += disagreements([frame], our_engine(frame), hear_engine(answer))
    judge(parser_differences.ENGINE, found)


@pytest.mark.parametrize("seed", SEEDS)
def test_polling_bodies_mean_the_same(seed: int) -> None:
    cases = list(parser_cases.payload_cases(seed, CASES))
    node = Node()
    for body in cases:
        node.ask("decode payload", body=body)
    found: list[Disagreement] = []
    for body, answer in zip(cases, node.answers(), strict=True):
        found += disagreements(body.split(engine.SEPARATOR), our_payload(body), hear_engine(answer))
    judge(parser_differences.ENGINE, found)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_one_encodes_the_other_decodes(seed: int) -> None:
    random = Random(seed)
    packets = [_packet(random) for _ in range(CASES // 4)]
    node = Node()
    for packet in packets:
        told = {
            "type": int(packet.type),
            "nsp": packet.namespace,
            "data": tell(packet.data),
            "id": packet.ack_id,
        }
        node.ask("encode socket", packet=told)
        node.ask("decode socket", **node_socket(socket.encode(packet)))
    answers = node.answers()
    for packet, encoded, decoded in zip(packets, answers[::2], answers[1::2], strict=True):
        ours, theirs = socket.encode(packet), [hear(frame) for frame in encoded]
        got = our_socket(theirs)[-1]  # type: ignore[arg-type]  # frames
        assert isinstance(got, socket.Packet)
        assert got._replace(data=parser_differences.as_doubles(got.data)) == packet  # 1e20 is written in full
        assert hear_socket(decoded)[-1] == packet
        assert len(ours) == len(theirs)


def _packet(random: Random) -> socket.Packet:
    """An event or ack that both can encode."""
    kind = random.choice((socket.PacketType.EVENT, socket.PacketType.ACK))
    while True:
        data = [
            random.choice(("a", 7, "进度")),
            *(parser_cases.json_value(random) for _ in range(random.randrange(3))),
        ]
        ack_id = random.randrange(2**53) if kind is socket.PacketType.ACK or random.random() < 0.5 else None
        packet = socket.Packet(kind, random.choice(("/", "/n", "/a?b=c")), data, ack_id)
        try:
            socket.encode(packet)
        except ValueError:  # too many bytes values in it
            continue
        return packet


@pytest.mark.parametrize("seed", SEEDS)
def test_engine_io_is_written_the_same(seed: int) -> None:
    random = Random(seed)
    groups = [_engine_packets(random) for _ in range(CASES // 4)]
    node = Node()
    for group in groups:
        told = [{"type": packet.type.name.lower(), "data": tell(packet.data)} for packet in group]
        node.ask("encode engine", packets=told)
    for group, answer in zip(groups, node.answers(), strict=True):
        frames = [engine.encode(packet) for packet in group]
        assert frames == [hear(frame) for frame in answer["frames"]]
        assert engine.encode_payload(frames) == answer["body"]


def _engine_packets(random: Random) -> list[engine.Packet]:
    made = []
    for _ in range(random.randint(1, 4)):
        if random.random() < 0.3:
            made.append(engine.Packet(engine.PacketType.MESSAGE, random.randbytes(random.randrange(9))))
        else:
            text = "".join(random.choices("a0é€😀 [\n", k=random.randrange(6)))
            made.append(engine.Packet(random.choice([*engine.PacketType]), text))
    return made


def test_the_page_shows_the_differences() -> None:
    page = (Path(__file__).parents[2] / "docs" / "socketio.md").read_text("utf-8")
    shown = page.partition("<!-- differences:begin -->\n")[2].partition("<!-- differences:end -->")[0]
    assert shown == parser_differences.markdown()
