"""Every workload of uploads at a tiny size: all rows are there, with what was sent and all metrics."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.contestants import (
    FLOOR,
    FLOOR_SYNCED,
    PENSTOCK,
    PENSTOCK_COMPLETE,
    PENSTOCK_H2C,
    PENSTOCK_SYNCED,
    Contestant,
    Dialect,
)
from bench.growth import GrowthUploads
from bench.measure import Result, measure, name
from bench.npm import NotHere
from bench.peers import Express, TusNode, TusPy
from bench.uploads.chunks import Chunks
from bench.uploads.digest import Digest
from bench.uploads.downloads import Downloads
from bench.uploads.fsync import Fsync
from bench.uploads.http2 import Http2
from bench.uploads.many import Many
from bench.uploads.one import One
from bench.uploads.small import Small
from bench.uploads.startup import Startup
from bench.uploads.syncs import Syncs
from bench.workload import Workload

OURS = (FLOOR, PENSTOCK, PENSTOCK_H2C, FLOOR_SYNCED, PENSTOCK_COMPLETE, PENSTOCK_SYNCED)
CASES: list[tuple[Workload, list[str]]] = [
    (
        One(size=300_000),
        ["floor PUT", "floor-synced PUT"]
        + [f"{ours} {how}" for how in Dialect for ours in ("penstock", "penstock-synced")],
    ),
    (
        Many(uploads=3, size=9000, dialects=(Dialect.TUS,)),
        ["floor PUT", "floor-synced PUT", "penstock tus", "penstock-synced tus"],
    ),
    (
        Small(files=20, size=100),
        ["floor form", "floor-synced form", "penstock form", "penstock-synced form"],
    ),
    (Chunks(size=1000, chunk=300), ["penstock tus", "penstock-synced tus"]),
    (
        Digest(size=100_000),
        [f"{ours} {how}" for ours in ("penstock", "penstock-synced") for how in ("none", "crc32c", "sha256")],
    ),
    (
        Fsync(size=9000),
        ["floor PUT", "floor-synced PUT"]
        + [f"{ours} tus" for ours in ("penstock", "penstock-complete", "penstock-synced")],
    ),
    (Http2(size=100_000), ["penstock-h2c HTTP/1.1", "penstock-h2c HTTP/2"]),
    (Downloads(at_once=2, size=300_000), ["penstock"]),
    (Startup(), ["floor", "penstock"]),
    (
        GrowthUploads(uploads=(1, 3), total=30_000),
        ["penstock tus at 1", "penstock tus at 3"],
    ),
]


def measured(workload: Workload, contestants: Sequence[Contestant], tmp_path: Path) -> Result:
    said: list[str] = []
    if why := workload.impossible():
        pytest.skip(f"NOT tested here: {why}")
    result = measure(workload, contestants, 1, tmp_path / "run", said.append)
    assert [row.failure for row in result.rows if row.failure is not None] == [], said
    wanted = {metric.name for metric in workload.metrics}
    assert all(sample.keys() >= wanted for row in result.rows for sample in row.samples)
    assert all(len(row.samples) == 1 for row in result.rows)
    return result


@pytest.mark.parametrize(("workload", "rows"), CASES, ids=[workload.name for workload, _ in CASES])
def test_every_row_is_measured_and_stores_what_was_sent(
    tmp_path: Path, workload: Workload, rows: list[str]
) -> None:
    assert [name(row) for row in measured(workload, OURS, tmp_path).rows] == rows


def test_syncs_are_counted(tmp_path: Path) -> None:
    result = measured(Syncs(size=9000, files=4, small=100), (FLOOR, FLOOR_SYNCED), tmp_path)
    counted = {name(row): row.samples[0]["fdatasync/file"] for row in result.rows}
    assert counted == {"floor large": 0, "floor-synced large": 1, "floor small": 0, "floor-synced small": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("peer", "workload", "rows"),
    [
        (Express(), One(size=300_000), ["express PUT", "express form"]),
        (Express(), Small(files=20, size=100), ["express form"]),
        (Express(), Downloads(at_once=2, size=300_000), ["express"]),
        (TusNode(), One(size=300_000), ["tus-node tus"]),
        (TusNode(), Chunks(size=1000, chunk=300), ["tus-node tus"]),
        (TusPy(), One(size=300_000), ["tuspyserver tus"]),
        (TusPy(), Chunks(size=1000, chunk=300), ["tuspyserver tus"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_peers_run(
    tmp_path: Path,
    require_program: Callable[[str], str],
    peer: Contestant,
    workload: Workload,
    rows: list[str],
) -> None:
    for program in ("node", "npm"):
        require_program(program)
    try:
        peer.prepare()
    except NotHere as missing:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise
        pytest.skip(f"NOT tested here: {missing}")
    assert [name(row) for row in measured(workload, [peer], tmp_path).rows] == rows
    assert peer.version()
