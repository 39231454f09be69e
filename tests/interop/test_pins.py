"""What comes from npm is pinned, and written down like every dependency."""

from __future__ import annotations

import json
from pathlib import Path

from tests.interop.tus_js import PLACE

PAGE = Path(__file__).parents[2] / "docs" / "dependencies.md"


def test_the_client_is_pinned_explained_and_its_lock_names_no_host() -> None:
    text = (PLACE / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    wanted = json.loads((PLACE / "package.json").read_bytes())["dependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all("integrity" in package for path, package in packages.items() if path)
    assert "://" not in text
    rows = PAGE.read_text(encoding="utf-8").splitlines()
    assert all(any(row.startswith(f"| {name} |") for row in rows) for name in wanted)
