"""Where a run took place: figures without this are worth nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import msgspec

import penstock

PAGE_REPORTING = Path("/sys/module/page_reporting/parameters")
NEVER_ORDER = 11  # free blocks of so many pages (to the power of two) there are none of


class Machine(msgspec.Struct, frozen=True):
    cores: int
    processor: str
    memory_bytes: int
    kernel: str
    file_system: str
    python: str
    node: str
    penstock: str
    gives_memory_back: bool  # freed pages go to the host, and cost several times as much the next time
    load_average: float  # of the minute before the run: above ~0.2 somebody else was at work


def this_machine(directory: Path) -> Machine:
    """What there is to say about it; `directory` is where the servers store."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=_first(r"model name\s*: (.+)", Path("/proc/cpuinfo")) or platform.machine(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        file_system=_file_system(directory),
        python=platform.python_version(),
        node=_said_by("node", "--version"),
        penstock=f"{penstock.__version__} {_said_by('git', 'describe', '--always', '--dirty')}".strip(),
        gives_memory_back=_gives_memory_back(),
        load_average=os.getloadavg()[0],
    )


def _gives_memory_back() -> bool:
    """Whether free page reporting is on: a virtual machine's kernel then hands freed pages to its host."""
    try:
        order = (PAGE_REPORTING / "page_reporting_order").read_text(encoding="ascii")
    except OSError:
        return False
    return 0 <= int(order) < NEVER_ORDER


def _first(pattern: str, path: Path) -> str:
    match = re.search(pattern, path.read_text(encoding="utf-8"))
    return match[1].strip() if match else ""


def _file_system(directory: Path) -> str:
    """The type of the mount that holds the directory: the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    above = [(len(point), kind) for point, kind in mounts if directory.resolve().is_relative_to(point)]
    return max(above)[1] if above else "unknown"


def _said_by(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
