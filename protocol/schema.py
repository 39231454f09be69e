"""The events and commands as one JSON Schema document, for those who write clients.

`protocol/events.schema.json` is this module's output, written by `make docs`; a test fails when it is stale.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.protocol.commands import BY_BARE_ID, COMMANDS
from penstock.protocol.events import SESSION_EVENTS, ConnectionStatus

EVENTS: dict[str, type[msgspec.Struct]] = {event.NAME: event for event in SESSION_EVENTS}
EVENTS[ConnectionStatus.NAME] = ConnectionStatus

_COMMENT = (
    "Generated from protocol/events.py and protocol/commands.py by `make docs` "
    "(python -P -m penstock.protocol.schema). Do not edit. `events` (server to client) and `commands` "
    "(client to server) map each name to the schema of its payload."
)


def document() -> dict[str, Any]:
    """The whole document, as plain JSON values."""
    refs, definitions = msgspec.json.schema_components([*EVENTS.values(), *COMMANDS.values()])
    commands = {
        name: _or_bare_id(ref) if COMMANDS[name] in BY_BARE_ID else ref
        for name, ref in zip(COMMANDS, refs[len(EVENTS) :], strict=True)
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": _COMMENT,
        "title": "Penstock: events and commands",
        "events": dict(zip(EVENTS, refs[: len(EVENTS)], strict=True)),
        "commands": commands,
        "$defs": definitions,
    }


def text() -> str:
    """The document as it is checked in."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


def _or_bare_id(ref: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, ref]}


if __name__ == "__main__":
    print(text(), end="")
