"""The checked-in schema is that of the code, and says what the code takes."""

from __future__ import annotations

import json
from pathlib import Path

import penstock.protocol
from penstock.protocol import schema
from penstock.protocol.commands import COMMANDS
from penstock.protocol.events import SESSION_EVENTS, ConnectionStatus

FILE = Path(penstock.protocol.__path__[0]) / "events.schema.json"


def test_the_file_is_not_stale() -> None:
    assert FILE.read_text(encoding="utf-8") == schema.text(), "run: make docs"


def test_it_says_what_it_is_made_from_and_how() -> None:
    comment = json.loads(schema.text())["$comment"]
    assert all(word in comment for word in ("protocol/events.py", "protocol/commands.py", "make docs"))


def test_it_holds_every_event_and_every_command() -> None:
    document = schema.document()
    assert set(document["events"]) == {kind.NAME for kind in SESSION_EVENTS} | {ConnectionStatus.NAME}
    assert set(document["commands"]) == set(COMMANDS)


def test_every_reference_leads_somewhere() -> None:
    document = schema.document()
    found = [ref for ref in json.dumps(document).split('"') if ref.startswith("#/")]
    assert found
    assert {ref.removeprefix("#/$defs/") for ref in found} == set(document["$defs"])


def test_names_are_those_on_the_wire() -> None:
    definitions = schema.document()["$defs"]
    assert {"sessionId", "fileId", "estimatedTimeRemaining"} <= set(
        definitions["UploadProgress"]["properties"]
    )
    for definition in definitions.values():
        assert not [name for name in definition["properties"] if "_" in name]


def test_what_may_be_missing_is_not_required() -> None:
    definitions = schema.document()["$defs"]
    assert "digest" not in definitions["UploadCompleted"]["required"]
    assert "uploadPath" in definitions["UploadCompleted"]["required"]
    assert definitions["UploadPause"]["required"] == ["sessionId"]


def test_commands_take_no_unknown_field_and_joining_the_bare_id() -> None:
    document = schema.document()
    assert document["$defs"]["UploadPause"]["additionalProperties"] is False
    assert {"type": "string"} in document["commands"]["join-session"]["anyOf"]
    assert document["commands"]["upload-pause"] == {"$ref": "#/$defs/UploadPause"}
