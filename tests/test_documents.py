"""The pages do what they say: every bash example runs, in order, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.running import PATIENCE_S, PENSTOCK, serving

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "README.zh.md",
    "docs/rest.md",
    "docs/rest.zh.md",
    "docs/resumable.md",
    "docs/resumable.zh.md",
]
LINKED = [
    *PAGES,
    "docs/cli.md",
    "docs/websocket.md",
    "docs/ARCHITECTURE.md",
    "docs/reliability.md",
    "docs/reliability.zh.md",
    "docs/socketio.md",
    "docs/socketio.zh.md",
]


@pytest.mark.acceptance
@pytest.mark.parametrize("page", PAGES)
def test_its_examples_run(page: str, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("bash", "curl", "jq"):
        require_program(program)
    (tmp_path / "movie.mp4").write_bytes(os.urandom(3_000_000))
    text = (ROOT / page).read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"^ *```bash\n(.*?)```", text, re.DOTALL | re.MULTILINE))
    with serving(PENSTOCK, "--data-dir", str(tmp_path / "data"), cwd=tmp_path) as server:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PENSTOCK": server.url.rstrip("/"), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", LINKED)
def test_its_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert ((ROOT / page).parent / target).exists(), target
