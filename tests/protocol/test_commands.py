"""Commands: each field checked, and named in the refusal; no JSON does anything worse than be refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.commands import (
    COMMANDS,
    Command,
    CreateSession,
    FileSpec,
    JoinSession,
    LeaveSession,
    RegisterFiles,
    Since,
    UploadCancel,
    UploadPause,
    UploadProgressCommand,
    UploadResume,
    UploadStart,
    parse_command,
)
from penstock.protocol.decoding import convert, decode
from penstock.protocol.errors import InvalidMessage, InvalidSession

SID = "550e8400-e29b-41d4-a716-446655440000"
WATCH_KEY = "w_" + "0a" * 20
ON_FILES = {"sessionId": SID, "fileId": "f", "reason": "r"}

# Each command with all its fields.
FULL: dict[str, tuple[dict[str, Any], Command]] = {
    "join-session": (
        {"sessionId": SID, "since": {"epoch": "e", "seq": 3}},
        JoinSession(session_id=SID, since=Since("e", 3)),
    ),
    "leave-session": ({"sessionId": SID}, LeaveSession(session_id=SID)),
    "upload-start": (
        {"sessionId": SID, "fileIds": ["f"], "category": "personal"},
        UploadStart(session_id=SID, file_ids=["f"], category="personal"),
    ),
    "upload-progress": (
        {"sessionId": SID, "fileId": "f", "requestUpdate": False, "progress": 50.5},
        UploadProgressCommand(session_id=SID, file_id="f", progress=50.5),
    ),
    "upload-pause": (ON_FILES, UploadPause(session_id=SID, file_id="f", reason="r")),
    "upload-resume": (ON_FILES, UploadResume(session_id=SID, file_id="f", reason="r")),
    "upload-cancel": (ON_FILES, UploadCancel(session_id=SID, file_id="f", reason="r")),
}
NEEDED = {
    "join-session": {"sessionId"},
    "leave-session": {"sessionId"},
    "upload-start": {"sessionId", "fileIds", "category"},
    "upload-progress": {"sessionId", "fileId"},
    "upload-pause": {"sessionId"},
    "upload-resume": {"sessionId"},
    "upload-cancel": {"sessionId"},
}
KINDS: dict[str, object] = {
    "str": "text",
    "int": 7,
    "float": 1.5,
    "bool": True,
    "list": [1],
    "dict": {"a": 1},
}
TAKES = {
    "sessionId": {"str"},
    "fileId": {"str"},
    "reason": {"str"},
    "category": {"str"},
    "fileIds": set[str](),  # a list, but of strings
    "since": set[str](),  # an object, but with fields of its own
    "requestUpdate": {"bool"},
    "progress": {"int", "float"},
}
WRONG = [
    (name, field, kind)
    for name, (payload, _) in FULL.items()
    for field in payload
    for kind in KINDS
    if kind not in TAKES[field]
]


@contextmanager
def readable_refusals() -> Iterator[None]:
    """Lets the refusals pass that may come, if they can be sent."""
    try:
        yield
    except (InvalidMessage, InvalidSession) as refused:
        refused.message.encode()


def refusal(name: str, payload: object) -> str:
    with pytest.raises(InvalidMessage) as caught:
        parse_command(name, payload)
    return caught.value.message


def test_every_command_is_looked_at() -> None:
    assert set(FULL) == set(NEEDED) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_command(name: str) -> None:
    payload, expected = FULL[name]
    assert parse_command(name, payload) == expected
    assert set(payload) == set(COMMANDS[name].__struct_encode_fields__)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_watch_key_is_a_reference_too(name: str) -> None:
    assert parse_command(name, {**FULL[name][0], "sessionId": WATCH_KEY}).session_id == WATCH_KEY


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in FULL for field in FULL[name][0]])
def test_a_missing_field_is_named_if_it_is_needed(name: str, field: str) -> None:
    payload = {key: value for key, value in FULL[name][0].items() if key != field}
    if field in NEEDED[name]:
        assert f"`{field}`" in refusal(name, payload)
    elif name != "upload-progress":  # there one of two is needed
        parse_command(name, payload)


@pytest.mark.parametrize(("name", "field", "kind"), WRONG)
def test_a_field_of_a_wrong_type_is_named(name: str, field: str, kind: str) -> None:
    message = refusal(name, {**FULL[name][0], field: KINDS[kind]})
    assert message.startswith((f"{field}:", f"{field}[", f"{field}.")), message


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("field", ["fileid", "file_id", "session_id", "extra", "", "\ud800"])
def test_an_unknown_field_is_named(name: str, field: str) -> None:
    message = refusal(name, {**FULL[name][0], field: "f"})
    assert message.encode()
    assert field == "\ud800" or f"unknown field `{field}`" in message


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("payload", [None, 1, 1.5, True, [], [SID]], ids=repr)
def test_a_payload_that_is_no_object(name: str, payload: object) -> None:
    assert refusal(name, payload).startswith("data: expected `object`")


@pytest.mark.parametrize("name", COMMANDS)
def test_only_joining_and_leaving_take_the_bare_id(name: str) -> None:
    if name in ("join-session", "leave-session"):
        assert parse_command(name, SID) == COMMANDS[name](session_id=SID)
        assert parse_command(name, WATCH_KEY).session_id == WATCH_KEY
    else:
        assert refusal(name, SID).startswith("data: expected `object`")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("reference", ["", "test-session", SID[:-1], "w_", "\ud800"])
def test_a_malformed_session_id(name: str, reference: str) -> None:
    with pytest.raises(InvalidSession, match=r"^sessionId: "):
        parse_command(name, {**FULL[name][0], "sessionId": reference})


@pytest.mark.parametrize("reference", ["", "test-session", "{}"])
def test_a_malformed_bare_id(reference: str) -> None:
    with pytest.raises(InvalidSession, match=r"^sessionId: "):
        parse_command("join-session", reference)


@pytest.mark.parametrize(
    "name", ["", "upload", "Upload-Pause", "upload_pause", "connect", "\ud800", "x" * 9999]
)
def test_an_unknown_command(name: str) -> None:
    message = refusal(name, {"sessionId": SID})
    assert message.startswith("type: ")
    assert "upload-pause" in message
    assert len(message.encode()) < 400


@pytest.mark.parametrize(
    ("given", "good"),
    [
        ({"requestUpdate": True}, True),
        ({"progress": 0}, True),
        ({"progress": 100}, True),
        ({"progress": 0.0, "requestUpdate": False}, True),
        ({}, False),
        ({"requestUpdate": False}, False),
        ({"requestUpdate": True, "progress": 50}, False),
        ({"progress": -0.01}, False),
        ({"progress": 100.01}, False),
        ({"progress": float("nan")}, False),
        ({"progress": float("inf")}, False),
        ({"progress": 10**400}, False),
    ],
    ids=repr,
)
def test_progress_asks_or_tells(given: dict[str, object], good: bool) -> None:
    payload = {"sessionId": SID, "fileId": "f", **given}
    if good:
        assert isinstance(parse_command("upload-progress", payload), UploadProgressCommand)
    else:
        assert refusal("upload-progress", payload).startswith(("requestUpdate: ", "progress: "))


@pytest.mark.parametrize("seq", [-1, 2**63, 10**400, 1.0, "1", None, True])
def test_a_sequence_number_that_cannot_be(seq: object) -> None:
    assert refusal("join-session", {"sessionId": SID, "since": {"epoch": "e", "seq": seq}}).startswith(
        "since.seq: "
    )


@pytest.mark.parametrize("since", [{}, {"epoch": "e"}, {"seq": 1}, {"epoch": "e", "seq": 1, "x": 1}])
def test_a_since_that_is_not_whole(since: dict[str, object]) -> None:
    assert refusal("join-session", {"sessionId": SID, "since": since}).startswith("since: ")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("upload-start", {"fileIds": []}, "fileIds: "),
        ("upload-start", {"fileIds": ["f"] * 50_001}, "fileIds: "),
        ("upload-start", {"fileIds": ["f", 1]}, "fileIds[1]: "),
        ("upload-pause", {"reason": "x" * 501}, "reason: "),
    ],
)
def test_bounds(name: str, changes: dict[str, object], message: str) -> None:
    assert refusal(name, {**FULL[name][0], **changes}).startswith(message)


def test_null_is_as_good_as_missing_where_nothing_is_needed() -> None:
    paused = parse_command("upload-pause", {"sessionId": SID, "fileId": None, "reason": None})
    assert paused == UploadPause(session_id=SID)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_parsed_can_be_sent_and_parsed_again(name: str) -> None:
    command = FULL[name][1]
    assert parse_command(name, msgspec.json.decode(msgspec.json.encode(command))) == command


def nested(depth: int) -> object:
    value: object = "bottom"
    for _ in range(depth):
        value = {"sessionId": value}
    return value


def test_deep_nesting_is_refused() -> None:
    assert refusal("upload-pause", nested(100_000)).startswith("sessionId: ")
    with pytest.raises(InvalidMessage):
        decode(b'{"sessionId":' * 100_000, UploadPause)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from([SID, WATCH_KEY, "sessionId", 10**400, -(2**63), 2**64]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(sorted(TAKES)) | st.text(st.characters(), max_size=5), inner, max_size=4
        )
    ),
    max_leaves=10,
)


def parsed_or_refused(name: str, payload: object) -> None:
    with readable_refusals():
        assert type(parse_command(name, payload)) is COMMANDS[name]


@given(st.sampled_from(sorted(COMMANDS)), anything)
def test_any_json_is_a_command_or_refused(name: str, payload: object) -> None:
    parsed_or_refused(name, payload)


@given(st.sampled_from(sorted(COMMANDS)), st.data())
def test_a_command_with_any_json_in_a_field_is_a_command_or_refused(name: str, data: st.DataObject) -> None:
    payload = dict(FULL[name][0])
    payload[data.draw(st.sampled_from(sorted(payload)))] = data.draw(anything)
    parsed_or_refused(name, payload)


# Registrations


def test_a_full_registration() -> None:
    spec = {"fileId": "f", "fileName": "a.mp4", "fileSize": 5, "fileType": "video/mp4"}
    wanted = {"category": "scenic", "files": [spec], "open": True, "metadata": {"a": "b"}}
    file = FileSpec(file_name="a.mp4", file_id="f", file_size=5, file_type="video/mp4")
    assert convert(wanted, CreateSession) == CreateSession(
        category="scenic", files=[file], open=True, metadata={"a": "b"}
    )
    assert convert({"files": [spec]}, RegisterFiles) == RegisterFiles(files=[file])


def test_a_session_needs_nothing_and_shares_nothing() -> None:
    one, other = convert({}, CreateSession), convert({}, CreateSession)
    assert one == CreateSession(category=None, files=[], open=False, metadata={})
    assert one.files is not other.files
    assert one.metadata is not other.metadata


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"category": 1}, "category"),
        ({"files": {}}, "files"),
        ({"files": ["a.mp4"]}, "files[0]"),
        ({"files": [{}]}, "fileName"),
        ({"files": [{"fileName": ""}]}, "fileName"),
        ({"files": [{"fileName": None}]}, "files[0].fileName"),
        ({"files": [{"fileName": "名" * 342}]}, "fileName"),
        ({"files": [{"fileName": "a\ud800"}]}, "fileName"),
        ({"files": [{"fileName": "a", "fileId": "a/b"}]}, "fileId"),
        ({"files": [{"fileName": "a", "fileId": ""}]}, "fileId"),
        ({"files": [{"fileName": "a"}, {"fileName": "b", "fileSize": -1}]}, "files[1].fileSize"),
        ({"files": [{"fileName": "a", "fileSize": 2**63}]}, "files[0].fileSize"),
        ({"files": [{"fileName": "a", "fileSize": 1.0}]}, "files[0].fileSize"),
        ({"files": [{"fileName": "a", "fileSize": "1"}]}, "files[0].fileSize"),
        ({"files": [{"fileName": "a", "fileType": "x" * 256}]}, "files[0].fileType"),
        ({"files": [{"fileName": "a", "size": 1}]}, "size"),
        ({"open": 1}, "open"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"sessionId": SID}, "sessionId"),
    ],
)
def test_a_registration_that_is_refused_names_the_field(wanted: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        convert(wanted, CreateSession)
    assert field in caught.value.message


@pytest.mark.parametrize("wanted", [{}, {"files": []}])
def test_registering_no_file_is_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage, match=r"files"):
        convert(wanted, RegisterFiles)


@pytest.mark.parametrize("size", [0, 2**63 - 1])
def test_sizes_up_to_what_a_file_can_have(size: int) -> None:
    assert convert({"fileName": "a", "fileSize": size}, FileSpec).file_size == size


@given(anything)
def test_any_json_is_a_registration_or_refused(wanted: object) -> None:
    for kind in (CreateSession, RegisterFiles, FileSpec):
        with readable_refusals():
            assert isinstance(convert(wanted, kind), kind)
