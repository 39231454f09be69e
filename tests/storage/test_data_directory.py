"""The data directory: made, locked, checked, and given back."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from penstock.storage.data_directory import DataDirectory, DataDirectoryBusy, DataDirectoryError
from tests.storage.faulty_kernel import Call, FaultyKernel

HOLD = """
import sys
from pathlib import Path
from penstock.storage.data_directory import DataDirectory, DataDirectoryBusy
try:
    with DataDirectory(Path(sys.argv[1]), ["personal"]):
        print("mine", flush=True)
        sys.stdin.read()
except DataDirectoryBusy as error:
    sys.exit(str(error))
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def hold(path: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLD, str(path)]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_everything_is_made_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data"
    with DataDirectory(path, ["personal", "scenic"]) as directory:
        assert directory.path == path
        assert len(directory.key) == 32
    made = {str(found.relative_to(path)): mode(found) for found in path.rglob("*")}
    files = {"lock": 0o600, "key": 0o600}
    assert made == files | dict.fromkeys(("incoming", "upload", "upload/personal", "upload/scenic"), 0o700)
    assert mode(path) == 0o700


def test_each_name_that_is_made_is_made_durable(tmp_path: Path) -> None:
    """The data directory's own, too, and those of the directories it lies in."""
    kernel, path = FaultyKernel(), tmp_path / "deep" / "data"
    with DataDirectory(path, ["personal"], kernel):
        calls = list(kernel.calls)
    made = [call.path for call in calls if call.name in ("mkdir", "rename")]
    assert str(path) in made
    assert str(path / "key") in made
    for made_at, call in enumerate(calls):
        if call.name in ("mkdir", "rename") and not call.path.endswith(".probe"):
            assert Call("fsync", os.path.dirname(call.path)) in calls[made_at:]


def test_the_key_stays(tmp_path: Path) -> None:
    with DataDirectory(tmp_path, []) as directory:
        key = directory.key
    with DataDirectory(tmp_path, []) as directory:
        assert directory.key == key == (tmp_path / "key").read_bytes()


def test_a_half_written_key_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "key.new").write_bytes(b"x" * 100)
    with DataDirectory(tmp_path, []) as directory:
        assert len(directory.key) == 32


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_broken_key_is_not_replaced(tmp_path: Path, size: int) -> None:
    (tmp_path / "key").write_bytes(b"x" * size)
    with pytest.raises(DataDirectoryError, match="not a key of 32 bytes"):
        DataDirectory(tmp_path, [])
    assert (tmp_path / "key").stat().st_size == size


def test_categories_of_older_settings_stay_reachable(tmp_path: Path) -> None:
    DataDirectory(tmp_path, ["old"]).close()
    (tmp_path / "upload" / ".not-ours").mkdir()
    with DataDirectory(tmp_path, ["new"]) as directory:
        assert set(directory.category_fds) == {"old", "new"}


@pytest.mark.parametrize("category", ["", "..", "a/b", ".hidden", "相"])
def test_a_category_must_be_a_plain_name(tmp_path: Path, category: str) -> None:
    with pytest.raises(DataDirectoryError, match="category"):
        DataDirectory(tmp_path, [category])


def test_a_second_process_is_told_who_has_it(tmp_path: Path) -> None:
    with hold(tmp_path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "mine\n"
        with hold(tmp_path) as second:
            _, message = second.communicate(timeout=20)
        assert second.returncode == 1
        assert str(tmp_path) in message
        assert f"process {first.pid}" in message
        assert "stop that process" in message
        first.communicate(timeout=20)
    assert first.returncode == 0


def test_a_killed_process_leaves_it_free(tmp_path: Path) -> None:
    with hold(tmp_path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "mine\n"
        first.kill()
    with DataDirectory(tmp_path, []):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_closing_gives_all_descriptors_back(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    directory = DataDirectory(tmp_path, ["personal"])
    with pytest.raises(DataDirectoryBusy):
        DataDirectory(tmp_path, ["personal"])
    directory.close()
    directory.close()
    assert os.listdir("/proc/self/fd") == before


def test_a_file_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("not a directory")
    with pytest.raises(DataDirectoryError, match=str(path)):
        DataDirectory(path, [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataDirectoryError, match=f"writable by user id {os.geteuid()}"):
        DataDirectory(tmp_path, [])


def test_a_category_on_another_file_system(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at hand")
    (tmp_path / "upload").mkdir()
    with TemporaryDirectory(dir=memory) as elsewhere:
        (tmp_path / "upload" / "personal").symlink_to(elsewhere)
        with pytest.raises(DataDirectoryError, match="another file system"):
            DataDirectory(tmp_path, ["personal"])
        assert os.listdir(elsewhere) == os.listdir(tmp_path / "incoming") == []
