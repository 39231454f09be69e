"""What a process must be allowed to have thousands of connections."""

from __future__ import annotations

import resource


def most_files() -> int:
    """How many files a process may have open here."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def allow_many_files() -> None:
    """As many as may be, for us and whoever we start."""
    most = most_files()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
