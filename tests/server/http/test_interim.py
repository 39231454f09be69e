"""`Request.interim`: a 1xx answer where the server can send one."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from penstock.server.edge.asgi import INFORMATIONAL, Message
from penstock.server.http.answers import Response, json_answer
from penstock.server.http.application import Application, Request
from penstock.server.peer import PeerGone
from tests.server.http.clients import Conversation

EXTENDED: dict[str, Any] = {INFORMATIONAL: {}}


class Talk(Conversation):
    """A server that may have the extension, and a peer that may be gone."""

    def __init__(
        self, app: Application, extensions: dict[str, Any] | None = EXTENDED, *, gone: bool = False
    ) -> None:
        super().__init__(app, "POST", "/x", b"")  # type: ignore[arg-type]  # hypercorn's typed dicts
        if extensions is not None:
            self._scope["extensions"] = extensions
        self._gone = gone
        self.sent = self._out

    async def _send(self, message: Message) -> None:
        if self._gone:
            await trio.lowlevel.checkpoint()
            raise PeerGone("it left")
        await super()._send(message)


def telling(told: list[str]) -> Application:
    async def view(request: Request) -> Response:
        await request.interim(104, {"Upload-Offset": "7", "Location": "/files/é"})
        told.append("went on")
        return json_answer({})

    app = Application()
    app.add("POST", "/x", view)
    return app


async def test_it_goes_out_before_the_answer() -> None:
    talk = Talk(telling([]))
    await talk.run()
    headers = [(b"upload-offset", b"7"), (b"location", "/files/é".encode("latin-1"))]
    assert talk.sent[0] == {"type": INFORMATIONAL, "status": 104, "headers": headers}
    assert talk.sent[1]["status"] == 200


@pytest.mark.parametrize("extensions", [{}, None])
async def test_a_server_that_cannot_is_not_asked_to(extensions: dict[str, Any] | None) -> None:
    told: list[str] = []
    talk = Talk(telling(told), extensions)
    await talk.run()
    assert (talk.sent[0]["status"], told) == (200, ["went on"])
    assert all(message["type"] != INFORMATIONAL for message in talk.sent)


async def test_when_the_peer_is_gone_the_handler_ends(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    talk = Talk(telling(told), gone=True)
    await talk.run()
    assert (told, talk.sent) == ([], [])
    assert capsys.readouterr().out == ""


async def test_it_goes_out_whole_though_its_task_is_cancelled() -> None:
    async def view(request: Request) -> Response:
        with trio.CancelScope() as scope:
            scope.cancel()
            await request.interim(104, {})
        return json_answer({})

    app = Application()
    app.add("POST", "/x", view)
    talk = Talk(app)
    await talk.run()
    assert [message.get("status") for message in talk.sent[:2]] == [104, 200]
