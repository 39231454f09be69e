"""What became of each part of a form."""

from __future__ import annotations

import msgspec

from penstock.protocol.errors import GatewayError, UploadCancelled
from penstock.protocol.events import ErrorInfo
from penstock.protocol.multipart_form import PartHead
from penstock.protocol.snapshot import FileView
from penstock.server.uploads.small import Stored


class PartResult(msgspec.Struct, rename="camel", omit_defaults=True):
    file_id: str | None
    field_name: str
    file_name: str
    ok: bool
    status: str
    upload_path: str | msgspec.UnsetType = msgspec.UNSET
    error: ErrorInfo | msgspec.UnsetType = msgspec.UNSET


def stored(head: PartHead, file: Stored) -> PartResult:
    return PartResult(
        file_id=file.file_id,
        field_name=head.name,
        file_name=head.filename or "",
        ok=True,
        status="completed",
        upload_path=file.upload_path,
    )


def refused(head: PartHead, error: GatewayError, view: FileView | None) -> PartResult:
    """`view` is the file's, where there is one."""
    return PartResult(
        file_id=view.file_id if view else None,
        field_name=head.name,
        file_name=head.filename or "",
        ok=False,
        status=_status(error, view),
        error=ErrorInfo(error.wire.code, error.message),
    )


def _status(error: GatewayError, view: FileView | None) -> str:
    if isinstance(error, UploadCancelled):
        return "cancelled"  # or about to be: the command waits until its request has let go
    return view.status if view else "failed"
