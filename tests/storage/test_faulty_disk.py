"""What only the kernel can do to us: a full file system, one without links, a killed process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import trio

from penstock.storage.state.sqlite import SqliteState

ROOT = Path(__file__).parents[2]
MODULE = (sys.executable, "-m", "tests.storage.faulty_disk")


def output(*command: str) -> list[str]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("what", "said"),
    [("fill", ["full True", "goes on True"]), ("copy", ["full True", "copied True"])],
)
def test_a_full_file_system(
    tmp_path: Path, require_program: Callable[[str], str], what: str, said: list[str]
) -> None:
    unshare = require_program("unshare")
    own_mounts = (unshare, "--user", "--map-root-user", "--mount", "sh", "-c")
    if subprocess.run([*own_mounts, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no mount namespace")
    script = 'mount -t tmpfs -o size=4m none "$1" && shift && exec "$@"'
    assert output(*own_mounts, script, "sh", str(tmp_path), *MODULE, what, str(tmp_path)) == said


@pytest.mark.parametrize(
    "fault", ["error=EINTR:when=1..3", "error=EXDEV", "error=ENOSYS", "retval=0"], ids=lambda fault: fault
)
def test_a_kernel_that_copies_badly(
    tmp_path: Path, require_program: Callable[[str], str], fault: str
) -> None:
    strace = require_program("strace")
    faults = ("-f", "-qq", "-o", "/dev/null", "-e", f"inject=copy_file_range:{fault}")
    assert output(strace, *faults, *MODULE, "copy", str(tmp_path)) == ["all True", "copied True"]


def test_the_kernel_is_asked_to_share_one_block(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """As strace understands the call: most file systems would refuse a wrong one just as they refuse this."""
    log, block = tmp_path / "log", os.statvfs(tmp_path).f_bsize
    output(
        require_program("strace"), "-f", "-o", str(log), "-e", "trace=ioctl", *MODULE, "copy", str(tmp_path)
    )
    (asked,) = re.findall(r"FICLONERANGE, \{src_fd=\d+, (.*?)\}\)", log.read_text())
    assert asked == f"src_offset={block}, src_length={block}, dest_offset=0"


def test_a_file_system_without_hard_links(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    strace = require_program("strace")
    faults = ("-f", "-qq", "-o", "/dev/null", "-e", "inject=linkat:error=EPERM")
    assert output(strace, *faults, *MODULE, "publish", str(tmp_path)) == ["BlobFault"]
    assert (tmp_path / "upload" / "personal" / "name").read_bytes() == b"aa"
    assert (tmp_path / "incoming" / "bb").read_bytes() == b"bb"


def test_the_order_of_syncs_and_names(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """The first name is durable before bytes come, they before the new name, that before the old one goes."""
    log, data = tmp_path / "log", tmp_path / "data"
    calls = "trace=fsync,fdatasync,linkat,unlinkat"
    output(require_program("strace"), "-f", "-y", "-o", str(log), "-e", calls, *MODULE, "publish", str(data))
    seen = re.findall(r"(\w+)\((?:\d+|AT_FDCWD)<([^>]+)>(?:, \"(\w+)\")?", log.read_text())
    steps = [(call, path.removeprefix(f"{data}/"), name) for call, path, name in seen]
    assert steps[steps.index(("fdatasync", "incoming/aa", "")) - 1 :][:5] == [
        ("fsync", "incoming", ""),
        ("fdatasync", "incoming/aa", ""),
        ("linkat", "incoming", "aa"),
        ("fsync", "upload/personal", ""),
        ("unlinkat", "incoming", "aa"),
    ]


def last_acknowledged(path: Path) -> int:
    """Let a process commit for a while, kill it, and tell the last commit it called done."""
    with subprocess.Popen(
        [*MODULE, "commit", str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = list(islice(process.stdout, 150))
        process.kill()
        rest = process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return int((first + rest)[-1])


@pytest.mark.parametrize("attempt", range(3))
async def test_acknowledged_commits_survive_a_kill(tmp_path: Path, attempt: int) -> None:
    acknowledged = await trio.to_thread.run_sync(last_acknowledged, tmp_path)
    async with await SqliteState.open(tmp_path / "state.db") as state:
        kept = [seq for seq, _ in await state.facts("s1", after=0, limit=1 << 30)]
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) in (acknowledged, acknowledged + 1)


def test_a_log_that_cannot_be_synced(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """The failed commit is refused, and so is every later one: what the kernel dropped cannot be known."""
    strace = require_program("strace")
    faults = ("-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=20")
    said = output(strace, *faults, *MODULE, "commit", str(tmp_path))
    assert said[-2:] == ["StoreError", "StoreError"]
    assert len(said) > 5
