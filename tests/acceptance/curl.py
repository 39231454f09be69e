"""curl, the client everybody has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from tests.acceptance.api import Upload

PATIENCE_S = 600  # for a transfer that hangs; nothing is judged by it


class Result(NamedTuple):
    """`status` and `headers` are those of the final answer; 0 if there was none."""

    status: int
    headers: dict[str, str]
    body: bytes
    exit_code: int
    version: str

    @property
    def offset(self) -> int:
        return int(self.headers["upload-offset"])


class Curl:
    def __init__(self, program: str, *options: str) -> None:
        self._command = [program, "--silent", "--show-error", "--max-time", str(PATIENCE_S), *options]

    async def put(
        self, upload: Upload, source: Path, *, bytes_per_s: int | None = None, start: int | None = None
    ) -> Result:
        """`curl -T`; with `start` the rest of the file, which curl names in a `Content-Range`."""
        pace = ["--limit-rate", str(bytes_per_s)] if bytes_per_s else []
        place = ["--continue-at", str(start)] if start else []
        url = upload.api.url(upload.path)
        return await _run([*self._command, *pace, *place, "--include", "--upload-file", str(source), url])


async def _run(command: Sequence[str]) -> Result:
    done = await trio.run_process(list(command), capture_stdout=True, capture_stderr=True, check=False)
    status, version, headers, rest = 0, "", dict[str, str](), done.stdout
    while rest.startswith(b"HTTP/"):  # interim answers come first
        head, _, rest = rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status = first.split()[0], int(first.split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Result(status, headers, rest, done.returncode, version)
