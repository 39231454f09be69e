"""What is remembered of sessions, and found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.server.client.errors import ClientError
from penstock.server.client.records import FORGOTTEN_S, Record, RecordedFile, Records


def record(session_id: str, created_at: float = 0.0) -> Record:
    file = RecordedFile(file_id="1", name="a", path="/tmp/caf\udce9", size=None, mtime_ns=2**62)
    return Record(
        session_id=session_id,
        watch_key="w",
        server="http://x",
        category=None,
        created_at=created_at,
        files=[file],
    )


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records.of({"XDG_STATE_HOME": str(tmp_path)})


def test_it_comes_back_as_it_was_with_any_path(records: Records) -> None:
    records.save(record("abcd-1"))
    assert records.load("abcd-1") == record("abcd-1")
    assert records.load("abcd-2") is None


def test_the_newest_is_first_and_forgotten_is_forgotten(records: Records) -> None:
    for number in (1, 3, 2):
        records.save(record(f"abcd-{number}", number))
    records.forget("abcd-2")
    records.forget("abcd-2")
    assert [one.session_id for one in records.all()] == ["abcd-3", "abcd-1"]


def test_the_beginning_of_an_id_is_enough_where_it_is_clear(records: Records) -> None:
    for session_id in ("abcd-11", "abcd-22"):
        records.save(record(session_id))
    assert records.find("ABCD-1") == record("abcd-11")
    assert records.find("abc") is None
    assert records.find("dcba") is None
    assert records.find("../../etc") is None
    with pytest.raises(ClientError, match="several"):
        records.find("abcd")


def test_what_is_old_goes(records: Records, tmp_path: Path) -> None:
    records.save(record("old-1"))
    path = tmp_path / "penstock" / "sessions" / "old-1.json"
    os.utime(path, (path.stat().st_mtime - FORGOTTEN_S - 60,) * 2)
    records.save(record("new-1"))
    assert [one.session_id for one in records.all()] == ["new-1"]


def test_a_spoilt_or_foreign_record_is_none(records: Records, tmp_path: Path) -> None:
    records.save(record("abcd-1"))
    path = tmp_path / "penstock" / "sessions" / "abcd-1.json"
    path.write_text('{"version": 2}')
    assert records.all() == []
    path.write_text("{")
    assert records.find("abcd-1") is None


def test_a_directory_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "penstock").touch()
    with pytest.raises(ClientError) as caught:
        Records.of({"XDG_STATE_HOME": str(tmp_path)}).save(record("abcd-1"))
    assert "XDG_STATE_HOME" in caught.value.advice
