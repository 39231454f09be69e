"""Every live workload at tiny sizes: does it run, and does it notice what is wrong? No figure is judged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench import processes
from bench.contestants import PENSTOCK, Contestant, Elsewhere
from bench.live import WORKLOADS, fanout, paced, watching
from bench.live.client import Client
from bench.live.contestants import FrameWriter, SocketioNode, SocketioPython
from bench.live.fanout import Fanout, GrowthWatchers
from bench.live.idle import GrowthConnections, Idle, Storm, lack_of_files
from bench.live.limits import most_files
from bench.live.paced import FanoutMany
from bench.live.pause import Pause
from bench.live.progress import Progress
from bench.live.sending import sending
from bench.live.stage import PeerStage, PenstockStage
from bench.live.takeover import Takeover
from bench.live.watched import Watched
from bench.live.watching import crowd
from bench.measure import Result, measure
from bench.npm import NotHere
from bench.processes import Running
from bench.sizes import KIB, MIB
from bench.workload import Failed, Workload

# The first three are what peers take part in, in different ways.
TINY: tuple[Workload, ...] = (
    Fanout(watchers=3, events=4),
    FanoutMany(files=2, seconds=1),
    Idle(connections=5),
    Storm(connections=5),
    Watched(size=MIB, watchers=(0, 2)),
    Pause(uploads=2, pauses=1),
    Takeover(tries=1, size=64 * KIB),
    Progress(uploads=2),
    GrowthWatchers(watchers=(2,), deliveries=4),
    GrowthConnections(connections=(2, 4)),
)


def measured(workload: Workload, contestants: list[Contestant], tmp_path: Path) -> Result:
    """One round, in which nobody failed and every metric has its figure."""
    said: list[str] = []
    result = measure(workload, contestants, 1, tmp_path / "run", said.append)
    names = {metric.name for metric in workload.metrics}
    assert [row.failure for row in result.rows if row.failure] == [], said
    assert all({*row.samples[0]} == names for row in result.rows)
    return result


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that only make figures better."""
    monkeypatch.setattr(paced, "QUIET_S", 0.2)
    monkeypatch.setattr(fanout, "LINGER_S", 0.05)
    monkeypatch.setattr(processes, "SETTLE_S", 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("workload", TINY, ids=lambda workload: workload.name)
def test_it_runs(workload: Workload, tmp_path: Path) -> None:
    rows = measured(workload, [PENSTOCK], tmp_path).rows
    assert {row.variant.contestant for row in rows} == {"penstock"}


@pytest.mark.slow
def test_what_peers_emit_is_as_large_as_ours(tmp_path: Path) -> None:
    rows = measured(Fanout(watchers=2, events=10), [PENSTOCK, FrameWriter()], tmp_path).rows
    ours, theirs = (row.samples[0]["event size"] for row in rows)
    assert theirs == pytest.approx(ours, rel=0.02)


def test_all_are_tried_here() -> None:
    assert {type(one) for one in TINY} == {*WORKLOADS}


@pytest.mark.slow
@pytest.mark.parametrize("peer", [SocketioNode(), SocketioPython()], ids=lambda peer: peer.name)
def test_peers_do_what_they_are_measured_for(
    peer: Contestant, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    if isinstance(peer, SocketioNode):
        for program in ("node", "npm"):
            require_program(program)
    try:
        peer.prepare()
    except NotHere as missing:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise
        pytest.skip(f"NOT tested here: {missing}")
    for workload in TINY[:3]:
        (place := tmp_path / workload.name).mkdir()
        assert measured(workload, [peer], place).rows


def test_a_server_that_runs_already_is_stormed_by_its_url(writer: Running, tmp_path: Path) -> None:
    there = Elsewhere("mine", "socketio", f"http://127.0.0.1:{writer.port}/socket.io/")
    (row,) = measured(Storm(connections=3), [there], tmp_path).rows
    assert row.samples[0]["joined"] > 0


# What must not be believed is not


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Running]:
    (place := tmp_path / "writer").mkdir()
    with FrameWriter().running(place) as server:
        yield server


@pytest.mark.parametrize(("events", "failure"), [(2, "2 to 2 events instead of 3"), (4, "4 to 4 events")])
def test_an_event_too_few_or_too_many_is_noticed(
    events: int, failure: str, writer: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "COUNT_S", 0.3)
    with PeerStage(writer) as stage, crowd() as watchers:
        watchers.open(stage, ["s"] * 2)
        watchers.begin_count(3, linger_s=0.2)
        stage.emit("s", events)
        with pytest.raises(Failed, match=failure):
            watchers.counted()


def test_a_server_that_does_not_greet_is_noticed(writer: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "OPEN_S", 0.3)
    with PeerStage(writer) as stage, crowd() as watchers:
        stage.greetings = 2
        with pytest.raises(Failed, match="2 watchers have not joined"):
            watchers.open(stage, ["s"] * 2)


def test_an_upload_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    with PENSTOCK.running(tmp_path) as server, PenstockStage(server) as stage, ExitStack() as stack:
        _, targets = stage.uploads(1)
        uploads = stack.enter_context(sending(server, targets, 2 * KIB, chunk_bytes=KIB))
        uploads.go_on()
        while "connection-ended" not in (tmp_path / "log").read_text(encoding="utf-8"):
            pass  # what comes behind the announced end is refused
        with pytest.raises(Failed, match=r"ended by themselves: HTTP/1\.1 200"):
            uploads.end()


def test_a_command_that_is_refused_is_noticed(tmp_path: Path) -> None:
    with PENSTOCK.running(tmp_path) as server, PenstockStage(server) as stage:
        with pytest.raises(Failed, match="400"):
            stage.emit("nobody", 2)
        with Client(stage) as client, pytest.raises(Failed, match="INVALID_SESSION"):
            client.ask("upload-pause", {"sessionId": "nobody"})


def test_too_few_files_is_a_reason_not_to_measure() -> None:
    assert lack_of_files(10) == ""
    assert "are allowed (ulimit -Hn)" in lack_of_files(most_files())
