"""The server under test, as a tus client sees it."""

from __future__ import annotations

import pytest

from tests.conformance.tus.client import Tus
from tests.conformance.wire import Target


@pytest.fixture
def tus(target: Target) -> Tus:
    return Tus(target)


@pytest.fixture
def limited(limited_target: Target) -> Tus:
    """A server that takes at most MAX_BYTES a file, or what its Tus-Max-Size says."""
    return Tus(limited_target)
