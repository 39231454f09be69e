"""How a session and its files look when asked for: the snapshot, one page of it, and a file's view."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from penstock.protocol.errors import InvalidMessage
from penstock.protocol.events import ErrorInfo

MAX_FILES = 500
MAX_BYTES = 48 * 1024
_HEAD_BYTES = 2048  # what a page needs besides its files; metadata is counted apart


class FileView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One file. `status` shows retrying as failed with `canRetry: true`."""

    file_id: str
    file_name: str
    file_size: int | None
    file_type: str
    status: str
    can_retry: bool
    progress: float
    uploaded_bytes: int
    durable_bytes: int
    attempt: int
    upload_url: str | UnsetType = UNSET  # for those who may write
    tus_url: str | UnsetType = UNSET  # likewise
    upload_path: str | UnsetType = UNSET  # once completed
    error: ErrorInfo | UnsetType = UNSET
    client_progress: float | UnsetType = UNSET
    digest: str | UnsetType = UNSET


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session as of fact `seq`. To a holder of the watch key `sessionId` is that key."""

    session_id: str
    watch_key: str
    category: str
    overall_status: str
    total_progress: float
    completed_files: int
    failed_files: int
    paused: bool  # the session latch
    open: bool
    files: list[FileView]
    files_total: int
    cursor: str | None
    seq: int
    epoch: str
    created_at: str
    expires_at: str
    metadata: dict[str, str] | UnsetType = UNSET


class PageCursor(msgspec.Struct, frozen=True):
    """Where a page of files begins: unfinished files come first, each group in order of registration."""

    ended: bool = False
    after: int = -1

    def __str__(self) -> str:
        return f"{'e' if self.ended else 'u'}{self.after}"


def parse_cursor(text: str) -> PageCursor:
    """Raises: InvalidMessage."""
    if text[:1] in ("u", "e") and text[1:].isascii() and text[1:].isdigit() and len(text) < 12:
        return PageCursor(ended=text[0] == "e", after=int(text[1:]))
    raise InvalidMessage("cursor: pass the cursor of the page before as it is")


def fill_page(
    views: Iterable[tuple[PageCursor, FileView]], used_bytes: int
) -> tuple[list[FileView], str | None]:
    """As many files as a page holds (at least one), and the cursor of the next page if there are more."""
    page: list[FileView] = []
    room = MAX_BYTES - _HEAD_BYTES - used_bytes
    last = PageCursor()
    for cursor, view in views:
        room -= len(msgspec.json.encode(view)) + 1
        if page and (len(page) == MAX_FILES or room < 0):
            return page, str(last)
        page.append(view)
        last = cursor
    return page, None
