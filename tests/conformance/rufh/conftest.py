"""The server under test, as a client of the draft sees it."""

from __future__ import annotations

import pytest

from tests.conformance.rufh.client import Draft
from tests.conformance.wire import Target


@pytest.fixture
def draft(target: Target) -> Draft:
    return Draft(target)


@pytest.fixture(params=["draft", "limited"])
def server(request: pytest.FixtureRequest) -> Draft:
    """With and without limits."""
    draft: Draft = request.getfixturevalue(request.param)
    return draft


@pytest.fixture
def limited(limited_target: Target) -> Draft:
    """A server that announces a small `max-size`."""
    return Draft(limited_target)
