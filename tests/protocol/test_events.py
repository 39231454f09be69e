"""Events: the fields that clients were promised, and how facts are stored and read again.

The promise is written down below as client developers read it, in TypeScript.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec import inspect as mi

from penstock.protocol.events import (
    SESSION_EVENTS,
    ConnectionStatus,
    CurrentFile,
    ErrorInfo,
    Event,
    SessionCompleted,
    SessionError,
    Summary,
    UploadCancelled,
    UploadCompleted,
    UploadFailed,
    UploadProgress,
    UploadStarted,
    pack,
    unpack,
)

PROMISE = """
interface upload-started {
  sessionId: string; fileId: string; fileName: string; fileSize: number; startTime: string;
  attempt: number; seq: number; epoch: string;
}
interface upload-completed {
  sessionId: string; fileId: string; fileName: string; fileSize: number; uploadPath: string; endTime: string;
  duration: number; finalSpeed: number;
  attempt: number; seq: number; epoch: string; digest?: string;
}
interface upload-failed {
  sessionId: string; fileId: string; fileName: string; error: error; failedAt: string;
  canRetry: boolean; retryCount: number; maxRetries: number;
  attempt: number; seq: number; epoch: string;
}
interface error { code: string; message: string; details?: object; }
interface upload-cancelled {
  sessionId: string; fileId: string; reason: string; cancelledAt: string; uploadedBytes: number;
  attempt: number; seq: number; epoch: string;
}
interface session-completed {
  sessionId: string; summary: summary; endTime: string; uploadPaths: string[];
  uploadPathsTotal: number; cursor: string; seq: number; epoch: string;
}
interface summary {
  totalFiles: number; completedFiles: number; failedFiles: number; cancelledFiles: number;
  totalSize: number; uploadedSize: number; averageSpeed: number; totalTime: number;
}
interface session-error {
  sessionId: string; error: error; action: string; affectedFiles: string[]; timestamp: string;
  seq: number; epoch: string;
}
interface upload-progress {
  sessionId: string; fileId: string; progress: number; speed: number; uploadedBytes: number;
  totalBytes: number; estimatedTimeRemaining: number; timestamp: string;
  overallStatus: string; totalProgress: number; completedFiles: number; failedFiles: number;
  currentFile?: currentFile; message: string;
  durableBytes: number; attempt: number; seq: number; epoch: string; fact?: boolean;
}
interface currentFile {
  id: string; originalName: string; progress: number; status: string; uploadSpeed: number;
  errorMessage?: string;
}
interface connection-status { status: string; message?: string; retryCount?: number; maxRetries?: number; }
"""

Promised = dict[str, tuple[str, bool]]  # name → type, may be missing
INTERFACES: dict[str, Promised] = {
    name: {
        field: (kind, bool(optional))
        for field, optional, kind in re.findall(r"(\w+)(\??): ([\w\[\]]+);", body)
    }
    for name, body in re.findall(r"interface ([\w-]+) \{(.*?)\}", PROMISE, re.DOTALL)
}
PYTHON: dict[str, Any] = {
    "string": str,
    "number": (int, float),
    "boolean": bool,
    "string[]": list,
    "object": dict,
}

ERROR = ErrorInfo("NETWORK_ERROR", "lost", {"offset": 1})
ABOUT: dict[str, Any] = {"session_id": "s", "seq": 1, "epoch": "e"}
FILE: dict[str, Any] = {**ABOUT, "file_id": "f", "attempt": 1}
CURRENT = CurrentFile("f", "n", 1.5, "failed", 2.5, "lost")

# Each event with everything there is to be said.
FULL: list[Event | ConnectionStatus] = [
    UploadStarted(**FILE, file_name="n", file_size=1, start_time="t"),
    UploadCompleted(
        **FILE,
        file_name="n",
        file_size=1,
        upload_path="/p",
        end_time="t",
        duration=1.5,
        final_speed=2.5,
        digest="d",
    ),
    UploadFailed(
        **FILE, file_name="n", error=ERROR, failed_at="t", can_retry=True, retry_count=1, max_retries=3
    ),
    UploadCancelled(**FILE, reason="r", cancelled_at="t", uploaded_bytes=1),
    SessionCompleted(
        **ABOUT,
        summary=Summary(1, 2, 3, 4, 5, 6, 7.5, 8.5),
        end_time="t",
        upload_paths=["/p"],
        upload_paths_total=2,
        cursor="e1",
    ),
    SessionError(**ABOUT, error=ERROR, action="pause", affected_files=["f"], timestamp="t"),
    UploadProgress(
        **FILE,
        progress=1.5,
        speed=2.5,
        uploaded_bytes=1,
        total_bytes=2,
        estimated_time_remaining=-1.0,
        timestamp="t",
        overall_status="uploading",
        total_progress=1.5,
        completed_files=0,
        failed_files=0,
        current_file=CURRENT,
        message="m",
        durable_bytes=1,
        fact=True,
    ),
    ConnectionStatus(status="error", message="m", retry_count=1, max_retries=3),
]
FACTS = [event for event in FULL if isinstance(event, Event)]
by_name = pytest.mark.parametrize("event", FULL, ids=lambda event: event.NAME)


def check(value: dict[str, Any], promised: Promised, *, all_there: bool) -> None:
    """That an object has the promised fields and no others, of the promised types."""
    needed = {name for name, (_, optional) in promised.items() if all_there or not optional}
    assert needed == set(value) if all_there else needed <= set(value) <= set(promised)
    for name, part in value.items():
        kind = promised[name][0]
        if kind in INTERFACES:
            check(part, INTERFACES[kind], all_there=all_there)
        else:
            assert isinstance(part, PYTHON[kind])
            assert isinstance(part, bool) == (kind == "boolean")


def on_the_wire(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def stripped(value: Any) -> Any:
    """A struct without what may be missing, all the way down."""
    changes = {}
    for field in msgspec.structs.fields(value):
        part = getattr(value, field.name)
        if field.default is UNSET:
            changes[field.name] = UNSET
        elif isinstance(part, msgspec.Struct):
            changes[field.name] = stripped(part)
    return msgspec.structs.replace(value, **changes)


def test_every_event_is_promised_and_shown_here() -> None:
    names = {kind.NAME for kind in SESSION_EVENTS} | {ConnectionStatus.NAME}
    assert {event.NAME for event in FULL} == names
    assert names == {name for name in INTERFACES if "-" in name}


@by_name
def test_it_has_the_promised_fields(event: Event | ConnectionStatus) -> None:
    check(on_the_wire(event), INTERFACES[event.NAME], all_there=True)


@by_name
def test_what_is_not_set_is_not_there(event: Event | ConnectionStatus) -> None:
    wire = on_the_wire(stripped(event))
    optional = {name for name, (_, may_miss) in INTERFACES[event.NAME].items() if may_miss}
    assert not optional & set(wire)
    check(wire, INTERFACES[event.NAME], all_there=False)


def test_what_concerns_no_file_says_null() -> None:
    progress = next(event for event in FULL if isinstance(event, UploadProgress))
    assert on_the_wire(msgspec.structs.replace(progress, file_id=None))["fileId"] is None
    completed = next(event for event in FULL if isinstance(event, SessionCompleted))
    assert on_the_wire(msgspec.structs.replace(completed, cursor=None))["cursor"] is None


def test_the_name_is_no_field() -> None:
    assert all("NAME" not in on_the_wire(event) for event in FULL)


# Stored and read again


def test_a_stored_fact_is_names_and_payloads() -> None:
    event = UploadCancelled(**FILE, reason="r", cancelled_at="t", uploaded_bytes=5)
    assert msgspec.json.decode(pack((event,))) == [["upload-cancelled", on_the_wire(event)]]


def test_order_and_number_are_kept() -> None:
    events = tuple(FACTS)
    assert unpack(pack(events)) == events
    assert unpack(pack(())) == ()


@pytest.mark.parametrize("event", FACTS, ids=lambda event: event.NAME)
def test_fields_of_a_newer_version_are_ignored(event: Event) -> None:
    name, payload = msgspec.json.decode(pack((event,)))[0]
    payload["unknownToUs"] = {"deep": [1]}
    for part in payload.values():
        if isinstance(part, dict):
            part["unknownToUs"] = 1
    read = unpack(msgspec.json.encode([[name, payload]]))[0]
    if isinstance(event, UploadFailed | SessionError):
        assert read.error.code == ERROR.code  # type: ignore[attr-defined]  # same type as `event`
    assert type(read) is type(event)
    assert (read.session_id, read.seq, read.epoch) == ("s", 1, "e")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SIMPLE: dict[type[mi.Type], st.SearchStrategy[Any]] = {
    mi.StrType: st.text(),
    mi.IntType: st.integers(-(2**63), 2**63 - 1),
    mi.FloatType: st.floats(allow_nan=False, allow_infinity=False),
    mi.BoolType: st.booleans(),
    mi.NoneType: st.none(),
    mi.DictType: st.dictionaries(st.text(), json_values, max_size=3),
}


def values_of(kind: mi.Type) -> st.SearchStrategy[Any]:
    match kind:
        case mi.StructType(cls=cls, fields=fields):
            parts = {
                field.name: values_of(field.type) | st.just(UNSET)
                if field.default is UNSET
                else values_of(field.type)
                for field in fields
            }
            return st.builds(cls, **parts)
        case mi.UnionType(types=types):
            return st.one_of([values_of(one) for one in types])
        case mi.ListType(item_type=item):
            return st.lists(values_of(item), max_size=3)
        case mi.LiteralType(values=values):
            return st.sampled_from(values)
    return SIMPLE[type(kind)]


@given(st.lists(st.one_of([values_of(mi.type_info(kind)) for kind in SESSION_EVENTS]), max_size=4))
def test_what_was_stored_is_what_is_read(events: list[Event]) -> None:
    assert unpack(pack(tuple(events))) == tuple(events)
