"""The floor of fan-out: as little as a Python server can do and still tell all watchers.

One prebuilt frame, one `send` for each socket. It greets as Socket.IO does, has one room, and reads no more.

Usage: python frame_writer.py, then POST /emit {"count", "payload"} as the other servers take it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket

from bench.live.wire import HEAD_END, server_frame

ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3, for the one key the crowd sends
UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
OPENED = server_frame(
    b'0{"sid":"0","upgrades":[],"pingInterval":600000,"pingTimeout":600000,"maxPayload":65536}'
)
JOINED = server_frame(b'40{"sid":"0"}') + server_frame(b'42["connection-status",{"status":"connected"}]')


class FrameWriter:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._watchers: list[socket.socket] = []

    def serve(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
            print(f"ready at http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
            self._selector.register(listener, selectors.EVENT_READ)
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj is listener:
                        self._accept(listener)
                    elif isinstance(key.fileobj, socket.socket):
                        self._read(key.fileobj, key.data)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ, bytearray())

    def _read(self, connection: socket.socket, data: bytearray) -> None:
        try:
            more = connection.recv(65536)
        except ConnectionError:
            more = b""
        data += more
        if not more:
            self._forget(connection)
        elif data.startswith(b"POST"):
            self._post(connection, data)
        elif data.startswith(b"GET") and data.endswith(HEAD_END):
            connection.sendall(UPGRADED + OPENED)
            data.clear()
        elif data.endswith(b"40"):
            connection.sendall(JOINED)
            self._watchers.append(connection)
            data.clear()

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        if connection in self._watchers:
            self._watchers.remove(connection)
        connection.close()

    def _post(self, connection: socket.socket, data: bytearray) -> None:
        """One request, once it is whole."""
        _, whole, body = data.partition(HEAD_END)
        try:
            asked = json.loads(body) if whole else None
        except ValueError:
            return
        if asked:
            data.clear()
            self._emit(asked["count"], asked["payload"])
            connection.sendall(ANSWER)

    def _emit(self, count: int, payload: object) -> None:
        event = json.dumps(["upload-progress", payload], separators=(",", ":"))
        frame = server_frame(b"42" + event.encode())
        for _ in range(count):
            for watcher in self._watchers:
                watcher.sendall(frame)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    FrameWriter().serve()
