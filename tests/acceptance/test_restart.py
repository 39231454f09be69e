"""A server that was killed with very many sessions starts again: an older schema, orphans, nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from penstock.protocol.lifecycle import State
from penstock.storage.state.base import FileRow
from penstock.storage.state.schema import MIGRATIONS
from tests.acceptance.api import SESSIONS, Api
from tests.acceptance.gateway import Gateway, running
from tests.acceptance.populated import FILE_BYTES, UNFINISHED_BYTES, Made, content, number_of, populate
from tests.acceptance.sizes import full_or, tell

pytestmark = pytest.mark.acceptance

MANY = full_or(2_000, 100_000)
FINISHING = 20
ORPHANS = full_or(50, 1_000)  # of each kind
LOOKED_AT = 12  # of each state
UNFINISHED = (State.RETRYING, State.UPLOADING, State.PAUSED)


async def test_restart_with_very_many_sessions(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = populate(data, MANY, finishing=FINISHING, orphans=ORPHANS)
    before = first_columns(data / "state.db", made)
    for round_ in ("from the first schema", "after a kill"):
        begun_at = trio.current_time()
        async with running(tmp_path) as gateway:
            tell(f"{MANY} sessions: ready after {trio.current_time() - begun_at:.1f} s ({round_})")
            assert schema_version(data / "state.db") == len(MIGRATIONS)
            assert first_columns(data / "state.db", made) == before
            assert [path for path in made.orphans if path.exists()] == []
            check_bytes(gateway, made)
            await gateway.kill()
    async with running(tmp_path) as gateway:
        await check_answers(gateway, made)


def schema_version(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version


def first_columns(path: Path, made: Made) -> dict[str, list[tuple[Any, ...]]]:
    """What the first schema knew of every session and file but the finishing ones, which go on."""
    finishing = {row.session_id for row in made.files[State.FINISHING]}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        columns = {
            "sessions": "session_id, watch_key, category, created_at, active_at, seq, ended_at, metadata",
            "files": "session_id, file_id, upload_id, file_name, file_size, state, synced, stored_name",
        }
        return {
            table: [
                row
                for row in database.execute(f"SELECT {names} FROM {table} ORDER BY session_id")
                if row[0] not in finishing
            ]
            for table, names in columns.items()
        }


def check_bytes(gateway: Gateway, made: Made) -> None:
    """No file lost its bytes, and what was cut off while it finished is in its place."""
    incoming = {path.name for path in (gateway.data / "incoming").iterdir()}
    assert incoming == {row.blob_key for state in UNFINISHED for row in made.files[state]}
    published = {path.name for path in (gateway.data / "upload" / "personal").iterdir()}
    whole = [*made.files[State.COMPLETED], *made.files[State.FINISHING]]
    assert published == {row.stored_name for row in whole}
    for row in made.files[State.FINISHING]:
        path = gateway.data / "upload" / "personal" / (row.stored_name or "")
        assert path.read_bytes() == content(number_of(row))


async def check_answers(gateway: Gateway, made: Made) -> None:
    """Every kind of file is as its client left it, and can be gone on with."""
    api = Api(gateway)
    for row in (row for state in UNFINISHED for row in made.files[state][-LOOKED_AT:]):
        await go_on(api, row)
    for row in made.files[State.COMPLETED][-LOOKED_AT:]:
        answer = await api.call("GET", f"/upload/personal/{row.stored_name}")
        assert (answer.status, answer.body) == (200, content(number_of(row)))
    for row in made.files[State.FINISHING]:
        assert (await view(api, row))["status"] == "completed"
    for state in (State.CANCELLED, State.FAILED, State.PENDING):
        for row in made.files[state][-LOOKED_AT:]:
            assert (await view(api, row))["uploadedBytes"] == 0


async def view(api: Api, row: FileRow) -> Any:
    return await api.get(f"{SESSIONS}/{row.session_id}/files/{row.file_id}")


async def go_on(api: Api, row: FileRow) -> None:
    path = f"{SESSIONS}/{row.session_id}/files/{row.file_id}"
    assert (await api.call("HEAD", path)).offset == UNFINISHED_BYTES
    if row.state is State.PAUSED:
        assert (await api.command(row.session_id, "upload-resume")).status == 200
    whole = content(number_of(row))
    span = f"bytes {UNFINISHED_BYTES}-{FILE_BYTES - 1}/{FILE_BYTES}"
    answer = await api.call("PUT", path, body=whole[UNFINISHED_BYTES:], headers={"Content-Range": span})
    assert answer.status == 200
    stored = api.gateway.published(answer.json()["uploadPath"])
    assert stored.read_bytes() == whole
