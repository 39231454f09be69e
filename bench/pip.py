"""What comes from PyPI: installed once into an environment of its own, and again when its list changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.npm import NotHere

ENVIRONMENTS = Path(sys.prefix) / "peers"
INSTALL_S = 600.0


def python(directory: Path) -> Path:
    """The interpreter that has what `requirements.txt` in `directory` lists, once that is installed."""
    return ENVIRONMENTS / directory.name / "bin" / "python"


def install(directory: Path) -> None:
    """Install exactly what `requirements.txt` in `directory` lists, unless it is there. Raises: NotHere."""
    wanted = directory / "requirements.txt"
    done = ENVIRONMENTS / directory.name / "installed.txt"
    if done.exists() and done.read_bytes() == wanted.read_bytes():
        return
    # As `make setup`: where there is no ensurepip, pip can still fill an environment from outside.
    _run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(ENVIRONMENTS / directory.name))
    pip = (sys.executable, "-m", "pip", "--python", str(python(directory)), "--quiet")
    _run(*pip, "install", "--no-deps", "-r", str(wanted))
    done.write_bytes(wanted.read_bytes())


def pinned(directory: Path) -> dict[str, str]:
    """The versions that `requirements.txt` in `directory` lists, by package."""
    lines = (directory / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode:
        raise NotHere(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
