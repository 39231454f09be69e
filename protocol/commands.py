"""What a client may ask for: typed commands and registrations, the same on every wire.

Unknown fields are refused: a misspelt `fileId` must not turn "pause this file" into "pause them all".
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from penstock.protocol.decoding import convert
from penstock.protocol.errors import InvalidMessage
from penstock.protocol.names import check_file_id, check_file_name, check_session_reference

Reason = Annotated[str, Meta(max_length=500)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Since(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last fact a returning watcher saw."""

    epoch: str
    seq: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Command(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """A wish concerning a session; `session_id` may be a watch key where watching is enough."""

    session_id: str

    def __post_init__(self) -> None:
        check_session_reference(self.session_id)


class JoinSession(Command, frozen=True, kw_only=True):
    since: Since | None = None


class LeaveSession(Command, frozen=True, kw_only=True): ...


class UploadStart(Command, frozen=True, kw_only=True):
    file_ids: Annotated[list[str], Meta(min_length=1, max_length=50_000)]
    category: str


class UploadProgressCommand(Command, frozen=True, kw_only=True):
    """Either asks for the server's numbers at once, or tells the client's own."""

    file_id: str
    request_update: bool = False
    progress: Percent | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.request_update == (self.progress is not None):
            raise InvalidMessage("requestUpdate: give either requestUpdate: true or progress (0 to 100)")


class OnFiles(Command, frozen=True, kw_only=True):
    """On one file, or without `file_id` on the whole session."""

    file_id: str | None = None
    reason: Reason | None = None


class UploadPause(OnFiles, frozen=True, kw_only=True): ...


class UploadResume(OnFiles, frozen=True, kw_only=True): ...


class UploadCancel(OnFiles, frozen=True, kw_only=True): ...


COMMANDS: dict[str, type[Command]] = {
    "join-session": JoinSession,
    "leave-session": LeaveSession,
    "upload-start": UploadStart,
    "upload-progress": UploadProgressCommand,
    "upload-pause": UploadPause,
    "upload-resume": UploadResume,
    "upload-cancel": UploadCancel,
}


BY_BARE_ID = (JoinSession, LeaveSession)  # may also be given as just the session id


def parse_command(name: str, payload: object) -> Command:
    """A command from its name and its JSON payload; `join-session` and `leave-session` also take the bare id.

    Raises: InvalidMessage naming the field; InvalidSession.
    """
    wanted = COMMANDS.get(name)
    if wanted is None:
        raise InvalidMessage(f"type: {name[:40]!r} is not a command; there are {', '.join(COMMANDS)}")
    if isinstance(payload, str) and wanted in BY_BARE_ID:
        payload = {"sessionId": payload}
    return convert(payload, wanted, field="data")


class FileSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A file to be registered."""

    file_name: str
    file_id: str | None = None
    file_size: Size | None = None
    file_type: Annotated[str, Meta(max_length=255)] = ""

    def __post_init__(self) -> None:
        check_file_name(self.file_name)
        if self.file_id is not None:
            check_file_id(self.file_id)


class CreateSession(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`POST /api/upload/sessions`."""

    category: str | None = None
    files: list[FileSpec] = []
    open: bool = False
    metadata: dict[str, str] = {}


class RegisterFiles(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`POST /api/upload/sessions/{sid}/files`."""

    files: Annotated[list[FileSpec], Meta(min_length=1)]
