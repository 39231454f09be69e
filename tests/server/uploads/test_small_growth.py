"""What a small file costs does not depend on how many there are already: counted, never timed."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import pytest
import trio.testing

from penstock.protocol.commands import CreateSession, FileSpec
from penstock.server.settings import Settings
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.small import Intake, Stored
from penstock.storage.state.sqlite import SqliteState
from tests.fakes.blobs import FakeBlobs
from tests.server.uploads.rig import SERVER_KEY

BATCH, BATCHES = 64, 24
MOST_PAGES_A_FILE = 1.5  # with ids in no order it is 4, and ever more until then


@contextmanager
def counting_calls() -> Iterator[list[int]]:
    """How many Python functions are called in this thread; those of the tests do not count."""
    calls = [0]

    def note(frame: FrameType, event: str, _arg: object) -> None:
        calls[0] += event == "call" and "/tests/" not in frame.f_code.co_filename

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def pages_written(database: Path) -> int:
    """In the log since this was asked last: what is in the database is overwritten by the next commit."""
    with closing(sqlite3.connect(database)) as db:
        busy, pages, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert (busy, copied) == (0, pages)
    return int(pages)


async def store_some(intake: Intake, first: int) -> None:
    for number in range(first, first + BATCH):
        spec = FileSpec(file_name=f"{number}.bin")
        assert await intake.hold("file", spec, [memoryview(b"x")], 1)
    assert all(isinstance(one, Stored) for one in await intake.store())


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def test_every_batch_costs_the_same(database: Path, mock_clock: trio.testing.MockClock) -> None:
    pages, calls = [], []
    async with await SqliteState.open(database) as state:
        gateway = await Gateway.open(
            FakeBlobs(), state, Settings(), server_key=SERVER_KEY, boot_id=state.boot_id
        )
        for _ in range(2):  # the second session finds the tables full
            made = await gateway.create_session(ANYBODY, CreateSession())
            async with gateway.adding(ANYBODY, made["sessionId"]) as intake:
                for number in range(BATCHES):
                    pages_written(database)
                    mock_clock.jump(0.001 * BATCH)  # ids begin with the time
                    with counting_calls() as counted:
                        await store_some(intake, number * BATCH)
                    calls.append(counted[0])
                    pages.append(pages_written(database))
    assert max(pages) < BATCH * MOST_PAGES_A_FILE, pages
    assert max(calls[1:]) < min(calls[1:]) * 1.1, calls
