"""Both ways of storing, for the tests of appends: `pytestmark = pytest.mark.usefixtures("both_ways")`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tests.server.small_buffers import small_buffers


@pytest.fixture(params=["hops", "turns"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """hops: a buffer a time. turns: many buffers in one thread, see `server/uploads/refill.py`."""
    with small_buffers() if request.param == "turns" else nullcontext():
        yield
