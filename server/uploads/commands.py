"""Start, pause, resume, cancel: operations on a session's files and on the scopes of their appends.

Commands state a wish: what is already so is fine and tells nothing. One runs at a time in a session; it waits
for the disk at most, never for a peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from penstock.protocol.commands import (
    UploadCancel,
    UploadPause,
    UploadProgressCommand,
    UploadResume,
    UploadStart,
)
from penstock.protocol.decoding import to_builtins
from penstock.protocol.errors import (
    FileNotFound,
    GatewayError,
    InsufficientPermissions,
    InvalidMessage,
    UploadAlreadyCompleted,
    UploadCancelled,
    UploadLocked,
    UploadNotStarted,
)
from penstock.protocol.lifecycle import Input, State, advance
from penstock.server.uploads import facts
from penstock.server.uploads.append import Append, StopReason
from penstock.server.uploads.file import LiveFile
from penstock.server.uploads.recovery import Recovery
from penstock.server.uploads.session import FactMaker, LiveSession
from penstock.storage.blobs.base import BlobStore
from penstock.storage.state.base import DropFinished

Answer = dict[str, Any]  # the ack's fields besides `ok`, as plain JSON values


class Commands:
    """Each returns the ack's fields. Raises: the refusal (nothing changed then); StoreError."""

    def __init__(self, blobs: BlobStore, recovery: Recovery) -> None:
        self._blobs = blobs
        self._recovery = recovery

    # Start

    async def start(self, session: LiveSession, command: UploadStart) -> Answer:
        """Admit files: all or nothing."""
        if command.category != session.row.category:
            raise InvalidMessage(f"category: the session's category is {session.row.category!r}")
        files = [find_listed(session, file_id) for file_id in dict.fromkeys(command.file_ids)]
        for file in files:
            await self._recovery.touch(session, file)
        async with session.lock:
            for file in files:
                wanted = Input.PAUSE if session.latched(file) else Input.START
                advance(file.row.state, wanted, file.circumstances())
            session.note_activity()
            await self._start_all(session, files)
        return {"fileIds": [file.file_id for file in files], "status": session.overall_status(session.now())}

    async def _start_all(self, session: LiveSession, files: Sequence[LiveFile]) -> None:
        makers: list[FactMaker] = []
        old_keys: list[str] = []
        for file in files:
            first = file.row.started_at is None
            if session.latched(file):
                if session.move(file, Input.PAUSE):
                    makers.append(partial(facts.progress, session, file, fact=True, status="paused"))
                continue
            if file.row.state is State.FAILED and not file.row.resumable_after_failure:
                first = True
                old_keys.append(file.row.blob_key)
                session.restart(file)
            session.move(file, Input.START)
            if first:
                with session.changing(file):
                    file.row.started_at = session.now()
                makers.append(partial(facts.started, file))
        await session.record(files, makers, hard=bool(old_keys))
        for key in old_keys:
            await self._blobs.delete(key)

    # Progress

    async def progress(self, session: LiveSession, command: UploadProgressCommand) -> Answer:
        """The server's numbers for the asker alone, or the client's own view noted."""
        file = find_listed(session, command.file_id)
        if command.progress is None:
            event = facts.progress(session, file, session.stamp())
            return {"fileId": file.file_id, "progress": to_builtins(event)}
        if file.row.state is State.PENDING:
            raise UploadNotStarted("the upload has not started; send its bytes or upload-start first")
        file.client_progress = command.progress
        session.version += 1
        return {"fileId": file.file_id, "clientProgress": command.progress}

    # Pause

    async def pause(self, session: LiveSession, command: UploadPause) -> Answer:
        """When it returns, the file does not grow until it is resumed."""
        if command.file_id is None:
            async with session.lock:
                return await self._pause_session(session)
        file = find_listed(session, command.file_id)
        await self._recovery.touch(session, file)
        async with session.lock:
            advance(file.row.state, Input.PAUSE, file.circumstances())  # refused before it holds anything up
            await self._quiet([file, *file.parts])
            changed = self._pause_quiet(session, file)
            await self._tell_pauses(session, [file] if changed else [])
            return _numbers(session, file)

    def _pause_quiet(self, session: LiveSession, file: LiveFile) -> bool:
        try:
            return session.move(file, Input.PAUSE)
        except GatewayError:  # its last byte was taken meanwhile: too late, for its partials as well
            if not session.latched(file):
                _open_gates(file.parts)
            raise

    async def _pause_session(self, session: LiveSession) -> Answer:
        _refuse_if_all_ended(session, "pause")
        first = not session.row.latch
        session.row.latch = True  # before any wait: appends that come now find it
        files = [file for file in session.files.values() if _can_pause(file)]
        await self._quiet([file for file in session.all_files if not _is_finishing(file)])
        changed = [file for file in files if _can_pause(file) and session.move(file, Input.PAUSE)]
        await self._tell_pauses(session, changed, latch=first and not changed)
        return _session_numbers(session, changed)

    async def _quiet(self, files: Sequence[LiveFile]) -> None:
        """Close the gates, then wait until what was taken is written."""
        while running := [file.append for file in files if file.append and not file.append.parked]:
            for append in running:
                append.close_gate()
            for append in running:
                await append.wait_parked()
            # Then look again: another one may have taken its place.

    async def _tell_pauses(
        self, session: LiveSession, changed: Sequence[LiveFile], *, latch: bool = False
    ) -> None:
        """Commit. Facts of files without a running append go out at once; of the others when their bytes are
        durable, by their appends."""
        session.note_activity()
        quiet = [file for file in changed if file.append is None]
        writing = [(file, file.append) for file in changed if file.append is not None]
        makers = [partial(facts.progress, session, file, fact=True, status="paused") for file in quiet]
        if latch:
            makers = [partial(facts.session_progress, session, fact=True)]
        await session.record(changed, makers)
        late = [file for file, append in writing if not append.confirm_pause()]
        if late:
            await session.record_pause(late)

    # Resume

    async def resume(self, session: LiveSession, command: UploadResume) -> Answer:
        """Lift a pause: of one file, or the latch with every single pause and exemption."""
        if command.file_id is None:
            async with session.lock:
                return await self._resume_session(session)
        file = find_listed(session, command.file_id)
        await self._recovery.touch(session, file)
        async with session.lock:
            held = file.row.state is State.PAUSED or session.latched(file)
            advance(file.row.state, Input.RESUME, file.circumstances())
            if session.row.latch:
                file.row.exempt = True
            await self._lift(session, [file] if held else [], silent=[file])
            return _numbers(session, file)

    async def _resume_session(self, session: LiveSession) -> Answer:
        if not session.row.latch:  # it would hold a failed file's new attempt for ever
            _refuse_if_all_ended(session, "resume")
        latched, session.row.latch = session.row.latch, False
        exempt = [file for file in session.files.values() if file.row.exempt]
        for file in exempt:
            file.row.exempt = False
        paused = [file for file in session.files.values() if file.row.state is State.PAUSED]
        await self._lift(session, paused, silent=exempt, latch=latched and not paused)
        _open_gates(session.all_files)  # a failed file's new attempt was held without being paused
        return _session_numbers(session, paused)

    async def _lift(
        self,
        session: LiveSession,
        files: Sequence[LiveFile],
        *,
        silent: Sequence[LiveFile] = (),
        latch: bool = False,
    ) -> None:
        session.note_activity()
        for append in [file.append for file in files if file.append is not None]:
            await append.wait_pause_told()  # or its fact would come after this one
        for file in files:
            session.move(file, Input.RESUME)
        makers = [partial(facts.progress, session, file, fact=True, status="uploading") for file in files]
        if latch:
            makers = [partial(facts.session_progress, session, fact=True)]
        rows = {file.file_id: file for file in (*files, *silent)}
        await session.record([*rows.values()], makers)
        for file in files:
            _open_gates([file, *file.parts])
        session.changed.unpark_all()

    # Cancel

    async def cancel(self, session: LiveSession, command: UploadCancel) -> Answer:
        """Stop the requests, remove the bytes; when it returns nothing that costs is left."""
        reason = command.reason or "cancelled"
        if command.file_id is None:
            _refuse_if_all_completed(session)
            files = [file for file in session.all_files if not file.ended or file.visitors]
            await self.cancel_files(session, files, reason, whole_session=True)
            return _session_numbers(session, files)
        file = find_listed(session, command.file_id)
        if file.row.state is State.COMPLETED:
            raise UploadAlreadyCompleted("the file is complete and can no longer be cancelled")
        await self.cancel_files(session, [file], reason)
        return _numbers(session, file)

    async def terminate(self, session: LiveSession, file: LiveFile) -> None:
        """As its own client asks over its upload URL: also a finished file goes.

        Raises: UploadCancelled when it is gone already, InsufficientPermissions.
        """
        row = file.row
        if row.state is State.CANCELLED or row.removed:
            raise UploadCancelled("the upload is gone already")
        if row.state is not State.COMPLETED:
            with suppress(UploadAlreadyCompleted):  # it is finished by now
                await self.cancel_files(session, [file], "terminated", removed=True)
                return
        if not session.settings.terminate_finished:
            raise InsufficientPermissions("the file is finished, and finished files are not removed here")
        async with session.lock:
            row.removed = True
            name = row.stored_name or ""
            await session.record([file], extra=[DropFinished(session.row.category, name)], hard=True)
            await self._blobs.unpublish(session.row.category, name)

    async def cancel_files(
        self,
        session: LiveSession,
        files: Sequence[LiveFile],
        reason: str,
        *,
        whole_session: bool = False,
        removed: bool = False,
    ) -> None:
        """Cancel what can still be cancelled of these, and their partials. `removed`: they are gone at once,
        see `FileRow`.

        Raises: UploadLocked or UploadAlreadyCompleted when one was meant and it got too far; StoreError.
        """
        for file in files:
            if _is_finishing(file) and file.append is None:
                await self._recovery.touch(session, file)  # after a fault it may be in its place already
        for visit in _visitors(files):
            visit.stop(StopReason.CANCELLED)
        async with session.lock:
            while visits := _visitors(files):  # others may come while we wait
                for visit in visits:
                    visit.stop(StopReason.CANCELLED)
                await visits[0].done.wait()
            files = _with_parts(files)  # some may have come while we waited
            makers: list[FactMaker] = []
            for file in files:
                uploaded_bytes = file.durable
                changed = self._cancel_one(session, file, alone=not whole_session)
                file.row.removed |= removed and file.row.state in (State.CANCELLED, State.FAILED)
                if changed and not file.row.is_partial:
                    makers.append(partial(facts.cancelled, file, reason, uploaded_bytes))
            if whole_session:
                session.row.open = False
            session.note_activity()
            if session.row.hidden:
                session.row.ended_at = session.now()  # nothing else is in it
            ended = [file for file in files if file.row.state in (State.CANCELLED, State.FAILED)]
            await session.record(ended, makers, hard=True)
            for file in ended:
                await self._blobs.delete(file.row.blob_key)

    def _cancel_one(self, session: LiveSession, file: LiveFile, *, alone: bool) -> bool:
        try:
            changed = session.move(file, Input.CANCEL)
        except (UploadLocked, UploadAlreadyCompleted):
            if alone:
                raise
            return False
        with session.changing(file):
            file.received = file.durable = file.row.synced = 0
            file.row.resumable_after_failure = False
        return changed


def find_listed(session: LiveSession, file_id: str) -> LiveFile:
    """A file that others than its own client may know of: no partial. Raises: FileNotFound."""
    file = session.files.get(file_id)
    if file is None:
        raise FileNotFound("fileId: there is no such file in this session")
    return file


def find_file(session: LiveSession, file_id: str) -> LiveFile:
    """A file or a partial. Raises: FileNotFound."""
    file = session.find(file_id)
    if file is None:
        raise FileNotFound("fileId: there is no such file in this session")
    return file


def _with_parts(files: Sequence[LiveFile]) -> list[LiveFile]:
    return list(dict.fromkeys(one for file in files for one in (file, *file.parts)))


def _visitors(files: Sequence[LiveFile]) -> list[Append]:
    return [visit for file in _with_parts(files) for visit in file.visitors]


def _open_gates(files: Sequence[LiveFile]) -> None:
    for file in files:
        if file.append is not None:
            file.append.open_gate()


def _can_pause(file: LiveFile) -> bool:
    return not file.ended and not _is_finishing(file)


def _is_finishing(file: LiveFile) -> bool:
    return file.row.state is State.FINISHING


def _refuse_if_all_ended(session: LiveSession, verb: str) -> None:
    if session.files and all(file.ended for file in session.files.values()) and not session.row.open:
        raise UploadAlreadyCompleted(f"nothing to {verb}: every file of the session has ended")


def _refuse_if_all_completed(session: LiveSession) -> None:
    """Cancelling what has been cancelled, or has failed, is fine."""
    files = session.files.values()
    if files and not session.row.open and all(file.row.state is State.COMPLETED for file in files):
        raise UploadAlreadyCompleted("nothing to cancel: every file of the session is complete")


def _numbers(session: LiveSession, file: LiveFile) -> Answer:
    return {
        "fileId": file.file_id,
        "status": facts.public_status(file.row.state),
        "overallStatus": session.overall_status(session.now()).value,
        "uploadedBytes": file.arrived_bytes,
        "durableBytes": file.durable,
    }


def _session_numbers(session: LiveSession, changed: Sequence[LiveFile]) -> Answer:
    return {
        "overallStatus": session.overall_status(session.now()).value,
        "fileIds": [file.file_id for file in changed if not file.row.is_partial][:500],
        "uploadedBytes": session.tally.received_bytes,
    }
