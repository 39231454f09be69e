"""docs/cli.md does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.server.client.commands import COMMANDS
from penstock.server.exits import Exit
from tests.client.rig import Client
from tests.running import PATIENCE_S

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def test_its_examples_run(client: Client, require_program: Callable[[str], str]) -> None:
    for program in ("bash", "curl", "jq"):
        require_program(program)
    tools = client.home / "bin"
    tools.mkdir()
    penstock = tools / "penstock"
    penstock.write_text(
        f"#!{sys.executable} -P\nfrom penstock.server.cli import main\nmain(prog_name='penstock')\n"
    )
    penstock.chmod(0o755)
    script = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
    environ = client.environ | {"TMPDIR": str(client.home)}
    environ["PATH"] = f"{tools}:{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exit code 7" in done.stdout


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_it_knows_every_command(command: str) -> None:
    assert f"`penstock {command}" in PAGE or f"`{command} SESSION" in PAGE or f"`{command}`" in PAGE


@pytest.mark.parametrize("code", [0, 1, 2, 6, 7, 8, 130])
def test_it_knows_every_exit_code(code: int) -> None:
    assert Exit(code).meaning
    assert f"\n| {code} | " in PAGE
