"""A gateway for clients that are not ours, the clients, and a look at what they left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import npm
from tests.acceptance.gateway import LOGGED, Gateway
from tests.interop import socket_watcher
from tests.interop import tus_js as tus_js_client
from tests.interop.stored import Stored
from tests.running import serving


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests that end no server and change no setting."""
    directory = tmp_path_factory.mktemp("gateway")
    with serving(LOGGED, cwd=directory) as server:
        gateway = Gateway(server, directory)
        yield gateway
    assert gateway.faults() == []


@pytest.fixture
def stored(gateway: Gateway) -> Stored:
    """What comes to the gateway during the test."""
    return Stored(gateway)


@pytest.fixture(scope="session")
def tus_js(require_program: Callable[[str], str]) -> None:
    """tus-js-client is installed."""
    _install(tus_js_client.PLACE, require_program)


@pytest.fixture(scope="session")
def socketio_clients(require_program: Callable[[str], str]) -> None:
    """socket.io-client is installed, the newest and an early one."""
    _install(socket_watcher.PLACE, require_program)


def _install(place: Path, require_program: Callable[[str], str]) -> None:
    for program in ("node", "npm"):
        require_program(program)
    try:
        npm.install(place)
    except npm.NotHere as missing:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise
        pytest.skip(f"NOT tested here: {missing}")
