"""How a session begins (sections A and B1)."""

from __future__ import annotations

import re

import pytest
from wsproto.extensions import PerMessageDeflate

from tests.conformance.engineio.client import (
    BAD_REQUEST,
    SEPARATOR,
    TRANSPORTS,
    UNKNOWN_SID,
    Engine,
    body_of,
    echoes,
    ends,
    opening_of,
    refusal_of,
)
from tests.conformance.engineio.servers import QUICK_INTERVAL_S, QUICK_TIMEOUT_S
from tests.conformance.lines import engineio as line
from tests.conformance.websocket import opened, rejected

KEYS = {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
BAD_METHOD = {"code": 2, "message": "Bad handshake method"}
UNSUPPORTED = {"code": 5, "message": "Unsupported protocol version"}


# A. Defaults


@line("A", "C")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_engineio_A_the_timing_of_a_server_that_nobody_configured(
    impatient: Engine, transport: str
) -> None:
    async with impatient.peer(transport) as peer:
        assert peer.opening["pingInterval"] == 25_000
        assert peer.opening["pingTimeout"] == 20_000
        assert peer.opening["maxPayload"] == 1_000_000


@line("A", "C")
async def test_engineio_A_settings_below_a_second(quick: Engine) -> None:
    opening = (await quick.polling()).opening
    assert opening["pingInterval"] == QUICK_INTERVAL_S * 1000
    assert opening["pingTimeout"] == QUICK_TIMEOUT_S * 1000
    assert opening["maxPayload"] == 1_000_000


@line("A", "C")
@pytest.mark.parametrize("path", ["/engine.io", "/socket.io", "/engine.io/more/"])
async def test_engineio_A_the_slash_at_the_end_is_part_of_the_path(engine: Engine, path: str) -> None:
    without = Engine(engine.target, path)
    assert (await without.get()).status == 404
    assert (await rejected(engine.target, without.address("websocket"))).status == 404


@line("A", "C")
async def test_engineio_A_compression_of_messages_is_not_offered(engine: Engine) -> None:
    path = engine.address("websocket")
    async with opened(engine.target, path, offers=[PerMessageDeflate()]) as websocket:
        assert websocket.extensions == []


@line("A", "C")
async def test_engineio_A_there_is_no_cookie(engine: Engine) -> None:
    assert "set-cookie" not in await engine.get()


@line("A", "C")
async def test_engineio_A_no_web_page_elsewhere_is_let_in_by_itself(engine: Engine) -> None:
    assert "access-control-allow-origin" not in await engine.get()


@line("A", "C")
async def test_engineio_A_webtransport_is_off(engine: Engine) -> None:
    answer = await engine.target.ask("GET", engine.address("webtransport"))
    assert refusal_of(answer) == {"code": 0, "message": "Transport unknown"}
    assert (await engine.polling()).opening["upgrades"] == ["websocket"]


# B1. Handshake


@line("H1", "M")
async def test_engineio_H1_a_get_opens_a_session(engine: Engine) -> None:
    answer = await engine.get()
    assert answer.status == 200
    assert answer["content-type"].lower() == "text/plain; charset=utf-8"
    assert answer["cache-control"] == "no-store"
    assert SEPARATOR not in answer.body.decode()
    assert opening_of(answer.body.decode())


@line("H2", "M")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_engineio_H2_the_open_packet_has_these_keys_and_no_others(
    engine: Engine, transport: str
) -> None:
    async with engine.peer(transport) as peer:
        assert peer.opening.keys() == KEYS
        assert isinstance(peer.opening["sid"], str)
        for number in ("pingInterval", "pingTimeout", "maxPayload"):
            assert type(peer.opening[number]) is int, number


@line("H3", "M")
@pytest.mark.parametrize(("transport", "upgrades"), [("polling", ["websocket"]), ("websocket", [])])
async def test_engineio_H3_what_it_may_change_over_to(
    engine: Engine, transport: str, upgrades: list[str]
) -> None:
    async with engine.peer(transport) as peer:
        assert peer.opening["upgrades"] == upgrades


@line("H4", "C")
async def test_engineio_H4_sids_are_long_and_never_the_same(engine: Engine) -> None:
    sids = [(await engine.polling()).sid for _ in range(20)]
    assert len(set(sids)) == 20
    assert all(re.fullmatch(r"[\w-]{20,}", sid, re.ASCII) for sid in sids)


@line("H5", "M")
async def test_engineio_H5_a_websocket_opens_a_session(engine: Engine) -> None:
    async with engine.websocket() as socket:
        assert socket.sid
        await echoes(socket)


@line("H6", "C")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_engineio_H6_parameters_it_does_not_know_are_ignored(engine: Engine, transport: str) -> None:
    more = {"t": "P8xk2h", "sessionId": "a b&c=d", "empty": ""}
    if transport == "polling":
        peer = await engine.polling(**more)
        assert peer.sid
        assert (await engine.get(peer.sid, t="1", x="2", transport="websocket")).status == 400
        return
    async with engine.websocket(**more) as socket:
        await echoes(socket)


@line("H6", "C")
async def test_engineio_H6_b64_binary_is_text_on_a_websocket_as_well(engine: Engine) -> None:
    async with engine.websocket(b64="1") as socket:
        await socket.send(b"\x01\x02\x03\x04")
        assert await socket.next() == "bAQIDBA=="


@line("H7", "C")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD"])
async def test_engineio_H7_only_a_get_opens_a_session(engine: Engine, method: str) -> None:
    answer = await engine.target.ask(method, engine.address())
    assert answer.status == 400
    if method != "HEAD":
        assert refusal_of(answer) == BAD_METHOD


@line("H8", "C")
async def test_engineio_H8_a_websocket_without_upgrade(engine: Engine) -> None:
    answer = await engine.target.ask("GET", engine.address("websocket"))
    assert refusal_of(answer) == BAD_REQUEST


@line("H9", "C")
@pytest.mark.parametrize(
    "query",
    [
        "transport=websocket",
        "EIO=3&transport=websocket",
        "EIO=abc&transport=websocket",
        "EIO=4",
        "EIO=4&transport=abc",
        "EIO=4&transport=polling",
        "EIO=4&transport=websocket&sid=nobody",
    ],
)
async def test_engineio_H9_a_websocket_is_refused_before_it_is_one(engine: Engine, query: str) -> None:
    answer = await rejected(engine.target, f"{engine.path}?{query}")
    assert answer.status == 400
    if engine.target.ours:  # the Node server says it in words
        assert refusal_of(answer)["code"] in (0, 1, 3, 5)


@line("H9", "C")
async def test_engineio_H9_but_a_second_one_is_accepted_and_closed(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.probed(session.sid) as first:
        async with engine.upgrading(session.sid) as second:
            await second.closed()
        await first.send("5", "4hello")
        assert await first.next() == "4hello"


# B2. Errors


@line("B2", "C")
@pytest.mark.parametrize(
    ("method", "query", "code", "message"),
    [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=abc", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=Polling", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=abc&sid=nobody", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=nobody", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling&sid=nobody", 1, "Session ID unknown"),
        ("GET", "transport=polling&sid=nobody", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("POST", "EIO=3&transport=polling", 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "EIO=3&transport=websocket", 3, "Bad request"),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=5&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=44&transport=polling", 5, "Unsupported protocol version"),
    ],
)
async def test_engineio_B2_what_is_wrong_is_said_in_json(
    engine: Engine, method: str, query: str, code: int, message: str
) -> None:
    answer = await engine.target.ask(method, f"{engine.path}?{query}")
    assert answer["content-type"].partition(";")[0] == "application/json"
    assert refusal_of(answer) == {"code": code, "message": message}


@line("B2", "C")
async def test_engineio_B2_a_session_that_has_ended_is_unknown(engine: Engine) -> None:
    session = await engine.polling()
    await ends(session, "1")
    assert refusal_of(await engine.get(session.sid)) == UNKNOWN_SID
    assert refusal_of(await engine.post(session.sid, "4x")) == UNKNOWN_SID


@line("B2", "C")
@pytest.mark.parametrize("more", [200, 2000])
async def test_engineio_B2_a_query_of_many_parameters_is_refused_or_served(engine: Engine, more: int) -> None:
    query = "&".join(f"p{number}=" for number in range(more))
    answer = await engine.target.ask("GET", f"{engine.address()}&{query}")
    assert answer.status == 200 or refusal_of(answer) == BAD_REQUEST or answer.status in (414, 431)


@line("B2", "C")
async def test_engineio_B2_a_get_for_a_session_reads_what_it_asks_for(engine: Engine) -> None:
    session = await engine.polling()
    await session.send("4hello")
    assert body_of(await session.get()) == "4hello"
