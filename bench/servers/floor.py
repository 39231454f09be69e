"""The floor: as little as a Python server can do and still store an upload. A thread a connection, no checks.

PUT: `recv_into` and `write`, 1 MiB at a time. POST: a form, taken whole into memory and split, a file a part.
Usage: python floor.py DIRECTORY [--sync]   --sync: one fdatasync a file before the answer
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
from io import FileIO
from pathlib import Path
from uuid import uuid4

STEP_BYTES = 1024 * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Floor:
    def __init__(self, directory: Path, sync: bool) -> None:
        self._directory = directory
        self._sync = sync

    def serve(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            print(f"ready at http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head, body = self._head(connection)
            length = int(re.findall(rb"(?i)\r\ncontent-length: *(\d+)", head)[0])
            if head.startswith(b"PUT"):
                self._store(connection, body, length)
            else:
                boundary = re.findall(rb"boundary=(\S+)", head)[0]
                self._split(self._whole(connection, body, length), boundary)
            connection.sendall(ANSWER)

    def _head(self, connection: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := connection.recv(65536)):
                raise ConnectionError("no request")
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        return head, body

    def _store(self, connection: socket.socket, body: bytes, length: int) -> None:
        buffer = memoryview(bytearray(STEP_BYTES))
        with self._file() as file:
            file.write(body)
            left = length - len(body)
            while left:
                count = connection.recv_into(buffer[:left])
                if not count:
                    raise ConnectionError(f"{left} bytes are missing")
                file.write(buffer[:count])
                left -= count
            self._finish(file)

    def _whole(self, connection: socket.socket, body: bytes, length: int) -> bytes:
        whole = bytearray(length)
        whole[: len(body)] = body
        at = len(body)
        while at < length:
            if not (count := connection.recv_into(memoryview(whole)[at:])):
                raise ConnectionError(f"{length - at} bytes are missing")
            at += count
        return bytes(whole)

    def _split(self, form: bytes, boundary: bytes) -> None:
        for part in form.split(b"--" + boundary)[1:-1]:
            with self._file() as file:
                file.write(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
                self._finish(file)

    def _file(self) -> FileIO:
        return FileIO(self._directory / uuid4().hex, "x")

    def _finish(self, file: FileIO) -> None:
        if self._sync:
            os.fdatasync(file.fileno())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Floor(Path(sys.argv[1]), sync="--sync" in sys.argv[2:]).serve()
