"""What must hold of upload resources after every step, and when all have gone home."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import lru_cache

import trio
import trio.testing
from msgspec.structs import replace

from penstock.protocol.errors import GatewayError
from penstock.protocol.events import Event, UploadCompleted, unpack
from penstock.protocol.lifecycle import State
from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.offsets import Manner
from penstock.server.uploads.session import LiveSession
from penstock.storage.state.base import FileRow
from tests.server.uploads.resource_model import Upload
from tests.server.uploads.resource_steps import Clients
from tests.server.uploads.resource_world import World
from tests.server.uploads.sums import assert_nothing_held, assert_sums


async def check(world: World) -> None:
    """After every step, whatever is still going on."""
    world.note_sizes()
    for file in world.files():
        check_file(world, file)
    assert_sums(world.rig)
    check_facts(world)
    await check_snapshot(world)


def check_file(world: World, file: LiveFile) -> None:
    row = file.row
    assert row.file_size is None or file.durable <= file.received <= row.file_size
    assert file.sample is None or not row.is_partial
    if row.state is State.FAILED and row.error_code == "SERVER_ERROR":
        assert world.lost, row.error_message
    if row.promise != "append" and not file.recovered:
        return  # lists may show what the row says
    if row.state is State.CANCELLED or (row.state is State.FAILED and not row.resumable_after_failure):
        return  # nobody may go on from there
    if row.state is State.COMPLETED:
        check_finished(world, row)
    elif row.state is not State.FINISHING:
        check_stored(world, file)


def check_finished(world: World, row: FileRow) -> None:
    if row.removed or (world.lost and row.promise == "never"):
        return
    assert row.stored_name is not None
    stored = world.rig.blobs.published_bytes("personal", row.stored_name)
    assert stored == expected_bytes(world, row)[: row.file_size]
    assert len(stored) == row.file_size


def check_stored(world: World, file: LiveFile) -> None:
    row, upload = file.row, world.uploads.get(file.row.upload_id)
    blob = world.rig.blobs.incoming_blobs.get(row.blob_key)
    stored = bytes(blob.data[: file.durable]) if blob else b""
    assert len(stored) == file.durable
    assert stored == expected_bytes(world, row)[: file.durable]
    assert row.is_final or file.durable <= (upload.sent if upload else 0), "more is promised than was sent"
    assert blob is None or row.promise != "append" or blob.durable >= row.synced


def expected_bytes(world: World, row: FileRow) -> bytes:
    if row.is_final:
        return world.finals.expected(row.upload_concat or "")
    upload = world.uploads.get(row.upload_id)
    return upload.bytes if upload is not None else b""


def check_facts(world: World) -> None:
    """Nobody is told of a partial, and nobody twice that a file is complete."""
    tables = world.rig.store._tables
    hidden = {session_id for session_id, row in tables.sessions.items() if row.hidden}
    for session_id, facts in tables.facts.items():
        events = [event for payload in facts.values() for event in events_of(payload)]
        assert not (events and session_id in hidden)
        done = Counter((one.file_id, one.attempt) for one in events if isinstance(one, UploadCompleted))
        assert done.most_common(1) == [] or done.most_common(1)[0][1] == 1
        assert not any(str(getattr(event, "file_id", "")).startswith("+") for event in events)


@lru_cache(maxsize=10_000)
def events_of(payload: bytes) -> tuple[Event, ...]:
    return tuple(unpack(payload))


async def check_snapshot(world: World) -> None:
    session = world.rig.gateway._registry.sessions.get(world.session_id)
    if session is not None and not session.gone:
        shown = (await world.rig.gateway.snapshot(ANYBODY, world.session_id)).files
        assert not any(view.file_id.startswith("+") for view in shown)
        for view in shown:
            assert view.file_size in (None, 0) or view.uploaded_bytes <= view.file_size


def check_rest(world: World) -> None:
    """When nothing moves: what has ended holds nothing, and locks are free."""
    rig = world.rig
    for session in rig.gateway._registry.sessions.values():
        assert not session.lock.locked()
        for file in session.all_files:
            if file.row.state is State.CANCELLED:
                assert (file.visitors, file.reserved_bytes) == ([], 0)
                assert file.row.blob_key not in rig.blobs.incoming_blobs
            if file.row.removed and file.row.stored_name is not None:
                assert ("personal", file.row.stored_name) not in rig.blobs.published_blobs
    stored = set(rig.store._tables.sessions)
    assert rig.gateway._registry.sessions.keys() <= stored, "a refused creation left something in memory"


Picture = dict[str, object]


def picture(world: World) -> Picture | None:
    """All that a refused input must leave as it is; None if there is no telling."""
    rig = world.rig
    if not all(file.recovered or file.ended for file in world.files()):
        return None  # the first touch after a restart changes things
    taken = sum(one.body.taken for one in world.requests if one.body is not None) + world.taken_bytes
    return {
        "taken": taken,
        "rows": (sorted(rig.store._tables.sessions), sorted(rig.store._tables.files)),
        **{key: _seen(world, session) for key, session in rig.gateway._registry.sessions.items()},
    }


def _seen(world: World, session: LiveSession) -> object:
    blobs = world.rig.blobs.incoming_blobs
    files = [
        (
            replace(file.row, fence=0),
            file.received,
            file.durable,
            file.append and file.append.paused,
            bytes(blobs[file.row.blob_key].data) if file.row.blob_key in blobs else b"",
        )
        for file in session.all_files
    ]
    return replace(session.row, active_at=0.0), files


def assert_same(before: Picture, after: Picture | None) -> None:
    """But for sessions that were taken into memory, or have left it."""
    after = after or {}
    for key in before.keys() & after.keys():
        assert after[key] == before[key], key


# The end


async def the_end(world: Clients) -> None:
    """Everybody goes home: nothing is held any more, what can be completed is, and at last all is gone."""
    for request in world.requests:
        if request.body is not None:
            request.body.break_off()
    await world.full(False)
    await world.slow(False)
    await world.fault(False)
    await trio.testing.wait_all_tasks_blocked()
    for session_id in list(world.rig.store._tables.sessions):
        with suppress(GatewayError):
            await world.rig.command("upload-resume", session_id)
    await trio.sleep(1)
    await check(world)
    assert_nothing_held(world.rig)
    for upload in list(world.uploads.values()):
        await complete(world, upload)
        await check(world)
    check_rest(world)
    assert_nothing_held(world.rig)
    await forget(world)


async def complete(world: Clients, upload: Upload) -> None:
    """Go on as its client would."""
    file = await world.file(upload)
    if file is None:
        return
    if file.row.state is State.PAUSED:
        await world.rig.command("upload-resume", upload.place.session_id)
    whole = file.whole
    if whole is not None and whole.ended:
        return  # its file has ended, so it is of no use
    try:
        report = await world.rig.head(upload.place, Manner.FORCE)
    except GatewayError:
        assert file.row.removed or file.row.state in (State.CANCELLED, State.FAILED)
        return
    if report.complete or file.row.is_final:
        return
    await finish(world, upload, file)


async def finish(world: Clients, upload: Upload, file: LiveFile) -> None:
    size = file.row.file_size
    upload.length = max(file.durable, upload.length) if size is None else size
    await world.patch(list(world.uploads).index(upload.place.upload_id), "exact", "length", "tus")
    sender = world.sender(-1)
    await trio.testing.wait_all_tasks_blocked()
    if sender is not None:
        sender.feed(upload.length)
        sender.end()
    await trio.testing.wait_all_tasks_blocked()
    error = world.requests[-1].error
    assert error is None, error
    assert (await world.rig.head(upload.place, Manner.POLITE)).complete


async def forget(world: World) -> None:
    """Time passes: unfinished uploads expire, ended ones are forgotten."""
    world.rig.blobs.now = world.rig.gateway.clock.now()
    await trio.sleep(30_000)
    assert world.rig.store._tables.files == {}
    assert world.rig.blobs.incoming_blobs == {}
    assert world.rig.gateway.statistics().reserved_bytes == 0
    assert world.rig.gateway.statistics().sessions == 0
