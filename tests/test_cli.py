"""The command as it is typed: defaults, help, answers, exit codes. The server behind it has its own tests."""

from __future__ import annotations

import socket
import subprocess
import tomllib
from pathlib import Path

import pytest

import penstock
from penstock.server.configuration import FIELDS
from penstock.server.exits import Exit
from tests.running import PATIENCE_S, PENSTOCK

ENVIRON = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


class Penstock:
    """Runs the command in an empty directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PENSTOCK, *args],
            cwd=self.directory,
            env=ENVIRON | environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )


@pytest.fixture
def run(tmp_path: Path) -> Penstock:
    return Penstock(tmp_path)


def test_version(run: Penstock) -> None:
    answer = run("--version")
    assert (answer.returncode, answer.stdout) == (0, f"penstock {penstock.__version__}\n")


def test_help_teaches(run: Penstock) -> None:
    text = run("--help").stdout
    assert "Examples:" in text
    assert "penstock --port 9000" in text
    assert all(f"  {code.value}  {code.meaning}" in text for code in Exit)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_every_setting_is_an_option_under_its_heading(run: Penstock, command: str) -> None:
    text = run(command, "--help").stdout
    for field in FIELDS.values():
        heading, option = text.find(f"{field.heading}:\n"), text.find(f"  {', '.join(field.options)} ")
        assert 0 < heading < option, field.name
    assert "--h2c / --no-h2c" in text


def test_check_shows_the_effective_settings(run: Penstock) -> None:
    (run.directory / "penstock.toml").write_text("port = 1\nmax_retries = 7\n")
    answer = run("check", "--port", "3", "--no-fast-path", PENSTOCK_PORT="2", PENSTOCK_FSYNC="never")
    assert answer.returncode == 0
    shown = tomllib.loads(answer.stdout)
    assert (shown["port"], shown["max_retries"], shown["fsync"], shown["fast_path"]) == (3, 7, "never", False)
    origins = {
        line.split(" =")[0]: line.split("# ")[-1] for line in answer.stdout.splitlines() if " = " in line
    }
    assert origins["port"] == "command line, --port"
    assert origins["max_retries"] == "penstock.toml"
    assert origins["fsync"] == "environment, PENSTOCK_FSYNC"
    assert origins["host"] == "default"


def test_a_duration_has_a_unit_at_its_value_or_in_its_name(run: Penstock) -> None:
    answer = run("check", "--pause-hold", "20s", "--linger-s", "0.5", PENSTOCK_RETENTION_S="2h")
    shown = tomllib.loads(answer.stdout)
    assert (shown["pause_hold_s"], shown["linger_s"], shown["retention_s"]) == (20.0, 0.5, 7200.0)
    assert "command line, --pause-hold-s" in answer.stdout
    text = run("serve", "--help").stdout
    assert "  --pause-hold-s, --pause-hold DURATION" in text
    assert "--max-retries, " not in text


def test_check_takes_another_file(run: Penstock) -> None:
    (run.directory / "other.toml").write_text("port = 1\n")
    assert tomllib.loads(run("check", "--config", "other.toml").stdout)["port"] == 1


@pytest.mark.parametrize("args", [("check",), ("serve",), ()])
def test_wrong_settings_are_one_answer_without_a_traceback(run: Penstock, args: tuple[str, ...]) -> None:
    answer = run(*args, "--port", "x", PENSTOCK_H2C="z")
    assert answer.returncode == Exit.USAGE
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        "penstock: the settings cannot be used.",
        "  h2c (environment, PENSTOCK_H2C): 'z' is not allowed; it must be true or false",
        "  port (command line, --port): 'x' is not allowed; it must be a whole number from 0 to 65535",
    ]


def test_an_unknown_option_names_the_nearest(run: Penstock) -> None:
    answer = run("--prot", "1")
    assert answer.returncode == Exit.USAGE
    assert "--port" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_address_in_use_has_its_exit_code(run: Penstock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = run("--port", str(taken.getsockname()[1]))
    assert answer.returncode == Exit.CANNOT_BIND
    assert "--port" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unusable_data_directory_has_its_exit_code(run: Penstock) -> None:
    (run.directory / "file").touch()
    answer = run("--port", "0", "--data-dir", "file/data")
    assert answer.returncode == Exit.DATA_UNUSABLE
    assert "--data-dir" in answer.stderr
    assert "Traceback" not in answer.stderr
