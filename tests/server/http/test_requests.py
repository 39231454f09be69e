"""JSON bodies from peers that dawdle or vanish."""

from __future__ import annotations

import trio

from tests.server.http.clients import Conversation, bare, over_sockets, rendered

SESSIONS = "/api/upload/sessions"


async def test_a_body_that_never_comes(autojump_clock: trio.abc.Clock) -> None:
    async with bare(body_idle_timeout_s=5) as client:
        conversation = Conversation(client.app, "POST", SESSIONS, [b"{", b"}"])
        conversation._pieces.pop()
        await conversation.run()
        assert conversation.answer.code == (408, "CONNECTION_TIMEOUT")


async def test_a_peer_that_leaves_in_mid_body(autojump_clock: trio.abc.Clock) -> None:
    async with bare() as client:
        conversation = Conversation(client.app, "POST", SESSIONS, [b"{", b"}"])
        conversation._pieces.pop()
        conversation.leave()
        await conversation.run()
        assert client.gateway.statistics().sessions == 0


async def test_slow_json_over_a_socket() -> None:
    for fast_path in (True, False):
        async with over_sockets(fast_path=fast_path) as client, client.connect() as raw:
            for byte in b"".join(rendered("POST", SESSIONS, b'{"open": true}')):
                await raw.send(bytes([byte]))
            assert (await raw.answer())[0] == 201
