"""What comes from npm is pinned, and written down like every dependency."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PLACES = sorted(package.parent for package in HERE.glob("*/package.json"))
PAGE = HERE.parents[1] / "docs" / "dependencies.md"


def test_all_places_are_known() -> None:
    assert [place.name for place in PLACES] == ["socketio_client", "socketio_parser", "tus_js_client"]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_packages_are_pinned_explained_and_the_lock_names_no_host(place: Path) -> None:
    text = (place / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    wanted = json.loads((place / "package.json").read_bytes())["dependencies"]
    assert wanted == packages[""]["dependencies"]
    rows = PAGE.read_text(encoding="utf-8").splitlines()
    for name, version in wanted.items():
        locked = packages[f"node_modules/{name}"]
        assert real_name(name, version) == locked.get("name", name)
        assert exact_version(version) == locked["version"]
        assert any(row.startswith(f"| {real_name(name, version)} |") for row in rows)
    assert all(is_pinned(package) for path, package in packages.items() if path)
    assert "://" not in text


def real_name(name: str, version: str) -> str:
    """Of what is installed: `npm:<name>@<version>` installs it under another one."""
    alias = re.fullmatch(r"npm:(.+)@[^@]+", version)
    return alias[1] if alias else name


def exact_version(version: str) -> str:
    found = re.fullmatch(r"(?:npm:.+@)?(\d+\.\d+\.\d+)", version)
    assert found, f"not one version: {version}"
    return found[1]


def is_pinned(package: dict[str, Any]) -> bool:
    return bool(package.get("version")) and package.get("integrity", "").startswith("sha512-")
