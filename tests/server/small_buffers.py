"""Buffers of a few bytes: they fill as those of big uploads do, and their reader goes on in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from penstock.server.uploads import buffers

SMALL_BYTES = 16


@contextmanager
def small_buffers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffers, "MIN_BYTES", SMALL_BYTES // 4)
        patch.setattr(buffers, "MAX_BYTES", SMALL_BYTES)
        yield
