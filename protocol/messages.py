"""What `message` says in progress events: one catalogue, English and Chinese."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from penstock.protocol.events import CurrentFile, Event, UploadProgress

LANGUAGES = ("en", "zh")

_OVERALL = {
    "pending": ("Waiting for files", "等待上传"),
    "uploading": ("Uploading", "正在上传"),
    "paused": ("Upload paused", "上传已暂停"),
    "completed": ("All files uploaded", "所有文件上传完成"),
    "partial": ("Some files were not uploaded", "部分文件上传失败"),
    "failed": ("Upload failed", "上传失败"),
    "cancelled": ("Upload cancelled", "上传已取消"),
}
_FILE = {
    "pending": ("{name} is waiting", "{name} 等待上传"),
    "uploading": ("Uploading {name}", "正在上传 {name}"),
    "paused": ("{name} is paused", "{name} 已暂停"),
    "finishing": ("Finishing {name}", "正在处理 {name}"),
    "completed": ("{name} uploaded", "{name} 上传完成"),
    "failed": ("{name} failed", "{name} 上传失败"),
    "cancelled": ("{name} cancelled", "{name} 已取消"),
}


def choose_language(wanted: str) -> str:
    """The catalogue's language for a `lang` parameter or an `Accept-Language` header; English otherwise.

    The first range that we have wins; weights are ignored, browsers list in order of preference.
    """
    for part in wanted.split(","):
        primary = part.split(";", 1)[0].strip().lower().replace("_", "-").split("-", 1)[0]
        if primary in LANGUAGES:
            return primary
    return "en"


def message_text(overall: str, current: CurrentFile | None, language: str) -> str:
    """The sentence for a session's status, or for the file it is about."""
    column = LANGUAGES.index(language)
    if current is not None and overall in ("uploading", "pending"):
        return _FILE[current.status][column].format(name=current.original_name)
    return _OVERALL[overall][column]


def as_seen(event: Event, reference: str, language: str) -> Event:
    """The event for those who read a language, and know its session by its id or its watch key."""
    if event.session_id != reference:
        event = msgspec.structs.replace(event, session_id=reference)
    return in_language(event, language) if isinstance(event, UploadProgress) else event


def in_language(event: UploadProgress, language: str) -> UploadProgress:
    """The same progress with its `message` in that language."""
    current = None if event.current_file is UNSET else event.current_file
    return msgspec.structs.replace(event, message=message_text(event.overall_status, current, language))
