"""One form on its way in: each part goes into its file as it arrives, and has a result of its own."""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio

from penstock.protocol.commands import CreateSession, FileSpec
from penstock.protocol.errors import (
    ConnectionTimeout,
    GatewayError,
    InvalidMessage,
    NetworkError,
    ServerBusy,
    ServerError,
    SessionNotFound,
    UploadCancelled,
    UploadLocked,
)
from penstock.protocol.events import ErrorInfo
from penstock.protocol.multipart_form import PartHead, check_field, check_storable
from penstock.protocol.snapshot import FileView
from penstock.server.http.multipart_reader import BodyTimedOut, MalformedBody, Part, PartReader
from penstock.server.http.multipart_results import PartResult, refused, stored
from penstock.server.peer import Body, BodyBroken
from penstock.server.settings import MIB, Settings
from penstock.server.uploads.actor import Actor
from penstock.server.uploads.admission import Claim
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.small import MAX_SMALL_BYTES, Intake, Stored

MAX_FIELDS = 100
MAX_DROPPED_BYTES = 64 * MIB  # of a cancelled file: reading on costs less than all the others once more
MAX_TYPE_CHARS = 255

FIRST = "category: must come before the first file; put it first in the form, or use ?category="


class MultipartUpload:
    """Used once: `await run(…)`, then look at `results`."""

    def __init__(
        self, gateway: Gateway, settings: Settings, actor: Actor, reader: PartReader, category: str | None
    ) -> None:
        self.session: Intake | None = None  # once there is one
        self.results: list[PartResult] = []
        self.first_failure: GatewayError | None = None
        self._gateway = gateway
        self._settings = settings
        self._actor = actor
        self._reader = reader
        self._category = category
        self._fields = 0
        self._metadata: dict[str, str] = {}
        self._waiting: list[PartHead] = []  # of the files the intake holds

    async def run(self, session_id: str | None) -> GatewayError | None:
        """Take the whole form, into that session or into a new one. What ended it before its end, or None.

        Raises: GatewayError while there is no session. Cancel-safe: what is stored stays.
        """
        async with AsyncExitStack() as stack:
            if session_id is not None:
                self.session = await stack.enter_async_context(self._gateway.adding(self._actor, session_id))
                self._check_category(self._category)
            try:
                await self._take_all(stack)
            except GatewayError as error:
                if self.session is None:
                    raise
                return error
        return None

    async def _take_all(self, stack: AsyncExitStack) -> None:
        self._reader.on_quiet = self._flush
        failure = await self._take_parts(stack)
        await self._flush()  # in any case: these came whole
        if failure is not None:
            raise failure

    async def _take_parts(self, stack: AsyncExitStack) -> GatewayError | None:
        try:
            while (part := await self._reader.next_part()) is not None:
                await self._take(part, stack)
        except BodyBroken as broken:
            return _broken(broken)
        except GatewayError as error:
            return error
        return None

    async def _take(self, part: Part, stack: AsyncExitStack) -> None:
        filename = part.head.filename
        if filename is None:
            await self._take_field(part)
        elif filename or not await part.gather(0):  # else a file input nobody has chosen a file for
            session = self.session or await self._create(stack)
            await self._take_file(session, part, filename)

    # Fields

    async def _take_field(self, part: Part) -> None:
        name, most = part.head.name, self._settings.max_metadata_bytes
        check_field(part.head)
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise InvalidMessage(f"a form may have at most {MAX_FIELDS} fields that are no files")
        if not await part.gather(most):
            raise InvalidMessage(
                f"{name[:40]}: a field may have at most {most} bytes; files need a file name"
            )
        text = _text(part)
        if name == "category":
            self._check_category(text)
        elif self.session is None:
            self._metadata[name] = text

    def _check_category(self, category: str | None) -> None:
        if self.session is None:
            self._category = category
        elif category not in (None, self.session.category):
            raise InvalidMessage(f"{FIRST}. The session's category is {self.session.category!r}")

    async def _create(self, stack: AsyncExitStack) -> Intake:
        wanted = CreateSession(category=self._category, metadata=self._metadata)
        made = await self._gateway.create_session(self._actor, wanted)
        adding = self._gateway.adding(self._actor, made["sessionId"])
        self.session = await stack.enter_async_context(adding)
        return self.session

    # Files

    async def _take_file(self, session: Intake, part: Part, filename: str) -> None:
        head = part.head
        try:
            check_storable(head)
            spec = FileSpec(file_name=filename, file_type=head.content_type[:MAX_TYPE_CHARS])
        except InvalidMessage as error:
            await self._flush()
            self._refused(head, error)
            return
        if not await self._hold(session, part, spec):
            await self._flush()
            await self._append(session, part, head, spec, None)

    async def _hold(self, session: Intake, part: Part, spec: FileSpec) -> bool:
        """Put a small file with the others that wait; False if it is none."""
        if not session.takes_small(part.head.name) or not await part.gather(MAX_SMALL_BYTES):
            return False
        if not session.has_room(part.held_bytes):
            await self._flush()
        if not await session.hold(part.head.name, spec, part.pieces, part.held_bytes):
            return False
        self._waiting.append(part.head)
        return True

    async def _flush(self) -> None:
        """Store what waits; the results come in the order of the parts."""
        if self.session is None or not self._waiting:
            return
        heads, self._waiting = self._waiting, []
        for head, outcome in zip(heads, await self.session.store(), strict=True):
            if isinstance(outcome, Stored):
                self.results.append(stored(head, outcome))
            else:
                spec = FileSpec(file_name=head.filename or "", file_type=head.content_type[:MAX_TYPE_CHARS])
                await self._append(self.session, _Content(outcome.content), head, spec, outcome.file_id)

    async def _append(
        self, session: Intake, body: Body, head: PartHead, spec: FileSpec, file_id: str | None
    ) -> None:
        """Move a part into its file. Raises what ends the whole request."""
        admitted, failure = False, None
        try:
            file_id = file_id or await self._registered(session, head, spec)
            claim = Claim(
                offset=None,
                body_bytes=None,
                ends_file=True,
                retry_limit=True,
                whole=True,
                expected_bytes=self._reader.length,
            )
            async with self._gateway.append(self._actor, session.session_id, file_id, claim) as transfer:
                admitted = True
                await transfer.pump(body)
        except GatewayError as error:
            failure = error
        view = await self._view(session, file_id)
        if failure is None:
            self._ended(head, view)
            return
        self._refused(head, failure, view)
        if self._reader.failure is not None:
            raise _broken(self._reader.failure)
        if (admitted and isinstance(failure, UploadLocked)) or self._ends_request(failure, body, view):
            raise failure

    async def _registered(self, session: Intake, head: PartHead, spec: FileSpec) -> str:
        if session.registered(head.name):
            return head.name
        made = await self._gateway.register(self._actor, session.session_id, [spec])
        file_id: str = made["files"][0]["fileId"]
        return file_id

    def _ends_request(self, error: GatewayError, body: Body, view: FileView | None) -> bool:
        """Whether it is of no use, or not wanted, that the parts after this one go on."""
        if isinstance(error, UploadLocked):
            return error.details.get("status") == "paused"
        if isinstance(error, UploadCancelled):
            rest_bytes = self._rest_bytes(body, view)
            return rest_bytes is None or rest_bytes > MAX_DROPPED_BYTES
        return isinstance(error, ServerBusy | ServerError | SessionNotFound | ConnectionTimeout)

    def _rest_bytes(self, body: Body, view: FileView | None) -> int | None:
        """How much would have to be dropped, as far as anybody has said it."""
        if not isinstance(body, Part):
            return 0
        if view is not None and view.file_size is not None:
            return view.file_size - body.taken_bytes
        return None if self._reader.length is None else self._reader.length - self._reader.taken_bytes

    # Results

    async def _view(self, session: Intake, file_id: str | None) -> FileView | None:
        if file_id is None:
            return None
        try:
            return await self._gateway.file(self._actor, session.session_id, file_id)
        except GatewayError:
            return None  # the session has gone

    def _ended(self, head: PartHead, view: FileView | None) -> None:
        if view is not None and isinstance(view.upload_path, str):
            self.results.append(stored(head, Stored(view.file_id, view.upload_path)))
            return
        told = view.error.message if view and isinstance(view.error, ErrorInfo) else "it could not be stored"
        self._refused(head, ServerError(told), view)

    def _refused(self, head: PartHead, error: GatewayError, view: FileView | None = None) -> None:
        self.first_failure = self.first_failure or error
        self.results.append(refused(head, error, view))


class _Content:
    """Bytes that are all here, as a `Body`."""

    def __init__(self, content: bytes) -> None:
        self.length: int | None = len(content)
        self._rest = memoryview(content)

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()

    def receive_nowait(self, into: memoryview) -> int:
        count = min(len(into), len(self._rest))
        into[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _text(part: Part) -> str:
    return b"".join(part.pieces).decode("utf-8", "replace")


def _broken(broken: BodyBroken) -> GatewayError:
    """What is answered, if there is anybody left to answer."""
    if isinstance(broken, MalformedBody):
        return InvalidMessage(str(broken))
    return (ConnectionTimeout if isinstance(broken, BodyTimedOut) else NetworkError)(f"body: {broken}")
