"""What must hold of a gateway's running sums, recounted from its files."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.protocol.lifecycle import UNFINISHED, State
from penstock.server.uploads.file import LiveFile
from tests.server.uploads.rig import Rig


def assert_nothing_held(rig: Rig) -> None:
    """No append runs: then nothing of one may be left."""
    statistics = rig.gateway.statistics()
    assert (statistics.appends, statistics.buffer_bytes, rig.blobs.open_writers) == (0, 0, 0)
    for session in rig.gateway._registry.sessions.values():
        assert [file.visitors for file in session.all_files if file.visitors] == []
        assert not session.lock.locked()


def assert_sums(rig: Rig) -> None:
    """Running sums equal a recount."""
    reserved = 0
    in_memory = rig.gateway._registry.sessions
    for session in in_memory.values():
        files, tally = list(session.files.values()), session.tally
        partials = list(session.partials.values())
        for state in State:
            assert getattr(tally, state.value) == sum(file.row.state is state for file in files), state
        counted = [file for file in files if file.counts_bytes]
        assert tally.known_bytes == sum(file.row.file_size or 0 for file in counted)
        assert tally.received_bytes == sum(arrived_bytes(file, partials) for file in counted)
        assert tally.started == sum(file.row.started_at is not None for file in files)
        assert tally.appending == sum(
            file.row.state is State.UPLOADING and is_appended(file, partials) for file in files
        )
        reserved += sum(bytes_to_come(file, partials) for file in [*files, *partials])
    for row in rig.store._tables.files.values():
        if row.session_id not in in_memory and row.state in UNFINISHED:
            reserved += max((row.file_size or 0) - row.synced, 0)
    assert rig.gateway.statistics().reserved_bytes == reserved


def parts_of(file: LiveFile, partials: Sequence[LiveFile]) -> list[LiveFile]:
    return [one for one in partials if one.row.part_of == file.file_id and one is not file]


def arrived_bytes(file: LiveFile, partials: Sequence[LiveFile]) -> int:
    """Bytes that came as themselves or in partials, whichever is more; never more than there are."""
    in_parts = sum(one.received for one in parts_of(file, partials) if one.row.state in UNFINISHED)
    size = in_parts if file.row.file_size is None else file.row.file_size
    return max(file.received, min(in_parts, size))


def is_appended(file: LiveFile, partials: Sequence[LiveFile]) -> bool:
    return any(one.append is not None for one in [file, *parts_of(file, partials)])


def bytes_to_come(file: LiveFile, partials: Sequence[LiveFile]) -> int:
    """What is reserved for it: partials reserve for themselves, their file only what they leave over."""
    if file.row.file_size is None or file.row.state not in UNFINISHED:
        return 0
    parts = [one for one in parts_of(file, partials) if one.row.state in UNFINISHED]
    in_parts = sum(one.received if one.row.file_size is None else one.row.file_size for one in parts)
    return max(file.row.file_size - max(file.received, in_parts), 0)
