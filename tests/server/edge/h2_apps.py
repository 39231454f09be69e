"""Applications that HTTP/2 tests serve."""

from __future__ import annotations

import trio

from penstock.server.edge.asgi import ASGIApp, Headers, Receive, Scope, Send


async def answer(send: Send, status: int = 200, body: bytes = b"", headers: Headers | None = None) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers or []})
    await send({"type": "http.response.body", "body": body})


async def drain(receive: Receive) -> int:
    """Take the body and say how long it was; -1 if the peer left."""
    taken = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return -1
        taken += len(message["body"])
        if not message["more_body"]:
            return taken


async def count_body(scope: Scope, receive: Receive, send: Send) -> None:
    taken = await drain(receive)
    if taken >= 0:
        await answer(send, 200, str(taken).encode())


async def refuse_early(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, 413, b"too much")


class Routes:
    """Each path its own application; `/` counts the body."""

    def __init__(self, **routes: ASGIApp) -> None:
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.routes.get(scope["path"].strip("/"), count_body)(scope, receive, send)


class Held:
    """Takes nothing of its body until the gate opens; then counts it."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.started = trio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started.set()
        await self.gate.wait()
        await count_body(scope, receive, send)


class WaitsForTheEnd:
    """Waits in `receive` until it is told that the peer is gone, and notes what it was told."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.told: list[str] = []
        self.ended = trio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started.set()
        while not self.told or self.told[-1] != "http.disconnect":
            self.told.append((await receive())["type"])
        self.ended.set()


async def wait(event: trio.Event) -> None:
    with trio.fail_after(10):
        await event.wait()
