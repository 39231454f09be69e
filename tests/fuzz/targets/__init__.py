"""Every target: one for each parser that reads bytes of a client."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    addresses,
    configuration,
    connections,
    dialects,
    forms,
    header_values,
    json_bodies,
    sockets,
    stored_names,
)

_MODULES = (
    header_values,
    addresses,
    dialects,
    json_bodies,
    sockets,
    stored_names,
    forms,
    connections,
    configuration,
)
TARGETS: dict[str, Target] = {target.name: target for module in _MODULES for target in module.TARGETS}
