"""What a process that dies leaves to the next one."""

from __future__ import annotations

from copy import copy, deepcopy

from tests.server.uploads.rig import Rig
from tests.server.uploads.test_machine import copied_store


def killed(rig: Rig) -> Rig:
    """What a kill leaves at this moment; the old process may go on. To be opened."""
    blobs = copy(rig.blobs)
    blobs.gate = None  # the disk goes on
    after = Rig(rig.settings, deepcopy(blobs), rig.store)
    after.store = copied_store(rig)
    after.blobs.open_writers = 0
    for blob in after.blobs.incoming_blobs.values():
        blob.changed_at = 0.0  # old enough to be swept, if nobody knows it
    return after


def without_power(rig: Rig, *, zeros: bool = True, boot_id: str = "boot-2") -> Rig:
    """As `killed`, by a power cut. `zeros`: files keep their lengths where bytes were not synced."""
    after = killed(rig)
    sizes = {key: len(blob.data) for key, blob in after.blobs.incoming_blobs.items()}
    after.blobs.power_cut()
    after.store.power_cut(boot_id)
    for key, size in sizes.items() if zeros else ():
        blob = after.blobs.incoming_blobs[key]
        blob.data += bytes(size - len(blob.data))
    return after
