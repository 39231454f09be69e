"""How big the acceptance tests are: for every run, or full size (`make acceptance`, `make crash`)."""

from __future__ import annotations

import logging
import os
from typing import TypeVar

from penstock.server.settings import MIB

__all__ = ["FULL", "MIB", "full_or", "tell"]

T = TypeVar("T")

log = logging.getLogger("acceptance")

FULL = os.environ.get("ACCEPTANCE_SIZE", "") == "full"


def full_or(scaled: T, full: T) -> T:
    """The second at full size, else the first."""
    return full if FULL else scaled


def tell(line: str) -> None:
    """How far a long run is: a full-size one lasts minutes, and silence looks like a hang."""
    log.info(line)
