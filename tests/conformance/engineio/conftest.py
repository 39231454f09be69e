"""The server under test, as a client of Engine.IO sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.engineio.client import Engine
from tests.conformance.engineio.servers import IMPATIENT, QUICK, STEADY
from tests.conformance.processes import Server
from tests.conformance.wire import Target


@pytest.fixture
def engine(tuned: Callable[..., Target]) -> Engine:
    """Sends every message back."""
    return Engine(tuned(*STEADY))


@pytest.fixture
def quick(tuned: Callable[..., Target]) -> Engine:
    """Pings every 300 ms, and gives 200 ms for the answer."""
    return Engine(tuned(*QUICK))


@pytest.fixture
def impatient(penstock: Callable[..., Server]) -> Engine:
    """Gives an upgrade, and a client that joins no namespace, 200 ms; the rest is as it comes."""
    return Engine(penstock(ours=IMPATIENT).target)
