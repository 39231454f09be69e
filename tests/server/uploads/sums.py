"""What must hold of a gateway's running sums, recounted from its files."""

from __future__ import annotations

from penstock.protocol.lifecycle import UNFINISHED, State
from tests.server.uploads.rig import Rig


def assert_nothing_held(rig: Rig) -> None:
    """No append runs: then nothing of one may be left."""
    statistics = rig.gateway.statistics()
    assert (statistics.appends, statistics.buffer_bytes, rig.blobs.open_writers) == (0, 0, 0)
    for session in rig.gateway._registry.sessions.values():
        assert [file.visitors for file in session.files.values() if file.visitors] == []
        assert not session.lock.locked()


def assert_sums(rig: Rig) -> None:
    """Running sums equal a recount."""
    reserved = 0
    in_memory = rig.gateway._registry.sessions
    for session in in_memory.values():
        files, tally = list(session.files.values()), session.tally
        for state in State:
            assert getattr(tally, state.value) == sum(file.row.state is state for file in files), state
        counted = [file for file in files if file.counts_bytes]
        assert tally.known_bytes == sum(file.row.file_size or 0 for file in counted)
        assert tally.received_bytes == sum(file.received for file in counted)
        assert tally.started == sum(file.row.started_at is not None for file in files)
        assert tally.appending == sum(
            file.row.state is State.UPLOADING and file.append is not None for file in files
        )
        reserved += sum(file.reserved_bytes for file in files)
    for row in rig.store._tables.files.values():
        if row.session_id not in in_memory and row.state in UNFINISHED:
            reserved += max((row.file_size or 0) - row.synced, 0)
    assert rig.gateway.statistics().reserved_bytes == reserved
