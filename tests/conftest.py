"""What every test shares: how strict a run is, and what no run may leave behind."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

# No wall-clock judgement of examples: the machine may be busy. In CI the same examples come each time.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile("ci" if IN_CI else "local")

# The checkout's root is on the path for `from tests.…`; these names must only come in below `penstock`.
SECOND_COPIES = ("server", "protocol", "storage")


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """The path of a system program. Without it the test is skipped, loudly, and under CI=true it fails."""
    return _required_program


def _required_program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed, so this is NOT tested here (apt-get install {name})"
        if IN_CI:
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return path


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Two copies of a module are two classes of the same name: `except` and `isinstance` then lie."""
    copies = [name for name in SECOND_COPIES if name in sys.modules]
    if copies:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"imported twice, write `from penstock.…`: {', '.join(copies)}", red=True)
