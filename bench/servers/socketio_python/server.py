"""python-socketio as its documentation shows it, on uvicorn: a room per session, joined at connect.

POST /emit {rooms, count, every, payload} emits `count` events into each room: at once, or at that pace.
"""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import parse_qs

import socketio  # type: ignore[import-untyped]
import uvicorn  # type: ignore[import-not-found]  # only in an environment of its own

sio = socketio.AsyncServer(async_mode="asgi")


@sio.event  # type: ignore[untyped-decorator]  # it has no types
async def connect(sid: str, environ: dict[str, Any]) -> None:
    for session in parse_qs(environ["QUERY_STRING"]).get("sessionId", []):
        await sio.enter_room(sid, session)
    await sio.emit("connection-status", {"status": "connected"}, to=sid)


async def emit(rooms: list[str], count: int, every: float, payload: dict[str, Any]) -> None:
    for index, room in enumerate(rooms):
        if every:
            sio.start_background_task(pace, room, count, every, index * every / len(rooms), payload)
            continue
        for _ in range(count):
            await sio.emit("upload-progress", payload, room=room)


async def pace(room: str, count: int, every: float, wait_s: float, payload: dict[str, Any]) -> None:
    await sio.sleep(wait_s)
    for _ in range(count):
        await sio.sleep(every)
        await sio.emit("upload-progress", payload, room=room)


async def emitter(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application beside Socket.IO's."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message.get("more_body"):
            break
    await emit(**json.loads(body))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def main() -> None:
    app = socketio.ASGIApp(sio, emitter)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(f"ready at http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
