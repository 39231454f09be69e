"""Sessions and files come into being: checked whole, reserved, committed, then known."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import msgspec

from penstock.protocol.commands import CreateSession, FileSpec
from penstock.protocol.errors import FileSizeExceeded, InvalidMessage, ServerBusy, UnsupportedFormat
from penstock.protocol.lifecycle import Input, State, advance
from penstock.protocol.names import (
    ORDERED_NOISE_BYTES,
    UPLOAD_NOISE_BYTES,
    file_id,
    stored_name,
    upload_id,
    watch_key,
)
from penstock.protocol.times import iso
from penstock.server.settings import Settings
from penstock.server.uploads.actor import Actor
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.idempotency import IdempotencyKey, remembered
from penstock.server.uploads.registry import Registry
from penstock.server.uploads.session import LiveSession
from penstock.server.uploads.space import Space
from penstock.server.uploads.views import tus_url, upload_url
from penstock.storage.state.base import FileRow, SessionRow

Created = dict[str, Any]  # the answer's body, as plain JSON values
WHOLE = advance(advance(State.PENDING, Input.START), Input.LAST_BYTE)  # of a file that came at once


class Creation:
    """Makes sessions and registers files. Raises on bad input, and then nothing was made."""

    def __init__(
        self, registry: Registry, space: Space, settings: Settings, server_key: bytes, boot_id: str
    ) -> None:
        self._registry = registry
        self._space = space
        self._settings = settings
        self._server_key = server_key
        self._boot_id = boot_id

    async def create(
        self, actor: Actor, wanted: CreateSession, idempotency: IdempotencyKey | None, now: float
    ) -> Created:
        """A new session with its first files. Raises: InvalidMessage, FileSizeExceeded, …; StoreError."""
        self._check_metadata(wanted.metadata)
        category = self._category(wanted.category)
        self._check_files(wanted.files, have=())
        await self._space.check(_declared_bytes(wanted.files))
        session = self._open(actor, category, now, open=wanted.open, metadata=wanted.metadata)
        files = [session.add_file(self._row(session, spec)) for spec in wanted.files]
        answer = {
            "sessionId": session.session_id,
            "watchKey": session.row.watch_key,
            "category": category,
            "overallStatus": session.overall_status(now).value,
            "files": [_registered(session, file) for file in files],
            "expiresAt": iso(now + self._settings.retention_s),
        }
        await session.record(files, extra=remembered(idempotency, session.session_id, answer, now), hard=True)
        return answer

    async def register(
        self,
        session: LiveSession,
        specs: Sequence[FileSpec],
        idempotency: IdempotencyKey | None,
    ) -> Created:
        """More files for a session; reopens it if it had ended. Raises: as `create`."""
        await self._space.check(_declared_bytes(specs))
        self._check_files(specs, have=session.files)
        session.note_activity()
        files = [session.add_file(self._row(session, spec)) for spec in specs]
        answer = {
            "sessionId": session.session_id,
            "overallStatus": session.overall_status(session.now()).value,
            "files": [_registered(session, file) for file in files],
        }
        extra = remembered(idempotency, session.session_id, answer, session.now())
        await session.record(files, extra=extra, hard=True)
        return answer

    async def session_for_one(
        self, actor: Actor, spec: FileSpec, category: str | None, metadata: dict[str, str], now: float
    ) -> tuple[LiveSession, LiveFile]:
        """A session for this one file, in memory only: the caller commits both. Raises: as `create`."""
        self._check_metadata(metadata)
        name = self._category(category)
        self._check_files([spec], have=())
        await self._space.check(_declared_bytes([spec]))
        session = self._open(actor, name, now, metadata=metadata)
        return session, session.add_file(self._row(session, spec))

    def hidden_session(self, actor: Actor, now: float) -> LiveSession:
        """Where a partial lies that is part of no file. In memory only."""
        return self._open(actor, self._category(None), now, hidden=True)

    def partial_row(self, session: LiveSession, spec: FileSpec, part_of: str | None) -> FileRow:
        """The row of a partial, not yet added. Its name cannot be a client's. Raises: FileSizeExceeded."""
        self._check_size(0, spec)
        row = self._row(session, spec)
        row.file_id = f"+{row.upload_id}"
        row.position = len(session.partials)
        row.upload_concat, row.part_of = "partial", part_of
        return row

    def check_length(self, length: int) -> None:
        """Of an upload with a URL of its own. Raises: FileSizeExceeded."""
        limit = self._settings.max_file_bytes
        if limit and length > limit:
            raise FileSizeExceeded(
                f"Upload-Length: at most {limit} bytes are allowed", details={"maxFileBytes": limit}
            )

    def check_category(self, session: LiveSession, category: str | None) -> None:
        """Raises: InvalidMessage when it is not the session's."""
        if category is not None and category != session.row.category:
            raise InvalidMessage(f"category: the session's category is {session.row.category!r}")

    def _open(self, actor: Actor, category: str, now: float, **more: Any) -> LiveSession:
        session_id = str(uuid4())
        row = SessionRow(
            session_id=session_id,
            watch_key=watch_key(self._server_key, session_id),
            category=category,
            subject=actor.subject,
            created_at=now,
            active_at=now,
            **more,
        )
        return self._registry.add(row, [])

    def enrol(self, session: LiveSession, spec: FileSpec) -> LiveFile:
        """One more file, in memory only: the caller commits it. Raises: ServerBusy, UnsupportedFormat, …"""
        self._check_files([spec], have=session.files)
        return session.add_file(self._row(session, spec))

    def enrol_whole(self, session: LiveSession, spec: FileSpec, size: int, now: float) -> LiveFile:
        """As `enrol`, a file that came whole and is about to be put into its place."""
        self._check_room(len(session.files) + 1)
        self._check_format(0, spec)
        row = self._row(session, spec, now)
        row.state, row.started_at, row.file_size = WHOLE, now, size
        row.stored_name = stored_name(
            self._server_key, row.session_id, row.file_id, row.attempt, now, row.file_name
        )
        return session.add_file(row)

    def _row(self, session: LiveSession, spec: FileSpec, now: float | None = None) -> FileRow:
        now = session.now() if now is None else now
        noise = secrets.token_bytes(UPLOAD_NOISE_BYTES + ORDERED_NOISE_BYTES)
        return FileRow(
            session_id=session.session_id,
            file_id=spec.file_id or file_id(now, noise[UPLOAD_NOISE_BYTES:]),
            position=len(session.files),
            upload_id=upload_id(now, noise),
            file_name=spec.file_name,
            file_type=spec.file_type,
            file_size=spec.file_size,
            size_is_declared=spec.file_size is not None,
            promise=self._settings.fsync,
            boot_id=self._boot_id,
        )

    def _category(self, wanted: str | None) -> str:
        allowed = self._settings.categories
        if wanted is None:
            return allowed[0]
        if wanted not in allowed:
            raise InvalidMessage(
                f"category: must be one of {', '.join(allowed)}", details={"allowed": list(allowed)}
            )
        return wanted

    def _check_metadata(self, metadata: dict[str, str]) -> None:
        limit = self._settings.max_metadata_bytes
        if len(msgspec.json.encode(metadata)) > limit:
            raise InvalidMessage(f"metadata: at most {limit} bytes as JSON are allowed")

    def _check_files(self, specs: Sequence[FileSpec], have: Sequence[str] | dict[str, LiveFile]) -> None:
        self._check_room(len(have) + len(specs))
        seen: set[str] = set()
        for index, spec in enumerate(specs):
            if spec.file_id is not None and (spec.file_id in have or spec.file_id in seen):
                raise InvalidMessage(f"files[{index}].fileId: is already taken in this session")
            seen.add(spec.file_id or "")
            self._check_size(index, spec)
            self._check_format(index, spec)

    def _check_room(self, files: int) -> None:
        most = self._settings.max_session_files
        if files > most:
            raise ServerBusy(f"files: a session holds at most {most} files; create another session")

    def _check_size(self, index: int, spec: FileSpec) -> None:
        limit = self._settings.max_file_bytes
        if limit and (spec.file_size or 0) > limit:
            raise FileSizeExceeded(
                f"files[{index}].fileSize: at most {limit} bytes are allowed", details={"maxFileBytes": limit}
            )

    def _check_format(self, index: int, spec: FileSpec) -> None:
        allowed = self._settings.allowed_formats
        if not allowed:
            return
        extension = spec.file_name.rpartition(".")[2].lower()
        media_type = spec.file_type.partition(";")[0].strip().lower()
        if extension not in allowed and media_type not in allowed:
            raise UnsupportedFormat(
                f"files[{index}].fileName: only {', '.join(allowed)} are accepted here",
                details={"allowed": list(allowed)},
            )


def _declared_bytes(specs: Sequence[FileSpec]) -> int:
    return sum(spec.file_size or 0 for spec in specs)


def _registered(session: LiveSession, file: LiveFile) -> dict[str, Any]:
    return {
        "fileId": file.file_id,
        "fileName": file.row.file_name,
        "fileSize": file.row.file_size,
        "uploadUrl": upload_url(session.session_id, file.file_id),
        "tusUrl": tus_url(file.row.upload_id),
    }
