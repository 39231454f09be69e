"""A pytest plugin for runs on a copy of the source: what is tested there is that copy, or nothing is."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ("penstock.protocol.errors", "penstock.storage.errors", "penstock.server.peer")


def pytest_configure(config: pytest.Config) -> None:
    for name in PACKAGES:
        origin = Path(str(import_module(name).__file__)).resolve()
        if not origin.is_relative_to(config.rootpath.resolve()):
            raise pytest.UsageError(f"{name} comes from {origin}, not from {config.rootpath}")
