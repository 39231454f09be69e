"""One session: each state and what may come in it, heartbeats, and its ends."""

from __future__ import annotations

import pytest

from penstock.protocol.engineio.handshake import Refusal, Refused, Timing, Transport
from penstock.protocol.engineio.packets import EngineError, Frame, Packet, PacketType
from penstock.protocol.engineio.session import CloseReason, Session

TIMING = Timing(25.0, 20.0)
BORN = 1000.0
DUE = BORN + 25.0
DEAD = DUE + 20.0
ROOM = 1_000_000

PONG = Packet(PacketType.PONG)


def on(transport: Transport, *, only_text: bool = False) -> Session:
    return Session(transport, TIMING, BORN, only_text=only_text)


def polling() -> Session:
    return on(Transport.POLLING)


def polled() -> Session:
    """A GET is pending."""
    session = polling()
    session.begin_poll()
    return session


def begun() -> Session:
    session = polling()
    assert session.begin_upgrade()
    return session


def probed() -> Session:
    session = begun()
    session.probed()
    return session


def upgraded() -> Session:
    session = probed()
    assert session.upgrade()
    return session


def websocket() -> Session:
    return on(Transport.WEBSOCKET)


def closed() -> Session:
    session = polling()
    session.close(CloseReason.TRANSPORT_CLOSE)
    return session


def told() -> Session:
    """Closed, and its next GET is to say so."""
    session = polling()
    session.close(CloseReason.FORCED_CLOSE, tell=True)
    return session


def finished() -> Session:
    session = polling()
    session.finish(CloseReason.SERVER_SHUTTING_DOWN)
    return session


STATES = {
    make.__name__: make
    for make in (polling, polled, begun, probed, upgraded, websocket, closed, told, finished)
}
ON_WEBSOCKETS = ("upgraded", "websocket")
AT_AN_END = ("closed", "told", "finished")

states = pytest.mark.parametrize("state", STATES)


def refused(session: Session, how: str) -> Refusal | None:
    try:
        getattr(session, how)()
    except Refused as refusal:
        return refusal.refusal
    return None


# Every state, and everything that may come


@states
def test_a_get(state: str) -> None:
    session = STATES[state]()
    expected = dict.fromkeys((*ON_WEBSOCKETS, "polled"), Refusal.BAD_REQUEST)
    assert refused(session, "begin_poll") is {**expected, "closed": Refusal.UNKNOWN_SID}.get(state)
    assert session.closed is (CloseReason.TRANSPORT_ERROR if state == "polled" else STATES[state]().closed)


@states
def test_a_post(state: str) -> None:
    session = STATES[state]()
    expected = dict.fromkeys(ON_WEBSOCKETS, Refusal.BAD_REQUEST)
    expected |= dict.fromkeys(AT_AN_END, Refusal.UNKNOWN_SID)
    assert refused(session, "begin_post") is expected.get(state)
    assert session.closed is STATES[state]().closed


@states
def test_a_websocket(state: str) -> None:
    session = STATES[state]()
    assert session.begin_upgrade() is (state in ("polling", "polled"))
    assert session.transport is STATES[state]().transport


@states
def test_an_upgrade_packet(state: str) -> None:
    session = STATES[state]()
    assert session.upgrade() is (state == "probed")
    on_websocket = state in ("probed", *ON_WEBSOCKETS)
    assert session.transport is (Transport.WEBSOCKET if on_websocket else Transport.POLLING)


@states
def test_a_probe(state: str) -> None:
    session = STATES[state]()
    session.probed()
    assert session.upgrade() is (state in ("begun", "probed"))


@states
def test_an_upgrade_that_is_given_up(state: str) -> None:
    session = STATES[state]()
    session.give_up_upgrade()
    assert not session.upgrade()
    assert session.begin_upgrade() is (state in ("polling", "polled", "begun", "probed"))
    assert session.transport is STATES[state]().transport


@states
@pytest.mark.parametrize("tell", [True, False])
def test_a_close(state: str, tell: bool) -> None:
    session = STATES[state]()
    session.send(["4x"])
    session.close(CloseReason.FORCED_CLOSE, tell=tell)
    assert session.closed is (STATES[state]().closed or CloseReason.FORCED_CLOSE)
    owes = {"told": True, "finished": True, "closed": False}
    assert session.owes_farewell is owes.get(state, tell and state not in ON_WEBSOCKETS)
    assert session.take_websocket() == []
    assert session.buffered_bytes == 0


@states
def test_an_end_that_waits_for_what_was_sent(state: str) -> None:
    session = STATES[state]()
    session.send(["4x"])
    session.finish(CloseReason.SERVER_SHUTTING_DOWN)
    session.send(["4y"])
    if state in ON_WEBSOCKETS:
        assert session.take_websocket() == ["4x"]
        assert not session.owes_farewell
    elif state not in AT_AN_END:
        assert session.take_poll(ROOM) == ["4x"]
        session.end_poll()
        session.begin_poll()
        assert session.take_poll(ROOM) == ["6", "1"]
        assert not session.owes_farewell


@states
def test_what_is_sent(state: str) -> None:
    session = STATES[state]()
    session.send(["4x", b"y"])
    by_websocket = session.take_websocket()
    if state in ON_WEBSOCKETS:
        assert by_websocket == ["4x", b"y"]
    elif state not in AT_AN_END:
        assert by_websocket == []
        assert session.take_poll(ROOM) == ["4x", b"y"]
    assert session.buffered_bytes == 0


@states
def test_whether_what_is_sent_leaves_at_once(state: str) -> None:
    session = STATES[state]()
    assert session.writable is (state in ("polled", *ON_WEBSOCKETS))
    session.send(["4x"])
    assert not session.writable


@states
@pytest.mark.parametrize("kind", PacketType)
def test_a_packet(state: str, kind: PacketType) -> None:
    session = STATES[state]()
    if kind is PacketType.PING:
        with pytest.raises(EngineError):
            session.receive(Packet(kind), BORN)
        return
    assert session.receive(Packet(kind, "x"), BORN) == ("x" if kind is PacketType.MESSAGE else None)
    before = STATES[state]().closed
    ends = kind is PacketType.CLOSE and before is None
    assert session.closed is (CloseReason.TRANSPORT_CLOSE if ends else before)


# Polls


def test_a_get_has_nothing_to_say_until_there_is_something() -> None:
    session = polled()
    assert session.take_poll(ROOM) is None
    session.send(["4x"])
    assert session.take_poll(ROOM) == ["4x"]
    session.end_poll()
    session.begin_poll()
    assert session.take_poll(ROOM) is None


def test_the_second_of_two_gets_ends_it_and_the_first_is_told() -> None:
    session = polled()
    assert refused(session, "begin_poll") is Refusal.BAD_REQUEST
    assert session.take_poll(ROOM) == ["1"]
    session.end_poll()
    assert refused(session, "begin_poll") is Refusal.UNKNOWN_SID


def test_two_posts_end_it() -> None:
    session = polling()
    session.begin_post()
    assert refused(session, "begin_post") is Refusal.BAD_REQUEST
    assert session.closed is CloseReason.TRANSPORT_ERROR
    session.end_post()
    assert refused(session, "begin_post") is Refusal.UNKNOWN_SID


def test_a_post_after_the_other() -> None:
    session = polling()
    for _ in range(3):
        session.begin_post()
        session.end_post()
    assert session.closed is None


@pytest.mark.parametrize("room_bytes", [0, 1, 5, 6, 7])
def test_an_answer_has_at_least_one_frame_and_of_more_what_fits(room_bytes: int) -> None:
    session = polling()
    session.send(["4a", "4b", "4cccc"])
    answers = []
    while session.buffered_bytes:
        answers.append(session.take_poll(room_bytes))
    expected = {6: [["4a", "4b"], ["4cccc"]], 7: [["4a", "4b"], ["4cccc"]]}
    assert answers == expected.get(room_bytes, [["4a"], ["4b"], ["4cccc"]])


def test_every_get_is_let_go_once_a_websocket_works() -> None:
    session = probed()
    for _ in range(3):
        session.begin_poll()
        assert session.take_poll(ROOM) == ["6"]
        session.end_poll()
    session.send(["4x"])
    session.begin_poll()
    assert session.take_poll(ROOM) == ["4x"]
    session.end_poll()
    session.give_up_upgrade()
    session.begin_poll()
    assert session.take_poll(ROOM) is None


def test_bytes_are_text_for_those_who_want_it() -> None:
    session = on(Transport.WEBSOCKET, only_text=True)
    session.send([b"\x01\x02\x03\x04", "4x"])
    assert session.take_websocket() == ["bAQIDBA==", "4x"]


@pytest.mark.parametrize("frame", ["4" + "x" * 99, "4" + "é" * 50, b"x" * 100])
def test_what_waits_is_counted_in_bytes(frame: Frame) -> None:
    for session in (websocket(), polling()):
        session.send([frame])
        assert 100 <= session.buffered_bytes <= 140
        assert session.take_websocket() or session.take_poll(ROOM) == [frame]
        assert session.buffered_bytes == 0


# The end


@pytest.mark.parametrize(
    ("reason", "frame"),
    [(reason, "6" if reason is CloseReason.TRANSPORT_CLOSE else "1") for reason in CloseReason],
)
def test_a_pending_get_learns_of_the_end(reason: CloseReason, frame: str) -> None:
    session = polled()
    session.close(reason)
    assert session.take_poll(ROOM) == [frame]


def test_the_next_get_is_told_once() -> None:
    session = told()
    session.begin_poll()
    assert session.take_poll(ROOM) == ["6", "1"]
    session.end_poll()
    assert not session.owes_farewell
    assert refused(session, "begin_poll") is Refusal.UNKNOWN_SID


def test_what_waits_at_the_end_comes_first_in_as_many_answers_as_it_takes() -> None:
    session = polling()
    session.send(["4a", "4b"])
    session.finish(CloseReason.SERVER_SHUTTING_DOWN)
    frames: list[Frame] = []
    while session.owes_farewell:
        session.begin_poll()
        frames += session.take_poll(1) or []
        session.end_poll()
    assert [frame for frame in frames if frame != "6"] == ["4a", "4b", "1"]
    assert frames[-1] == "1"


def test_the_first_reason_stays() -> None:
    session = websocket()
    session.close(CloseReason.PARSE_ERROR)
    session.close(CloseReason.TRANSPORT_CLOSE)
    session.finish(CloseReason.SERVER_SHUTTING_DOWN)
    session.tick(DEAD)
    assert session.closed is CloseReason.PARSE_ERROR


# Time


@states
def test_a_ping_when_it_is_due_and_only_one(state: str) -> None:
    session = STATES[state]()
    if state in AT_AN_END:
        return
    assert session.next_tick == DUE
    session.tick(DUE - 0.001)
    assert session.buffered_bytes == 0
    for now in (DUE, DUE, DUE + 19):
        session.tick(now)
    assert session.next_tick == DEAD
    assert (session.take_websocket() or session.take_poll(ROOM)) == ["2"]


@pytest.mark.parametrize("late_s", [0.0, 5.0, 19.999])
def test_death_is_counted_from_when_the_ping_was_due(late_s: float) -> None:
    session = websocket()
    session.tick(DUE + late_s)
    session.tick(DEAD - 0.001)
    assert session.closed is None
    session.tick(DEAD)
    assert session.closed is CloseReason.PING_TIMEOUT


def test_death_comes_without_a_ping_as_well() -> None:
    session = polling()
    session.tick(DEAD)  # a busy process
    assert session.closed is CloseReason.PING_TIMEOUT


def test_the_next_ping_is_due_an_interval_after_the_pong() -> None:
    session = websocket()
    session.tick(DUE)
    session.take_websocket()
    session.receive(PONG, DUE + 7)
    assert (session.next_tick, session.dead_at) == (DUE + 7 + 25, DUE + 7 + 45)
    session.tick(DUE + 7 + 25)
    assert session.take_websocket() == ["2"]


@pytest.mark.parametrize("kind", set(PacketType) - {PacketType.PONG, PacketType.PING, PacketType.CLOSE})
def test_nothing_but_a_pong_feeds_it(kind: PacketType) -> None:
    session = websocket()
    session.tick(DUE)
    session.receive(Packet(kind, "x"), DUE + 10)
    assert session.dead_at == DEAD


def test_an_upgrade_feeds_nothing_either() -> None:
    session = polling()
    session.tick(DUE)  # nobody fetches it
    session.begin_upgrade()
    session.probed()
    session.upgrade()
    assert session.dead_at == DEAD
    assert session.take_websocket() == ["2"]
    session.tick(DUE + 10)
    assert session.take_websocket() == []
