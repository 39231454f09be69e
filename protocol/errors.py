"""Every error a client can meet, and what it looks like on each wire.

One type per code; `WIRE` is the one table. `message` is for people and names the fix where there is one,
`code` is a stable interface, `details` is machine-readable help (the right offset, the allowed values).
"""

from __future__ import annotations

from typing import NamedTuple, Self

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None


class Wire(NamedTuple):
    """How one error looks: its name, its number on the envelope, its HTTP status."""

    code: str
    envelope: int
    http: int


class GatewayError(Exception):
    """Something a client asked for that is answered with an error, and changed nothing.

    `details` is sent to the client as it is; `headers` are extra HTTP response headers.
    """

    def __init__(
        self, message: str, *, details: dict[str, JSON] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or {}
        self.headers = headers or {}

    @classmethod
    def on_input(cls, got: str, state: str) -> Self:
        """The refusal of a lifecycle input in a state."""
        return cls(f"{got} is refused: the file is {state}", details={"status": state})

    @property
    def wire(self) -> Wire:
        """Of the nearest type the table knows."""
        return next(WIRE[kind] for kind in type(self).__mro__ if kind in WIRE)


class InvalidMessage(GatewayError):
    """Not JSON, the wrong shape or the wrong type; the message names the field and the fix."""


class InconsistentLength(InvalidMessage):
    """The request's idea of the file's length contradicts what is known of it."""


class MessageTooLarge(GatewayError): ...


class RateLimitExceeded(GatewayError): ...


class InvalidSession(GatewayError):
    """Neither a UUID nor a watchKey."""


class SessionNotFound(GatewayError): ...


class FileNotFound(GatewayError): ...


class TopicNotFound(GatewayError): ...


class UploadNotStarted(GatewayError): ...


class UploadAlreadyCompleted(GatewayError): ...


class UploadCancelled(GatewayError): ...


class OffsetMismatch(GatewayError):
    """The request's offset is not the file's; carries the right one."""

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(message, details={"offset": offset}, headers={"Upload-Offset": str(offset)})
        self.offset = offset


class UploadLocked(GatewayError):
    """Paused, finishing, or another writer is busy: come back later."""


class UploadFailed(GatewayError): ...


class IdempotencyKeyReused(GatewayError): ...


class InsufficientPermissions(GatewayError): ...


class AuthFailed(GatewayError): ...


class ConnectionTimeout(GatewayError): ...


class UnsupportedProtocol(GatewayError): ...


class FileSizeExceeded(GatewayError): ...


class UnsupportedFormat(GatewayError): ...


class ChecksumMismatch(GatewayError): ...


class InsufficientStorage(GatewayError): ...


class ServerBusy(GatewayError): ...


class NetworkError(GatewayError):
    """A body broke off. Only ever seen in `upload-failed`: there is nobody left to answer."""


class ServerError(GatewayError): ...


class SessionTimeout(GatewayError): ...


WIRE: dict[type[GatewayError], Wire] = {
    InvalidMessage: Wire("INVALID_MESSAGE", 2000, 400),
    MessageTooLarge: Wire("MESSAGE_TOO_LARGE", 2001, 413),
    RateLimitExceeded: Wire("RATE_LIMIT_EXCEEDED", 2002, 429),
    InvalidSession: Wire("INVALID_SESSION", 2000, 400),
    SessionNotFound: Wire("SESSION_NOT_FOUND", 3000, 404),
    FileNotFound: Wire("FILE_NOT_FOUND", 3000, 404),
    TopicNotFound: Wire("TOPIC_NOT_FOUND", 3000, 404),
    UploadNotStarted: Wire("UPLOAD_NOT_STARTED", 3002, 409),
    UploadAlreadyCompleted: Wire("UPLOAD_ALREADY_COMPLETED", 3002, 409),
    UploadCancelled: Wire("UPLOAD_CANCELLED", 3002, 410),
    OffsetMismatch: Wire("OFFSET_MISMATCH", 3002, 409),
    UploadLocked: Wire("UPLOAD_LOCKED", 3002, 423),
    UploadFailed: Wire("UPLOAD_FAILED", 3002, 409),
    IdempotencyKeyReused: Wire("IDEMPOTENCY_KEY_REUSED", 3002, 422),
    InsufficientPermissions: Wire("INSUFFICIENT_PERMISSIONS", 3001, 403),
    AuthFailed: Wire("AUTH_FAILED", 1001, 401),
    ConnectionTimeout: Wire("CONNECTION_TIMEOUT", 1000, 408),
    UnsupportedProtocol: Wire("UNSUPPORTED_PROTOCOL", 1002, 400),
    FileSizeExceeded: Wire("FILE_SIZE_EXCEEDED", 3002, 413),
    UnsupportedFormat: Wire("UNSUPPORTED_FORMAT", 3002, 415),
    ChecksumMismatch: Wire("CHECKSUM_MISMATCH", 3002, 422),  # tus answers 460 in its own dialect
    InsufficientStorage: Wire("INSUFFICIENT_STORAGE", 3002, 507),
    ServerBusy: Wire("SERVER_BUSY", 2002, 503),
    NetworkError: Wire("NETWORK_ERROR", 3002, 400),
    ServerError: Wire("SERVER_ERROR", 3002, 500),
    SessionTimeout: Wire("SESSION_TIMEOUT", 3002, 500),
}


def error_named(code: str, message: str) -> GatewayError:
    """The error of that code."""
    return next(kind for kind, wire in WIRE.items() if wire.code == code)(message)


def problem(error: GatewayError) -> dict[str, JSON]:
    """The RFC 9457 body of an error (`application/problem+json`), as a plain dict."""
    wire = error.wire
    return {
        "type": "about:blank",
        "title": wire.code.replace("_", " ").capitalize(),
        "status": wire.http,
        "detail": error.message,
        "code": wire.code,
        "details": error.details,
    }


def described(error: GatewayError) -> dict[str, JSON]:
    """The `error` object of an ack or an `error` event: `{code, message, details?}`."""
    body: dict[str, JSON] = {"code": error.wire.code, "message": error.message}
    if error.details:
        body["details"] = error.details
    return body
