"""How events look in the envelope: which type, which texts, which ids.

A push is a pure function of its event, its topic and its language, so that it is encoded once for all
watchers, and a replayed fact carries the very `messageId` it had the first time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from penstock.protocol.envelope import Message, MessageType, Topic, encode
from penstock.protocol.events import (
    ConnectionStatus,
    Event,
    SessionCompleted,
    SessionError,
    UploadCancelled,
    UploadCompleted,
    UploadFailed,
    UploadProgress,
    UploadStarted,
)
from penstock.protocol.messages import LANGUAGES, as_seen
from penstock.protocol.names import is_watch_key

Level = Literal["info", "success", "warning", "error"]


class Data(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The newest numbers. `event` and `payload` are the name and the payload the event has on Socket.IO."""

    topic: str
    event: str
    payload: object


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something has another status now: a file, a session, or the connection (which has no topic)."""

    entity_type: Literal["file", "session", "connection"]
    entity_id: str
    status: str
    topic: str | UnsetType = UNSET
    event: str
    payload: object


class Notification(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something people want to know: plain text, never markup."""

    title: str
    content: str
    level: Level
    topic: str
    event: str
    payload: object


# In the order of LANGUAGES: title, content.
_COMPLETED = (("Upload complete", "{name} was uploaded"), ("上传完成", "{name} 上传完成"))
_FAILED = (("Upload failed", "{name}: {reason}"), ("上传失败", "{name} 上传失败（{code}）"))
_INTERRUPTED = (
    ("Upload interrupted", "{name} was interrupted; it can be continued"),
    ("上传中断", "{name} 上传中断，可以继续上传"),
)
_ALL_ENDED = (
    ("Session complete", "{done} of {total} files uploaded"),
    ("会话完成", "成功上传 {done}/{total} 个文件"),
)
_TIMED_OUT = (("Session timed out", "{reason}"), ("会话超时", "会话长时间没有活动，可以随时继续上传"))
_TROUBLE = (("Session error", "{reason}"), ("会话错误", "服务器出现问题（{code}），请稍后再试"))


class PushEncoder:
    """Encodes the events of one topic in one language; `key` is the same where the bytes are.

    A watch key as the topic's session stands in for the session id in all that is encoded.
    """

    def __init__(self, topic: Topic, language: str) -> None:
        self._topic = topic
        self._text = str(topic)
        self._language = language
        # Of file topics only events about that file may share frames: see `is_shared`.
        self.key = ("envelope", language, is_watch_key(topic.session), topic.file_id is None)

    def is_shared(self, event: Event) -> bool:
        """Whether all encoders with this `key` encode the event to the same bytes."""
        return self._topic.file_id is None or getattr(event, "file_id", None) == self._topic.file_id

    def encode(self, event: Event) -> bytes:
        """One frame."""
        kind, data = self._data(event)
        message = Message(
            type=kind,
            data=data,
            timestamp=occurred_ms(event),
            message_id=self.message_id(event),
            sequence=event.seq,
        )
        return encode(message)

    def message_id(self, event: Event) -> str:
        """The id of an event's message: the same whenever it is encoded, and another for each event."""
        return f"{self._topic.session[:10]}:{_event_id(event)}"

    def _data(self, event: Event) -> tuple[MessageType, Data | Status | Notification]:
        event = as_seen(event, self._topic.session, self._language)
        match event:
            case UploadProgress() if event.fact is not True:
                return MessageType.DATA, Data(topic=self._text, event=event.NAME, payload=event)
            case UploadCompleted() | UploadFailed() | SessionCompleted() | SessionError():
                return MessageType.NOTIFICATION, self._notification(event)
        return MessageType.STATUS, self._status(event)

    def _status(self, event: Event) -> Status:
        file_id: str | None = getattr(event, "file_id", None)
        return Status(
            entity_type="session" if file_id is None else "file",
            entity_id=file_id or self._topic.session,
            status=_status(event),
            topic=self._text,
            event=event.NAME,
            payload=event,
        )

    def _notification(self, event: Event) -> Notification:
        level, texts, values = _news(event)
        title, content = texts[LANGUAGES.index(self._language)]
        return Notification(
            title=title,
            content=content.format(**values),
            level=level,
            topic=self._text,
            event=event.NAME,
            payload=event,
        )


def is_important(event: Event) -> bool:
    """Whether it is worth an ack: notifications, and statuses that are final."""
    return not isinstance(event, UploadProgress | UploadStarted)


def connection_status(client_id: str, payload: ConnectionStatus, topic: Topic | None = None) -> Status:
    """The status of the connection itself, or of one of its topics."""
    return Status(
        entity_type="connection",
        entity_id=client_id,
        status=payload.status,
        topic=UNSET if topic is None else str(topic),
        event=payload.NAME,
        payload=payload,
    )


def occurred_ms(event: Event) -> int:
    """When the event happened, in milliseconds since 1970."""
    match event:
        case UploadStarted():
            time = event.start_time
        case UploadCompleted() | SessionCompleted():
            time = event.end_time
        case UploadFailed():
            time = event.failed_at
        case UploadCancelled():
            time = event.cancelled_at
        case UploadProgress() | SessionError():
            time = event.timestamp
        case _:
            raise AssertionError(f"{type(event).__name__} has no time")
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def _event_id(event: Event) -> str:
    """Facts are told apart by their number; of progress each sample is a message of its own."""
    if not isinstance(event, UploadProgress) or event.fact is True:
        return f"{event.epoch}:{event.seq}"
    if event.file_id is None:  # the last word, right behind `session-completed`
        return f"{event.epoch}:{event.seq}.1"
    return f"{event.epoch}:{event.seq}:{event.file_id}:{occurred_ms(event)}:{event.uploaded_bytes}"


def _status(event: Event) -> str:
    match event:
        case UploadProgress():
            return event.overall_status if event.current_file is UNSET else event.current_file.status
        case UploadCancelled():
            return "cancelled"
        case _:
            return "uploading"


def _news(event: Event) -> tuple[Level, tuple[tuple[str, str], ...], dict[str, object]]:
    match event:
        case UploadCompleted():
            return "success", _COMPLETED, {"name": event.file_name}
        case UploadFailed(error=error):
            values: dict[str, object] = {"name": event.file_name, "reason": error.message, "code": error.code}
            return ("warning", _INTERRUPTED, values) if event.can_retry else ("error", _FAILED, values)
        case SessionCompleted(summary=summary):
            whole = summary.completed_files == summary.total_files
            values = {"done": summary.completed_files, "total": summary.total_files}
            return "success" if whole else "warning", _ALL_ENDED, values
        case SessionError(error=error):
            texts = _TIMED_OUT if error.code == "SESSION_TIMEOUT" else _TROUBLE
            level: Level = "error" if event.action == "stop" else "warning"
            return level, texts, {"reason": error.message, "code": error.code}
    raise AssertionError(f"{type(event).__name__} is no news")
