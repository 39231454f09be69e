"""What comes from npm: installed once, beside its lock file, and again when that file changed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path


class NotHere(Exception):
    """Something cannot be had on this machine; the message says what is missing."""


def install(directory: Path) -> None:
    """Install what the lock file in `directory` names, unless it is there. Raises: NotHere."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        raise NotHere(f"{' and '.join(missing)} not installed (apt-get install nodejs npm)")
    if not _is_installed(directory):
        _install(directory)


def pinned(directory: Path) -> dict[str, str]:
    """The versions that `package.json` in `directory` asks for, by package."""
    wanted: dict[str, str] = json.loads((directory / "package.json").read_bytes())["dependencies"]
    return wanted


def _is_installed(directory: Path) -> bool:
    """npm writes its own lock last: it is newer than ours when everything ours names is there."""
    theirs, ours = directory / "node_modules" / ".package-lock.json", directory / "package-lock.json"
    return theirs.exists() and theirs.stat().st_mtime >= ours.stat().st_mtime


def _install(directory: Path) -> None:
    done = subprocess.run(
        ["npm", "ci"], cwd=directory, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise NotHere(f"npm ci failed in {directory}: {done.stderr.strip()[-500:]}")
