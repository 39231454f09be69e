"""What lies on the disk, compared with what was sent."""

from __future__ import annotations

from contextlib import suppress

from tests.acceptance.content import file_sha256
from tests.soak.ledger import Entry
from tests.soak.world import World


def compare_stored(world: World, entry: Entry, sha256: str, upload_path: str) -> None:
    with suppress(FileNotFoundError):  # its time was over
        found = file_sha256(world.machine.gateway.published(upload_path))
        entry.compare(sha256, found, "on the disk")
        world.ledger.counts["compared on the disk"] += 1
