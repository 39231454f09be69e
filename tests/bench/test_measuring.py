"""What must not be believed is not: refusals, wrong bytes, servers that do not start."""

from __future__ import annotations

import math
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.contestants import Floor
from bench.load import Plan, Request, run
from bench.measure import measure
from bench.processes import Running, StartFailed, running
from bench.uploads.exchange import compare
from bench.uploads.one import One
from bench.uploads.payload import Payload, digests
from bench.workload import Failed


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server for one connection, whose requests end with END. Gives its port and what came."""
    came: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for answer in answers:
                data = b""
                while not data.endswith(b"END"):
                    data += connection.recv(65536)
                came.append(data)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], came
        thread.join()


def plan(port: int, source: Path) -> Plan:
    source.write_bytes(b"0123456789")
    request = Request(b"PUT / HTTP/1.1\r\n\r\n", b"END", str(source), 2, 5)
    return Plan("127.0.0.1", port, [[request]])


def test_a_request_is_its_head_a_stretch_of_the_source_and_its_tail(tmp_path: Path) -> None:
    with answering(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok") as (port, came):
        outcome = run(plan(port, tmp_path / "source"))
    assert outcome.failures == []
    assert outcome.seconds > 0
    assert outcome.received_bytes == 2
    assert came == [b"PUT / HTTP/1.1\r\n\r\n23456END"]


def test_requests_of_a_connection_wait_for_each_others_answers(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    with answering(answer, answer) as (port, came):
        one = plan(port, tmp_path / "source")
        outcome = run(Plan(one.host, port, [one.connections[0] * 2]))
    assert outcome.failures == []
    assert came == [b"PUT / HTTP/1.1\r\n\r\n23456END"] * 2


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"HTTP/1.1 507 Full\r\nContent-Length: 4\r\n\r\nfull", "507 full"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", "ended after 3 of 9 bytes"),
        (b"", "RemoteDisconnected"),
        (b"nonsense\r\n\r\n", "BadStatusLine"),
    ],
)
def test_whatever_is_not_a_whole_good_answer_is_a_failure(
    tmp_path: Path, answer: bytes, failure: str
) -> None:
    with answering(answer) as (port, _):
        outcome = run(plan(port, tmp_path / "source"))
    assert len(outcome.failures) == 1
    assert failure in outcome.failures[0]


def test_nobody_there_is_a_failure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "ConnectionRefusedError" in run(plan(port, tmp_path / "source")).failures[0]


@pytest.mark.parametrize(
    "stored", [{"a": 1}, {"a": 2, "c": 1}, {"a": 1, "b": 1}, {}, {"a": 2, "b": 1, "c": 1}]
)
def test_stored_bytes_that_differ_are_noticed(stored: dict[str, int]) -> None:
    sent = Counter({"a": 2, "b": 1})
    compare(sent, Counter(sent))
    with pytest.raises(Failed, match="stored bytes differ"):
        compare(sent, Counter(stored))


@pytest.mark.parametrize("payload", [Payload(1, 1, 70_000), Payload(5, 1, 9000), Payload(1, 7, 100)])
def test_every_file_of_a_payload_has_bytes_of_its_own(tmp_path: Path, payload: Payload) -> None:
    payload.write(tmp_path / "source")
    found = digests(payload, tmp_path / "source")
    assert found.total() == payload.total_files
    assert set(found.values()) == {1}
    last = payload.body(payload.uploads - 1)
    assert last.offset + last.length == (tmp_path / "source").stat().st_size


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such luck')"]
    with pytest.raises(StartFailed, match="no such luck"), running(command, tmp_path):
        pass


BUSY = """
import subprocess, sys
code = "x = bytearray(40_000_000); sum(range(10**7)); print(flush=True); input()"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print("ready at http://127.0.0.1:1/", flush=True)
child.wait()
"""


def test_cpu_and_memory_are_those_of_the_whole_tree(tmp_path: Path) -> None:
    with running([sys.executable, "-c", BUSY], tmp_path) as server:
        assert server.port == 1
        assert server.cpu_s() > 0.1  # ten million additions are in the child
        assert server.peak_bytes() > 40_000_000
        server.reset_peak()
        assert server.peak_bytes() > 40_000_000  # still resident


def test_nobody_knows_what_a_server_costs_that_is_not_ours() -> None:
    server = Running(None, 80, "10.0.0.7")
    assert all(map(math.isnan, (server.settled_cpu_s(), server.peak_bytes(), server.resident_bytes())))
    server.reset_peak()


class Forgetful(Floor):
    """Answers that all is well, and has nothing to show for it."""

    def stored(self, directory: Path) -> Iterator[Path]:
        return iter(())


def test_who_has_failed_gets_no_figures_and_the_others_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    contestants = [Forgetful("floor-forgetful", sync=False), Floor("floor", sync=False)]
    result = measure(One(size=1000), contestants, 2, tmp_path / "one", said.append)
    assert [(row.variant.contestant, len(row.samples)) for row in result.rows] == [
        ("floor-forgetful", 0),
        ("floor", 2),
    ]
    assert result.rows[0].failure == "stored bytes differ: 1 files are missing, 0 are not what was sent"
    assert any("FAILED" in line for line in said)
