"""Forms sent by curl to a gateway of its own, and what thousands of parts cost it in memory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.running import PATIENCE_S, Server, serving
from tests.server.http.forms import FORM, file, form

MAX_MEMORY_KIB = 180 * 1024


def peak_kib(server: Server) -> int:
    """The most memory the process has ever had."""
    status = Path(f"/proc/{server.process.pid}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def post(server: Server, body: bytes) -> Any:
    """The answer to a form, sent as fast as the server takes it."""
    where = urlsplit(server.url)
    head = f"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['Content-Type']}\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((where.hostname, where.port), PATIENCE_S) as peer:
        peer.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: peer.recv(1 << 20), b""))
    lines, _, content = answer.partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 200 ")
    return json.loads(content)


def test_curl_sends_a_form(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    curl = require_program("curl")
    contents = {
        "a.txt": b"",
        "b.bin": os.urandom(3_000_000),
        '文 "c".txt': b"small",
        "d;e=f.txt": b"x" * 70_000,
    }
    (tmp_path / "files").mkdir()
    for name, content in contents.items():
        (tmp_path / "files" / name).write_bytes(content)
    fields = ["-F", "category=scenic", "-F", "note=from curl"]
    for name in contents:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        fields += ["-F", f'file=@"{escaped}"']
    with serving(cwd=tmp_path) as server:
        command = [curl, "-sf", *fields, f"{server.url}api/upload"]
        done = subprocess.run(
            command, cwd=tmp_path / "files", capture_output=True, check=True, timeout=PATIENCE_S
        )
        results = json.loads(done.stdout)["results"]
        assert [result["fileName"] for result in results] == list(contents)
        for result in results:
            got = [curl, "-sf", server.url.rstrip("/") + result["uploadPath"]]
            stored = subprocess.run(got, capture_output=True, check=True, timeout=PATIENCE_S).stdout
            assert stored == contents[result["fileName"]]
        assert {path.parent.name for path in (tmp_path / "data" / "upload").rglob("*") if path.is_file()} == {
            "scenic"
        }


@pytest.mark.slow
def test_thousands_of_parts_in_bounded_memory(tmp_path: Path) -> None:
    content = os.urandom(4096)
    with serving(cwd=tmp_path) as server:
        answer = post(server, form(*(file("f", content, f"{number}.jpg") for number in range(2_000))))
        assert answer["overallStatus"] == "completed"
        assert sum(result["ok"] for result in answer["results"]) == 2_000
        assert peak_kib(server) < MAX_MEMORY_KIB
    stored = list((tmp_path / "data" / "upload" / "personal").iterdir())
    assert len(stored) == 2_000
    assert all(path.read_bytes() == content for path in stored)
    assert not list((tmp_path / "data" / "incoming").iterdir())


@pytest.mark.slow
def test_fifty_uploads_at_once_in_bounded_memory(tmp_path: Path) -> None:
    body = form(file("f", bytes(5_000_000)))
    with serving(cwd=tmp_path) as server:
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: post(server, body), range(50)))
        assert [answer["overallStatus"] for answer in answers] == ["completed"] * 50
        assert peak_kib(server) < MAX_MEMORY_KIB
