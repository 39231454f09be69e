"""The server under test, as a client of Socket.IO sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.engineio.client import Engine
from tests.conformance.engineio.servers import IMPATIENT, QUICK, STEADY
from tests.conformance.processes import Server
from tests.conformance.socketio.client import PATH
from tests.conformance.wire import Target


@pytest.fixture
def engine(tuned: Callable[..., Target]) -> Engine:
    """Socket.IO's. No ping comes in a test's time."""
    return Engine(tuned(*STEADY), PATH)


@pytest.fixture
def quick(tuned: Callable[..., Target]) -> Engine:
    """Pings every 300 ms."""
    return Engine(tuned(*QUICK), PATH)


@pytest.fixture
def impatient(penstock: Callable[..., Server]) -> Engine:
    """Gives a client 200 ms to join a namespace."""
    return Engine(penstock(ours=IMPATIENT).target, PATH)
