"""How events look in the envelope."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.protocol.envelope import Topic
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
)
from penstock.protocol.pushes import PushEncoder, connection_status, occurred_ms

SID = "550e8400-e29b-41d4-a716-446655440000"
KEY = "w_" + "0123456789abcdef" * 2 + "01234567"
AT = "2026-01-15T10:30:00.250Z"
AT_MS = 1768473000250
ORDER: dict[str, Any] = {"session_id": SID, "seq": 7, "epoch": "e"}

STARTED = UploadStarted(**ORDER, file_id="f", file_name="a", file_size=1, start_time=AT, attempt=1)
COMPLETED = UploadCompleted(
    **ORDER,
    file_id="f",
    file_name="{a}",
    file_size=1,
    upload_path="/upload/personal/x",
    end_time=AT,
    duration=1.0,
    final_speed=1.0,
    attempt=1,
)
FAILED = UploadFailed(
    **ORDER,
    file_id="f",
    file_name="a",
    error=ErrorInfo("UNSUPPORTED_FORMAT", "only mp4"),
    failed_at=AT,
    can_retry=False,
    retry_count=0,
    max_retries=3,
    attempt=1,
)
INTERRUPTED = msgspec.structs.replace(FAILED, can_retry=True)
CANCELLED = UploadCancelled(
    **ORDER, file_id="f", reason="expired", cancelled_at=AT, uploaded_bytes=0, attempt=1
)
ENDED = SessionCompleted(
    **ORDER,
    summary=Summary(2, 2, 0, 0, 2, 2, 1.0, 1.0),
    end_time=AT,
    upload_paths=[],
    upload_paths_total=0,
)
TIMED_OUT = SessionError(
    **ORDER,
    error=ErrorInfo("SESSION_TIMEOUT", "nothing happened"),
    action="pause",
    affected_files=[],
    timestamp=AT,
)
PROGRESS = UploadProgress(
    **ORDER,
    file_id="f",
    progress=50.0,
    speed=1.0,
    uploaded_bytes=5,
    total_bytes=10,
    estimated_time_remaining=5.0,
    timestamp=AT,
    overall_status="uploading",
    total_progress=50.0,
    completed_files=0,
    failed_files=0,
    current_file=CurrentFile("f", "a", 50.0, "paused", 1.0),
    message="",
    durable_bytes=5,
    attempt=1,
)
PAUSE = msgspec.structs.replace(PROGRESS, fact=True)
LATCH = msgspec.structs.replace(PAUSE, file_id=None, current_file=UNSET, overall_status="paused")
LAST = msgspec.structs.replace(LATCH, fact=UNSET, overall_status="completed")


def pushed(event: Event, topic: Topic = Topic(SID), language: str = "en") -> dict[str, Any]:  # noqa: B008
    found: dict[str, Any] = msgspec.json.decode(PushEncoder(topic, language).encode(event))
    return found


@pytest.mark.parametrize(
    ("event", "kind", "extra"),
    [
        (STARTED, "status", {"entityType": "file", "entityId": "f", "status": "uploading"}),
        (PAUSE, "status", {"entityType": "file", "entityId": "f", "status": "paused"}),
        (LATCH, "status", {"entityType": "session", "entityId": SID, "status": "paused"}),
        (CANCELLED, "status", {"entityType": "file", "entityId": "f", "status": "cancelled"}),
        (PROGRESS, "data", {}),
        (LAST, "data", {}),
        (
            COMPLETED,
            "notification",
            {"title": "Upload complete", "content": "{a} was uploaded", "level": "success"},
        ),
        (FAILED, "notification", {"title": "Upload failed", "content": "a: only mp4", "level": "error"}),
        (
            INTERRUPTED,
            "notification",
            {
                "title": "Upload interrupted",
                "content": "a was interrupted; it can be continued",
                "level": "warning",
            },
        ),
        (
            ENDED,
            "notification",
            {"title": "Session complete", "content": "2 of 2 files uploaded", "level": "success"},
        ),
        (
            TIMED_OUT,
            "notification",
            {"title": "Session timed out", "content": "nothing happened", "level": "warning"},
        ),
    ],
)
def test_each_event_in_its_type(event: Event, kind: str, extra: dict[str, Any]) -> None:
    push = pushed(event)
    assert push["type"] == kind
    assert push["timestamp"] == AT_MS
    assert push["sequence"] == 7
    data = push["data"]
    payload = data.pop("payload")
    assert data == {**extra, "topic": f"session:{SID}", "event": event.NAME}
    if isinstance(event, UploadProgress):
        assert payload.pop("message")
        event = msgspec.structs.replace(event, message="")
        payload["message"] = ""
    assert payload == msgspec.to_builtins(event), "the payload it has on Socket.IO"
    assert msgspec.convert(payload, type(event)) == event


def test_no_event_is_forgotten() -> None:
    shown = (STARTED, COMPLETED, FAILED, CANCELLED, ENDED, TIMED_OUT, PROGRESS)
    assert {type(event) for event in shown} == set(SESSION_EVENTS)
    assert {occurred_ms(event) for event in shown} == {AT_MS}


def test_message_ids_tell_facts_apart_and_are_the_same_again() -> None:
    assert pushed(STARTED)["messageId"] == pushed(STARTED)["messageId"] == "550e8400-e:e:7"
    assert pushed(LAST)["messageId"] == "550e8400-e:e:7.1"
    later = msgspec.structs.replace(PROGRESS, uploaded_bytes=6)
    elsewhere = msgspec.structs.replace(PROGRESS, file_id="g")
    ids = [pushed(event)["messageId"] for event in (STARTED, LAST, PROGRESS, later, elsewhere)]
    assert len(set(ids)) == 5
    other = Topic("650e8400-e29b-41d4-a716-446655440000")
    assert pushed(STARTED, other)["messageId"] != pushed(STARTED)["messageId"]


@given(
    st.sampled_from([STARTED, COMPLETED, FAILED, CANCELLED, ENDED, TIMED_OUT, PROGRESS, PAUSE, LATCH, LAST])
)
@pytest.mark.parametrize("topic", [Topic(KEY), Topic(KEY, "f")])
def test_a_watch_key_stands_in_for_the_session_id(topic: Topic, event: Event) -> None:
    text = PushEncoder(topic, "zh").encode(event).decode()
    assert SID not in text
    assert SID[:8] not in text
    push = msgspec.json.decode(text)
    assert push["data"]["payload"]["sessionId"] == KEY
    assert push["data"]["topic"] == str(topic)


def test_only_equal_bytes_share_a_key() -> None:
    """Encoders with the same key that say `is_shared` must encode the same."""
    encoders = [
        PushEncoder(topic, language)
        for topic in (Topic(SID), Topic(KEY), Topic(SID, "f"), Topic(SID, "g"), Topic(KEY, "f"))
        for language in ("en", "zh")
    ]
    for event in (STARTED, COMPLETED, ENDED, PROGRESS, LATCH):
        by_key: dict[object, bytes] = {}
        for encoder in encoders:
            if encoder.is_shared(event):
                frame = encoder.encode(event)
                assert by_key.setdefault(encoder.key, frame) == frame
        assert len(by_key) >= 4


@pytest.mark.parametrize("event", [COMPLETED, FAILED, INTERRUPTED, ENDED, TIMED_OUT])
def test_chinese_texts(event: Event) -> None:
    data = pushed(event, language="zh")["data"]
    assert any("一" <= char <= "鿿" for char in data["title"])
    assert any("一" <= char <= "鿿" for char in data["content"])


def test_connection_status() -> None:
    status = connection_status("me", ConnectionStatus(status="connected"))
    assert msgspec.to_builtins(status) == {
        "entityType": "connection",
        "entityId": "me",
        "status": "connected",
        "event": "connection-status",
        "payload": {"status": "connected"},
    }
    topical = connection_status("me", ConnectionStatus(status="connected"), Topic(SID))
    assert topical.topic == f"session:{SID}"
