"""The application as a whole: which part answers, and that the parts see the same sessions."""

from __future__ import annotations

from typing import Any

import msgspec
import trio
from trio_websocket import open_websocket

from penstock.server.edge.guard import guarded
from penstock.server.settings import Settings
from tests.server.edge.harness import PATIENCE_S, connected, serving
from tests.server.http.clients import SocketClient, created, world


async def test_a_websocket_watches_what_http_uploads() -> None:
    made = await world()
    async with serving(guarded(made.app, Settings(port=0))) as edge:
        client = SocketClient(made, lambda: connected(edge))
        session = await created(client, {"fileName": "a", "fileId": "a"})
        topic = f"session:{session['watchKey']}"
        subscribe = {"type": "subscribe", "messageId": "1", "timestamp": 1, "data": {"topic": topic}}
        with trio.fail_after(PATIENCE_S):
            async with open_websocket(*edge.addresses[0], "/api/v1/ws", use_ssl=False) as socket:
                await socket.send_message(msgspec.json.encode(subscribe).decode())
                kinds: list[str] = []
                while "ack" not in kinds:
                    kinds.append(msgspec.json.decode(await socket.get_message())["type"])
                await client.ask("PUT", session["files"][0]["uploadUrl"], b"abc")
                seen: list[str] = []
                while "upload-completed" not in seen:
                    pushed = msgspec.json.decode(await socket.get_message())
                    seen.append(str(pushed["data"].get("event")))
    assert "upload-started" in seen


async def test_no_other_path_takes_a_websocket() -> None:
    made = await world()
    async with serving(made.app) as edge, connected(edge) as raw:
        lines = ["GET /api/v1/other HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]
        await raw.send("\r\n".join(lines).encode())
        assert (await raw.answer())[0] == 404


async def test_lifespan_is_answered() -> None:
    """For ASGI servers other than our edge, which needs none."""
    made = await world()
    said: list[str] = []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return messages.pop(0)

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        said.append(message["type"])

    await made.app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
