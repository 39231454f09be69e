"""Storage that is wrong on purpose. A harness that lets one of these pass is blind."""

from __future__ import annotations

import os
from collections.abc import Sequence

from msgspec.structs import replace

from penstock.storage.kernel import Kernel
from penstock.storage.state.base import Change, SaveFile
from penstock.storage.state.sqlite import SqliteState
from tests.powercut.images import Variant


class NoDataSync(Kernel):
    """Says that bytes are durable, and leaves them to the page cache."""

    def fdatasync(self, fd: int) -> None:
        pass


class NoNameSync(Kernel):
    """Leaves the names of files to the page cache."""

    def fsync(self, fd: int) -> None:
        pass


class LateDataSync(Kernel):
    """Syncs bytes when their file is closed: so the commit that promises them comes first."""

    def __init__(self) -> None:
        self._late: set[int] = set()

    def fdatasync(self, fd: int) -> None:
        self._late.add(fd)

    def close(self, fd: int) -> None:
        if fd in self._late:
            self._late.remove(fd)
            super().fdatasync(fd)
        super().close(fd)


class MovesBeforeSync(Kernel):
    """The old name of a published file goes before its new one is durable."""

    def link(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        super().link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        os.unlink(source, dir_fd=src_dir_fd)
        os.fsync(src_dir_fd)


class NoCut(Kernel):
    """Files never become shorter."""

    def ftruncate(self, fd: int, length: int) -> None:
        if length >= os.fstat(fd).st_size:
            super().ftruncate(fd, length)


class SoftCommits(SqliteState):
    """No commit waits for the disk."""

    async def commit(self, changes: Sequence[Change], *, hard: bool) -> None:
        await super().commit(changes, hard=False)


class NoFloor(SqliteState):
    """Forgets where the verified bytes end."""

    async def commit(self, changes: Sequence[Change], *, hard: bool) -> None:
        await super().commit([_without_floor(change) for change in changes], hard=hard)


def _without_floor(change: Change) -> Change:
    return SaveFile(replace(change.row, floor=None)) if isinstance(change, SaveFile) else change


KERNELS: dict[str, type[Kernel]] = {
    "no-data-sync": NoDataSync,
    "no-name-sync": NoNameSync,
    "late-data-sync": LateDataSync,
    "moves-before-sync": MovesBeforeSync,
    "no-cut": NoCut,
}
STATES: dict[str, type[SqliteState]] = {"soft-commits": SoftCommits, "no-floor": NoFloor}
# With what is sought what each of them loses: at every moment of the recording.
SHOWN_BY = {
    "no-data-sync": Variant.NOTHING,
    "no-name-sync": Variant.NAMELESS,
    "late-data-sync": Variant.NOTHING,
    "moves-before-sync": Variant.NAMELESS,
    "no-cut": Variant.KILLED,  # after a power cut only what the rows say counts
    "soft-commits": Variant.NOTHING,
    "no-floor": Variant.KILLED,
}
