"""`penstock` as it is, which on SIGUSR1 writes what it holds into the file named by SOAK_COUNTS.

The server has no address that tells its tasks and buffers; a signal's handler can look at them without
another socket, task or thread that would be counted, too.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import msgspec
import trio

from penstock.server.cli import main
from penstock.server.uploads.gateway import Gateway

COUNTS = "SOAK_COUNTS"


def count_tasks() -> int:
    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [root]
    count = 0
    while waiting:
        task = waiting.pop()
        count += 1
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count


MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2`, mallinfo(3)."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2.split())


def allocated_bytes() -> int:
    """What the C allocator has given out, its mapped blocks included: not what it keeps for the next time."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc 2.33
    if mallinfo2 is None:
        return 0
    mallinfo2.restype = _MallocInfo
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def write_counts(_number: int, _frame: FrameType | None) -> None:
    gc.collect()
    everything = gc.get_objects()
    (gateway,) = [thing for thing in everything if type(thing) is Gateway]
    counts = {
        "tasks": count_tasks(),
        "objects": len(everything),
        "blocks": sys.getallocatedblocks(),
        "allocated_bytes": allocated_bytes(),
        **msgspec.structs.asdict(gateway.statistics()),
    }
    path = Path(os.environ[COUNTS])
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(counts), encoding="utf-8")
    fresh.replace(path)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, write_counts)
    main(prog_name="penstock")
