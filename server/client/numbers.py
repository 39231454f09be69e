"""What the server says about a session: the newest numbers of every file, and of all together.

Nothing here is the client's own guess: what a bar shows is what the server has taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec
import trio

from penstock.protocol.events import (
    Event,
    UploadCancelled,
    UploadCompleted,
    UploadFailed,
    UploadProgress,
    UploadStarted,
)
from penstock.protocol.snapshot import FileView

ENDED = frozenset({"completed", "partial", "failed", "cancelled"})  # of a session


class FileNumbers:
    """One file. `size` is None while nobody knows it; sizes in bytes, `speed` in bytes/s."""

    def __init__(self, file_id: str, name: str, size: int | None) -> None:
        self.file_id = file_id
        self.name = name
        self.size = size
        self.uploaded = 0
        self.speed = 0.0
        self.status = "pending"
        self.attempt = 1
        self.upload_path = ""
        self.problem = ""
        self._is_final = False
        self.on_cancelled: Callable[[], None] | None = None
        self._on_paused: Callable[[bool], None] | None = None
        self._changed = trio.Event()

    @property
    def paused(self) -> bool:
        return self.status == "paused"

    @property
    def left_s(self) -> float:
        """-1 where it cannot be told."""
        if self.size is None or self.speed <= 0:
            return -1.0
        return max(self.size - self.uploaded, 0) / self.speed

    def note_offset(self, offset: int, *, paused: bool | None) -> None:
        """A direct answer about this file, which is never older than what was told before it."""
        self.uploaded = max(self.uploaded, offset)
        if paused is not None and paused is not self.paused:
            self.set_status("paused" if paused else "uploading")

    def note_view(self, view: FileView) -> None:
        self._note_bytes(view.attempt, view.uploaded_bytes)
        self.size = self.size if view.file_size is None else view.file_size
        self.upload_path = view.upload_path or ""
        self._note_problem(view.error.message if view.error else "")
        self.set_status("retrying" if view.can_retry else view.status)

    def note_event(self, event: Event) -> None:
        match event:
            case UploadProgress():
                self._note_bytes(event.attempt, event.uploaded_bytes)
                self.speed = event.speed
                if event.current_file:
                    status = event.current_file.status
                    self.set_status("retrying" if status == "failed" else status)
            case UploadStarted():
                self.set_status("uploading")
            case UploadCompleted():
                self.size = self.uploaded = event.file_size
                self.upload_path = event.upload_path
                self.set_status("completed")
            case UploadFailed():
                self._note_problem(event.error.message)
                self.set_status("retrying" if event.can_retry else "failed")
            case UploadCancelled():
                self.set_status("cancelled")

    def fail(self, problem: str) -> None:
        """Given up by this client, whatever the server says of it from now on."""
        self.set_status("failed")
        self.problem = problem
        self._is_final = True

    def set_status(self, status: str) -> None:
        if status == self.status or self._is_final:
            return
        self.status = status
        self._is_final = status in ("completed", "cancelled")
        if status != "uploading":
            self.speed = 0.0
        self._changed.set()
        self._changed = trio.Event()
        if self._on_paused is not None:
            self._on_paused(self.paused)
        if status == "cancelled" and self.on_cancelled is not None:
            self.on_cancelled()

    async def wait_resumed(self) -> None:
        while self.paused:
            await self._changed.wait()

    @contextmanager
    def sending(self, on_paused: Callable[[bool], None]) -> Iterator[None]:
        """While a request runs, it hears of pauses."""
        self._on_paused = on_paused
        on_paused(self.paused)
        try:
            yield
        finally:
            self._on_paused = None

    def _note_problem(self, problem: str) -> None:
        if not self._is_final:
            self.problem = problem

    def _note_bytes(self, attempt: int, uploaded: int) -> None:
        """Answers and events overtake each other; within an attempt nothing goes down."""
        if attempt > self.attempt:
            self.attempt, self.uploaded = attempt, uploaded
        elif attempt == self.attempt:
            self.uploaded = max(self.uploaded, uploaded)


_EVENTS: dict[str, type[Event]] = {
    kind.NAME: kind
    for kind in (UploadStarted, UploadProgress, UploadCompleted, UploadFailed, UploadCancelled)
}


class Numbers:
    """All files of a session, by id, in order of registration."""

    def __init__(self, files: Iterable[FileNumbers]) -> None:
        self.files = {file.file_id: file for file in files}
        self.active: list[FileNumbers] = []  # being sent from here

    def note(self, name: str, payload: object) -> None:
        """An event, or what it calls a snapshot; unknown ones are ignored."""
        if name == "snapshot":
            self._note_snapshot(payload)
        elif kind := _EVENTS.get(name):
            event = msgspec.convert(payload, kind)
            if file := self.files.get(getattr(event, "file_id", None) or ""):
                file.note_event(event)

    def _note_snapshot(self, payload: object) -> None:
        for view in msgspec.convert(payload, _Files).files:
            if file := self.files.get(view.file_id):
                file.note_view(view)

    @property
    def size(self) -> int | None:
        """None where a file's size is not known."""
        sizes = [file.size for file in self.files.values()]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def uploaded(self) -> int:
        return sum(file.uploaded for file in self.files.values())

    @property
    def speed(self) -> float:
        return sum(file.speed for file in self.active)

    @property
    def left_s(self) -> float:
        size, speed = self.size, self.speed
        return -1.0 if size is None or speed <= 0 else max(size - self.uploaded, 0) / speed

    def count(self, status: str) -> int:
        return sum(file.status == status for file in self.files.values())


class _Files(msgspec.Struct):
    files: list[FileView]
