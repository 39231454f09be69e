"""Which web pages may talk to it (section B8)."""

from __future__ import annotations

import pytest

from tests.conformance.engineio.client import Engine, opening_of
from tests.conformance.lines import engineio as line
from tests.conformance.websocket import opened, rejected

FOREIGN = [("Origin", "https://evil.example")]


@pytest.fixture
def sockets(engine: Engine) -> Engine:
    """What web pages talk to."""
    return Engine(engine.target, "/socket.io/")


@line("O1", "U")
async def test_engineio_O1_a_foreign_page_opens_no_session(sockets: Engine) -> None:
    answer = await sockets.get(fields=FOREIGN)
    assert answer.status in (400, 403)
    assert "access-control-allow-origin" not in answer


@line("O1", "U")
async def test_engineio_O1_nor_does_it_use_one(sockets: Engine) -> None:
    session = await sockets.polling()
    assert (await sockets.get(session.sid, FOREIGN)).status in (400, 403)
    assert (await sockets.post(session.sid, "40", FOREIGN)).status in (400, 403)
    assert (await rejected(sockets.target, sockets.address("websocket", session.sid), FOREIGN)).status in (
        400,
        403,
    )
    await session.send("40")
    assert str(await session.next()).startswith("40")


@line("O1", "U")
async def test_engineio_O1_not_by_websocket_either(sockets: Engine) -> None:
    answer = await rejected(sockets.target, sockets.address("websocket"), FOREIGN)
    assert answer.status in (400, 403)


@line("O1", "U")
async def test_engineio_O1_a_page_of_an_allowed_origin_does(sockets: Engine, origin: str) -> None:
    fields = [("Origin", origin)]
    assert (await sockets.get(fields=fields)).status == 200
    async with opened(sockets.target, sockets.address("websocket"), fields) as websocket:
        assert opening_of(str(await websocket.next()))


@line("O1", "U")
async def test_engineio_O1_so_does_a_page_of_the_server_itself(sockets: Engine) -> None:
    fields = [("Origin", f"http://{sockets.target.authority}")]
    assert (await sockets.get(fields=fields)).status == 200
    async with opened(sockets.target, sockets.address("websocket"), fields) as websocket:
        assert opening_of(str(await websocket.next()))


@line("O2", "U")
async def test_engineio_O2_the_origin_is_named_and_no_star(sockets: Engine, origin: str) -> None:
    answer = await sockets.get(fields=[("Origin", origin)])
    assert answer["access-control-allow-origin"] == origin
    assert "origin" in [word.lower() for word in answer.words("vary")]


@line("O3", "U")
async def test_engineio_O3_a_cookie_opens_nothing(sockets: Engine) -> None:
    session = await sockets.polling()
    answer = await sockets.get(fields=[("Cookie", f"io={session.sid}")])
    assert opening_of(answer.body.decode())["sid"] != session.sid
