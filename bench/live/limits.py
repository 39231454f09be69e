"""What a process must be allowed to have thousands of connections."""

from __future__ import annotations

import resource


def allow_many_files(wanted: int = 0) -> int:
    """As many open files as we may have, for us and whoever we start; how many that is.

    Raises: OSError if `wanted` are not to be had."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if wanted > most:
        raise OSError(f"{wanted} open files are needed, {most} are allowed (ulimit -Hn)")
    return most
