"""Long polling (section B4)."""

from __future__ import annotations

import gzip
import zlib

import pytest

from tests.conformance.engineio.client import (
    SEPARATOR,
    UNKNOWN_SID,
    Engine,
    Polling,
    body_of,
    echoes,
    refusal_of,
)
from tests.conformance.lines import engineio as line
from tests.conformance.wire import NoAnswer

PREFLIGHT = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type")]


@line("L1", "M")
async def test_engineio_L1_a_get_waits_until_there_is_something(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.pending(session.sid) as get:
        assert body_of(await session.post("4hello")) == "ok"
        assert body_of(await get.answer()) == "4hello"
    await echoes(session)


@line("L2", "M")
async def test_engineio_L2_a_second_get_ends_the_session(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.pending(session.sid) as first, engine.pending(session.sid, t="burst") as second:
        assert body_of(await first.answer()) == "1"
        assert (await second.answer()).status in (400, 500)
    assert refusal_of(await session.get()) == UNKNOWN_SID


@line("L3", "M")
async def test_engineio_L3_a_second_post_ends_the_session(engine: Engine) -> None:
    session = await engine.polling()
    expect = [("Expect", "100-continue")]
    async with engine.target.exchange("POST", engine.address(sid=session.sid), expect, length=6) as first:
        await first.begun()
        await first.send(b"4he")
        assert (await session.post("4second")).status == 400
        await session.ended()


@line("L3", "M")
async def test_engineio_L3_posts_one_after_the_other_are_fine(engine: Engine) -> None:
    session = await engine.polling()
    for number in range(20):
        assert body_of(await session.post(f"4{number}")) == "ok"
    assert await session.poll() == SEPARATOR.join(f"4{number}" for number in range(20))


@line("L4", "C")
@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_engineio_L4_an_aborted_get_ends_the_session(engine: Engine, how: str) -> None:
    session = await engine.polling()
    async with engine.pending(session.sid) as get:
        if how == "reset":
            get.reset()
        else:
            await get.stream.aclose()
    assert (await session.get()).status == 400
    assert refusal_of(await session.get()) == UNKNOWN_SID


@line("L5", "C")
@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_engineio_L5_an_aborted_post_ends_the_session(engine: Engine, how: str) -> None:
    session = await engine.polling()
    expect = [("Expect", "100-continue")]
    async with engine.target.exchange("POST", engine.address(sid=session.sid), expect, length=100) as post:
        await post.begun()
        await post.send(b"4half a mess")
        if how == "reset":
            post.reset()
        else:
            await post.stream.aclose()
    assert await session.ended() == []


@line("L6", "C")
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD"])
async def test_engineio_L6_other_methods_are_an_error(engine: Engine, method: str) -> None:
    session = await engine.polling()
    answer = await engine.target.ask(method, engine.address(sid=session.sid))
    assert answer.status in (400, 500)


@line("L7", "C")
async def test_engineio_L7_a_client_that_closes(engine: Engine) -> None:
    session = await engine.polling()
    async with engine.pending(session.sid) as get:
        assert body_of(await session.post("1")) == "ok"
        assert body_of(await get.answer()) == "6"
    assert refusal_of(await session.get()) == UNKNOWN_SID


@line("L8", "C")
async def test_engineio_L8_a_pending_get_is_told_that_the_server_closes(impatient: Engine) -> None:
    """It does, because no namespace is joined."""
    session = await Engine(impatient.target, "/socket.io/").polling()
    assert await session.poll() == "1"
    assert refusal_of(await session.get()) == UNKNOWN_SID


@line("L8", "C")
async def test_engineio_L8_or_else_the_next_get_is(impatient: Engine) -> None:
    sockets = Engine(impatient.target, "/socket.io/")
    session = await sockets.polling()
    async with sockets.websocket() as later:
        assert await later.ended() == []  # its time was up after the session's
    assert await session.poll() == f"6{SEPARATOR}1"
    assert refusal_of(await session.get()) == UNKNOWN_SID


@line("L9", "C")
async def test_engineio_L9_options(engine: Engine, origin: str) -> None:
    answer = await engine.target.ask("OPTIONS", engine.address(), [("Origin", origin), *PREFLIGHT])
    assert answer.status == 204
    assert answer["access-control-allow-origin"] == origin
    assert "POST" in answer.words("access-control-allow-methods")
    assert "content-type" in [word.lower() for word in answer.words("access-control-allow-headers")]


@line("L9", "C")
async def test_engineio_L9_errors_can_be_read_by_web_pages_as_well(engine: Engine, origin: str) -> None:
    answer = await engine.get("nobody", [("Origin", origin)])
    assert refusal_of(answer) == UNKNOWN_SID
    assert answer["access-control-allow-origin"] == origin


@line("L10", "C")
@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        ("identity", None),
        ("br", None),
        ("gzip;q=0", None),
        ("gzip, deflate", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
    ],
)
async def test_engineio_L10_long_answers_are_compressed_for_those_who_take_it(
    engine: Engine, accepted: str | None, coding: str | None
) -> None:
    session = await engine.polling()
    fields = [("Accept-Encoding", accepted)] if accepted else []
    long = "4" + "long " * 1000
    await session.send(long)
    answer = await engine.get(session.sid, fields)
    assert answer.get("content-encoding") == coding
    body = _inflated(answer.body, coding)
    assert body.decode() == long
    await session.send("4short")
    answer = await engine.get(session.sid, fields)
    assert "content-encoding" not in answer
    assert body_of(answer) == "4short"


@line("L10", "C")
async def test_engineio_L10_a_compressed_post_is_no_payload(engine: Engine) -> None:
    session: Polling = await engine.polling()
    fields = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")]
    try:
        answer = await engine.post(session.sid, gzip.compress(b"4" + b"x" * 1000), fields)
    except NoAnswer:
        return
    assert answer.status in (400, 415) or await session.ended() == []


def _inflated(body: bytes, coding: str | None) -> bytes:
    match coding:
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
    return body
