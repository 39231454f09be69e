"""The server process: ready when it says so, one per data directory, and gone when it is asked to go."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from penstock.server.endpoints import App, not_found
from penstock.server.exits import Exit
from penstock.server.main import _serve
from penstock.server.realtime.socketio.server import engine_server
from penstock.server.settings import Settings
from tests.running import PATIENCE_S, PENSTOCK, Server, serving
from tests.server.edge.harness import until
from tests.server.realtime.engineio.driver import Driver
from tests.server.realtime.engineio.rig import ECHO, Made, Silent

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connected(server: Server) -> socket.socket:
    url = urlsplit(server.url)
    assert url.hostname
    assert url.port
    return socket.create_connection((url.hostname, url.port), timeout=PATIENCE_S)


def test_ready_means_ready(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server, connected(server) as client:
        client.sendall(REQUEST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_though_peers_stall(tmp_path: Path, number: signal.Signals) -> None:
    with serving(cwd=tmp_path) as server, connected(server) as idle, connected(server) as stalled:
        idle.sendall(REQUEST)
        assert idle.recv(65536)
        stalled.sendall(REQUEST[:-2])
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE_S) == Exit.OK
        assert idle.recv(1) == b""


def test_for_protocol_tests_it_serves_no_uploads(tmp_path: Path) -> None:
    options = ("--conformance", "--ping-interval", "300ms", "--ping-timeout", "200ms")
    with serving(PENSTOCK, *options, cwd=tmp_path) as server, connected(server) as client:
        for path, status, told in [
            (
                "/engine.io/?EIO=4&transport=polling",
                200,
                b'"pingInterval":300,"pingTimeout":200,"maxPayload":1000000',
            ),
            ("/socket.io/?EIO=4&transport=polling", 200, b'"upgrades":["websocket"]'),
            ("/healthz", 404, b"there is nothing at this address"),
        ]:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = client.recv(65536)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert told in answer
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == Exit.OK
    assert list(tmp_path.iterdir()) == []


def test_for_protocol_tests_only_the_default_of_a_message_is_another(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text("max_message_bytes = 5000\n")
    with serving(PENSTOCK, "--conformance", cwd=tmp_path) as server, connected(server) as client:
        client.sendall(b"GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b'"maxPayload":5000}' in client.recv(65536)


class Polite(Silent):
    """Has last words."""

    def going_away(self) -> None:
        self.say("goodbye")


async def test_a_disk_that_hangs_keeps_nobody_from_being_told() -> None:
    settings = Settings(port=0, drain_timeout_s=0.5)
    engine = engine_server(Made(Polite), settings)
    driver = Driver(engine)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        serve = partial(_serve, settings, App(not_found, {ECHO: engine}), stop, "a test")
        nursery.start_soon(partial(serve, drain=trio.sleep_forever))
        await until(lambda: engine._nursery)
        sid = await driver.polling()
        stop.set()
        assert (await driver.get(sid)).body == "4goodbye"


def asked(server: Server, method: str, target: str, body: str = "") -> bytes:
    """The answer to a request with a connection of its own."""
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    with connected(server) as client, client.makefile("rb") as answer:
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        return answer.read()


def test_who_was_between_two_polls_is_told_as_well(tmp_path: Path) -> None:
    """Browsers and Node poll anew each time, some on a new connection."""
    with serving(cwd=tmp_path) as server:
        polling = "/socket.io/?EIO=4&transport=polling"
        sid = asked(server, "GET", polling).partition(b'"sid":"')[2].partition(b'"')[0].decode()
        asked(server, "POST", f"{polling}&sid={sid}", "40")
        assert b'"connected"' in asked(server, "GET", f"{polling}&sid={sid}")
        server.process.send_signal(signal.SIGTERM)
        while b"draining" not in asked(server, "GET", "/readyz"):
            pass
        assert b'"reconnecting"' in asked(server, "GET", f"{polling}&sid={sid}")
        assert server.process.wait(PATIENCE_S) == Exit.OK


def test_a_data_directory_serves_one_process(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        second = subprocess.run(
            [*PENSTOCK, "--port", "0"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert second.returncode == Exit.DATA_BUSY
        assert f"in use by process {server.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
    with serving(cwd=tmp_path):
        pass


def test_a_broken_database_has_its_exit_code(tmp_path: Path) -> None:
    with serving(cwd=tmp_path):
        pass
    (tmp_path / "data" / "state.db").write_bytes(b"nonsense" * 100)
    ended = subprocess.run(
        [*PENSTOCK, "--port", "0"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == Exit.DATA_UNUSABLE
    assert "state.db" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_database_that_cannot_be_closed_is_told_in_a_sentence(tmp_path: Path) -> None:
    """Somebody holds it: what was promised is committed, but the end is not marked as a clean one."""
    log = tmp_path / "log"
    command = ("/bin/sh", "-c", f'exec "$0" "$@" 2>{log}', *PENSTOCK)
    with serving(command, cwd=tmp_path) as server:
        with closing(sqlite3.connect(tmp_path / "data" / "state.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            server.process.terminate()
            assert server.process.wait(PATIENCE_S) == Exit.DATA_UNUSABLE
    assert "database is locked" in log.read_text().splitlines()[-1]
    assert "Traceback" not in log.read_text()
